/* Handles in threads: independent ones give the serial result, one that is in use is busy, a fork goes on. */
#define _POSIX_C_SOURCE 200809L
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS = 128, INPUTS = 16, CLASSES = 4, STEPS = 30 };

static const char *JSON = "{\"task\": \"classification\", \"inputs\": 16, \"outputs\": 4, \"width\": 32, \"experts\": [6, 4], "
                          "\"router\": {\"kind\": \"threshold\", \"target_active\": 2, \"noise\": 0.1}}";

static float x[ROWS * INPUTS];
static int32_t classes[ROWS];

static void *train(void *handle)
{
  dynamoe_targets targets = classes_of(classes, ROWS);
  for (int step = 0; step < STEPS; step++)
    if (dynamoe_model_train_batch(handle, x, ROWS * INPUTS, ROWS, &targets, NULL, 0, NULL) != DYNAMOE_OK)
      return NULL;
  return handle;
}

static void independent(void)
{
  dynamoe_model *models[4];
  pthread_t threads[4];
  for (int i = 0; i < 4; i++)
    models[i] = model_of(JSON, 5 + (uint64_t)(i % 2));
  EXPECT(train(models[0]) == models[0] && train(models[1]) == models[1]);
  for (int i = 2; i < 4; i++)
    EXPECT(pthread_create(&threads[i], NULL, train, models[i]) == 0);
  for (int i = 2; i < 4; i++) {
    void *result;
    EXPECT(pthread_join(threads[i], &result) == 0 && result == models[i]);
  }
  EXPECT(same_weights(models[0], models[2]));
  EXPECT(same_weights(models[1], models[3]));
  EXPECT(!same_weights(models[0], models[1]));
  /* Nor does the number of worker threads change a bit. */
  int32_t count = dynamoe_threads_get();
  dynamoe_model *alone = model_of(JSON, 5);
  OK(dynamoe_threads_set(1));
  EXPECT(train(alone) == alone);
  OK(dynamoe_threads_set(count));
  EXPECT(same_weights(models[0], alone));
  for (int i = 0; i < 4; i++)
    OK(dynamoe_model_free(models[i]));
  OK(dynamoe_model_free(alone));
}

static atomic_int stop, rounds;

static void *keep_busy(void *handle)
{
  dynamoe_targets targets = classes_of(classes, ROWS);
  while (!atomic_load(&stop)) {
    dynamoe_status status = dynamoe_model_train_batch(handle, x, ROWS * INPUTS, ROWS, &targets, NULL, 0, NULL);
    if (status != DYNAMOE_OK && status != DYNAMOE_ERROR_BUSY)
      return NULL;
    atomic_fetch_add(&rounds, 1);
  }
  return handle;
}

/* Tries until the other thread is met inside; a second thread is never let in, a free neither. */
static void busy(void)
{
  dynamoe_model *model = model_of(JSON, 0);
  pthread_t thread;
  atomic_store(&stop, 0);
  EXPECT(pthread_create(&thread, NULL, keep_busy, model) == 0);
  while (atomic_load(&rounds) == 0)
    sched_yield();
  int met = 0, freed = 0;
  for (long attempt = 0; attempt < 200000 && met < 20; attempt++) {
    dynamoe_info info = {.struct_size = sizeof info};
    dynamoe_status status = dynamoe_model_info(model, &info);
    EXPECT(status == DYNAMOE_OK || status == DYNAMOE_ERROR_BUSY);
    if (status == DYNAMOE_ERROR_BUSY) {
      met += strstr(dynamoe_last_error(), "in use") != NULL;
      freed += dynamoe_model_free(model) == DYNAMOE_OK;
      if (freed)
        break;
    } else {
      sched_yield();
    }
  }
  atomic_store(&stop, 1);
  void *result;
  EXPECT(pthread_join(thread, &result) == 0);
  printf("  met the other thread inside %d times, %s\n", met, freed ? "freed between two of its calls" : "never freed");
  EXPECT(met > 0);
  EXPECT(freed ? dynamoe_model_free(model) == DYNAMOE_ERROR_HANDLE : result == model);
  if (!freed)
    OK(dynamoe_model_free(model));
}

static void *fail_here(void *unused)
{
  (void)unused;
  static atomic_int wrong;
  if (dynamoe_last_error()[0] != '\0')
    atomic_store(&wrong, 1);
  for (int i = 0; i < 1000; i++) {
    dynamoe_threads_set(-7);
    if (strstr(dynamoe_last_error(), "-7") == NULL)
      atomic_store(&wrong, 1);
  }
  return atomic_load(&wrong) ? &wrong : NULL;
}

/* Each thread has its own message. */
static void messages(void)
{
  pthread_t threads[3];
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "999", dynamoe_threads_set(999));
  for (int i = 0; i < 3; i++)
    EXPECT(pthread_create(&threads[i], NULL, fail_here, NULL) == 0);
  for (int i = 0; i < 3; i++) {
    void *wrong = threads;
    EXPECT(pthread_join(threads[i], &wrong) == 0 && wrong == NULL);
  }
  EXPECT(strstr(dynamoe_last_error(), "999") != NULL);
}

static void *make_and_free(void *unused)
{
  (void)unused;
  for (int i = 0; i < 50; i++) {
    dynamoe_model *model = NULL;
    if (dynamoe_model_create_json(JSON, strlen(JSON), 1, &model) != DYNAMOE_OK || dynamoe_model_free(model) != DYNAMOE_OK)
      return (void *)1;
    if (dynamoe_model_free(model) != DYNAMOE_ERROR_HANDLE)
      return (void *)1;
  }
  return NULL;
}

/* Handles come and go in several threads at once. */
static void table(void)
{
  pthread_t threads[3];
  for (int i = 0; i < 3; i++)
    EXPECT(pthread_create(&threads[i], NULL, make_and_free, NULL) == 0);
  for (int i = 0; i < 3; i++) {
    void *failed = threads;
    EXPECT(pthread_join(threads[i], &failed) == 0 && failed == NULL);
  }
}

/* A child of fork, where the worker threads do not exist, goes on to the same result. */
static void forked(void)
{
  dynamoe_model *model = model_of(JSON, 9), *twin = model_of(JSON, 9);
  EXPECT(train(model) == model && train(twin) == twin);
  fflush(stdout);
  pid_t child = fork();
  EXPECT(child >= 0);
  if (child == 0) {
    alarm(60);
    int good = train(model) == model && dynamoe_model_save(model, in_folder("child.safetensors")) == DYNAMOE_OK;
    _exit(good ? 0 : 1);
  }
  int status = -1;
  EXPECT(train(twin) == twin);
  EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  OK(dynamoe_model_save(twin, in_folder("parent.safetensors")));
  EXPECT(hash_file(0, in_folder("child.safetensors")) == hash_file(0, in_folder("parent.safetensors")));
  OK(dynamoe_model_free(model));
  OK(dynamoe_model_free(twin));
}

int main(int argc, char **argv)
{
  if (argc > 1)
    test_folder = argv[1];
  fill(x, ROWS * INPUTS);
  label(x, ROWS, INPUTS, CLASSES, classes);
  OK(dynamoe_threads_set(2));
  independent();
  busy();
  messages();
  table();
  forked();
  return finish("threads");
}
