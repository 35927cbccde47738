/* The library in a program that multiplies with threads of OpenBLAS, one after the other and at the same time. */
#define _POSIX_C_SOURCE 200809L
#include "neighbours.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { SIZE = 256, LOGITS = ROWS * CLASSES, ROW_MAJOR = 101, PLAIN = 111 };

typedef void sgemm_function(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);

static sgemm_function *sgemm;
static float a[SIZE * SIZE], b[SIZE * SIZE], expected_product[SIZE * SIZE];

static void multiply(float *c)
{
  sgemm(ROW_MAJOR, PLAIN, PLAIN, SIZE, SIZE, SIZE, 1, a, SIZE, b, SIZE, 0, c, SIZE);
}

static float worst_difference(const float *c)
{
  float worst = 0;
  for (int i = 0; i < SIZE * SIZE; i++)
    worst = fmaxf(worst, fabsf(c[i] - expected_product[i]));
  return worst;
}

static atomic_int stop, products;

static void *keep_multiplying(void *unused)
{
  static float c[SIZE * SIZE];
  static int failed;
  (void)unused;
  while (!atomic_load(&stop)) {
    multiply(c);
    atomic_fetch_add(&products, 1);
    if (!(worst_difference(c) < 1e-3f))
      return &failed;
  }
  return NULL;
}

/* What a trained network predicts in a program without OpenBLAS; with other kernels the same but for rounding. */
static float expected_logits[LOGITS];

static void predict(dynamoe_model *model, float *logits)
{
  EXPECT(model != NULL);
  OK(dynamoe_model_forward(model, x, ROWS * INPUTS, ROWS, 0, logits, LOGITS));
}

static void train_and_compare(void)
{
  static float logits[LOGITS];
  float worst = 0;
  dynamoe_model *model = trained(1);
  predict(model, logits);
  for (int i = 0; i < LOGITS; i++)
    worst = fmaxf(worst, fabsf(logits[i] - expected_logits[i]));
  EXPECT(worst < 2e-3f);
  OK(dynamoe_model_free(model));
}

static void in_turns(void)
{
  static float c[SIZE * SIZE];
  for (int round = 0; round < 3; round++) {
    multiply(c);
    EXPECT(worst_difference(c) < 1e-3f);
    train_and_compare();
  }
}

static void at_once(void)
{
  pthread_t thread;
  void *failed = &thread;
  atomic_store(&stop, 0);
  atomic_store(&products, 0);
  EXPECT(pthread_create(&thread, NULL, keep_multiplying, NULL) == 0);
  while (atomic_load(&products) == 0)
    rest(1);
  for (int round = 0; round < 3; round++)
    train_and_compare();
  atomic_store(&stop, 1);
  EXPECT(pthread_join(thread, &failed) == 0 && failed == NULL);
}

static void (*set_threads)(int);
static int (*get_threads)(void);

static void alone(const char *kernels)
{
  (void)kernels; /* those of the environment */
  dynamoe_model *model = trained(1);
  predict(model, expected_logits);
  EXPECT(write_file(in_folder("logits"), expected_logits, sizeof expected_logits));
}

/* Both at work, with these kernels; the program's own number of threads is left alone. */
static void together(const char *kernels)
{
  EXPECT(setenv("DYNAMOE_KERNELS", kernels, 1) == 0);
  set_threads(2);
  for (int32_t threads = 1; threads <= 3; threads++) {
    OK(dynamoe_threads_set(threads));
    in_turns();
    at_once();
    EXPECT(get_threads() == 2);
  }
  EXPECT(strstr(dynamoe_build_info(), kernels) != NULL);
}

/* Runs a test in a process of its own, because kernels are chosen once. */
static int in_child(void (*test)(const char *), const char *kernels)
{
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    alarm(300);
    passed_checks = failed_checks = 0;
    test(kernels);
    fflush(stdout);
    _exit(failed_checks != 0 || passed_checks == 0);
  }
  int status = -1;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
  if (argc > 1)
    test_folder = argv[1];
  make_data();
  EXPECT(in_child(alone, ""));
  size_t count = 0;
  unsigned char *bytes = read_file(in_folder("logits"), &count);
  EXPECT(bytes != NULL && count == sizeof expected_logits);
  if (bytes == NULL || count != sizeof expected_logits)
    return finish("blas");
  memcpy(expected_logits, bytes, count);
  free(bytes);
  void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_GLOBAL);
  if (library == NULL) {
    printf("blas: not tested here: %s\n", dlerror());
    return 0;
  }
  *(void **)&sgemm = dlsym(library, "cblas_sgemm");
  *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
  *(void **)&get_threads = dlsym(library, "openblas_get_num_threads");
  fill(a, SIZE * SIZE);
  fill(b, SIZE * SIZE);
  for (int i = 0; i < SIZE; i++)
    for (int k = 0; k < SIZE; k++)
      for (int j = 0; j < SIZE; j++)
        expected_product[i * SIZE + j] += a[i * SIZE + k] * b[k * SIZE + j];
  EXPECT(in_child(together, "openblas"));
  EXPECT(in_child(together, "baseline"));
  return finish("blas");
}
