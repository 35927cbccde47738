/*
 * After warm-up a step allocates nothing. malloc and its family are defined here, so that every call in the process, those of the
 * library and of its worker threads included, is counted.
 */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static atomic_long allocations;
static atomic_int counting;

/* A place to stop in a debugger: the caller of the caller is who allocated. */
static void count_one(void)
{
  if (atomic_load_explicit(&counting, memory_order_relaxed))
    atomic_fetch_add(&allocations, 1);
}

void *malloc(size_t size)
{
  count_one();
  return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
  count_one();
  return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
  count_one();
  return __libc_realloc(memory, size);
}

void *memalign(size_t alignment, size_t size)
{
  count_one();
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
  count_one();
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
  count_one();
  *memory = __libc_memalign(alignment, size);
  return *memory == NULL ? ENOMEM : 0;
}

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset)
{
  count_one();
  return (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
}

enum { LARGEST = 96, INPUTS = 12, OUTPUTS = 5, STEPS = 100, WARM_UP = 3 };

static float x[LARGEST * INPUTS], values[LARGEST * OUTPUTS], logits[LARGEST * OUTPUTS], gradient[LARGEST * INPUTS];
static float sample_weight[LARGEST];
static int32_t classes[LARGEST];

typedef void (*work)(dynamoe_model *model, size_t rows, const dynamoe_targets *targets);

static void train_batch(dynamoe_model *model, size_t rows, const dynamoe_targets *targets)
{
  dynamoe_losses losses = {.struct_size = sizeof losses};
  REQUIRE_OK(dynamoe_model_train_batch(model, x, rows * INPUTS, rows, targets, NULL, 0, &losses));
}

static void weighted_batch(dynamoe_model *model, size_t rows, const dynamoe_targets *targets)
{
  REQUIRE_OK(dynamoe_model_train_batch(model, x, rows * INPUTS, rows, targets, sample_weight, rows, NULL));
}

static void parts(dynamoe_model *model, size_t rows, const dynamoe_targets *targets)
{
  dynamoe_losses losses = {.struct_size = sizeof losses};
  REQUIRE_OK(dynamoe_model_zero_gradients(model));
  REQUIRE_OK(dynamoe_model_forward(model, x, rows * INPUTS, rows, 1, logits, rows * OUTPUTS));
  REQUIRE_OK(dynamoe_model_loss(model, targets, &losses));
  REQUIRE_OK(dynamoe_model_backward(model, targets, gradient, rows * INPUTS));
  REQUIRE_OK(dynamoe_model_step(model, NAN));
}

static void evaluate(dynamoe_model *model, size_t rows, const dynamoe_targets *targets)
{
  (void)targets;
  REQUIRE_OK(dynamoe_model_forward(model, x, rows * INPUTS, rows, 0, logits, rows * OUTPUTS));
}

static dynamoe_session *session;

/* The session is warm before anything is counted, as the model is. */
static void evaluate_in_a_session(dynamoe_model *model, size_t rows, const dynamoe_targets *targets)
{
  (void)targets;
  if (session == NULL)
    REQUIRE_OK(dynamoe_session_create(model, &session));
  REQUIRE_OK(dynamoe_session_forward(session, x, rows * INPUTS, rows, logits, rows * OUTPUTS));
}

/* The seed decides the rows and their contents, so that K varies from step to step. */
static size_t next_batch(int step, int regression)
{
  fill(x, LARGEST * INPUTS);
  float spread = 0.1f + (float)(step % 7);
  for (size_t i = 0; i < LARGEST * INPUTS; i++)
    x[i] *= spread;
  label(x, LARGEST, INPUTS, OUTPUTS, classes);
  if (regression)
    fill(values, LARGEST * OUTPUTS);
  return step < WARM_UP ? LARGEST : 1 + (size_t)(step * 37) % LARGEST;
}

static void count(const char *json, const char *name, work one_step)
{
  dynamoe_model *model = model_of(json, 0);
  int regression = strstr(json, "regression") != NULL;
  for (size_t i = 0; i < LARGEST; i++)
    sample_weight[i] = 0.5f + (float)(i % 3);
  long found = 0, first = -1;
  for (int step = 0; step < WARM_UP + STEPS; step++) {
    size_t rows = next_batch(step, regression);
    dynamoe_targets targets = regression ? values_of(values, rows * OUTPUTS) : classes_of(classes, rows);
    atomic_store(&allocations, 0);
    atomic_store(&counting, step >= WARM_UP);
    one_step(model, rows, &targets);
    atomic_store(&counting, 0);
    if (atomic_load(&allocations) != 0 && first < 0)
      first = step;
    found += atomic_load(&allocations);
  }
  record(found == 0, __FILE__, __LINE__, name);
  if (found != 0)
    printf("  %ld allocations in %d steps, the first in step %ld: %s: %s\n", found, STEPS, first, name, json);
  OK(dynamoe_session_free(session));
  session = NULL;
  OK(dynamoe_model_free(model));
}

#define NETWORK(task, router, rest)                                                                                          \
  "{\"task\": \"" task "\", \"inputs\": 12, \"outputs\": 5, \"width\": 24, \"experts\": [8, 4, 2], \"router\": {" router "}" rest "}"
#define CLASSIFIER(router, rest) NETWORK("classification", router, rest)

static void the_counter_counts(void)
{
  atomic_store(&allocations, 0);
  atomic_store(&counting, 1);
  dynamoe_model *model = NULL;
  static const char json[] = CLASSIFIER("\"kind\": \"dense\"", "");
  dynamoe_status status = dynamoe_model_create_json(json, strlen(json), 0, &model);
  atomic_store(&counting, 0);
  EXPECT(status == DYNAMOE_OK && atomic_load(&allocations) > 10);
  OK(dynamoe_model_free(model));
}

int main(int argc, char **argv)
{
  if (argc > 1)
    test_folder = argv[1];
  the_counter_counts();
  static const char *const networks[] = {
      CLASSIFIER("\"kind\": \"threshold\", \"target_active\": 2", ""),
      CLASSIFIER("\"kind\": \"threshold\", \"target_active\": 2, \"noise\": 0.2, \"max_active\": 3, \"balance_rate\": 0.01",
                 ", \"losses\": {\"balance\": 0.01, \"z\": 0.001, \"entropy\": 0.01}, \"optimizer\": {\"clip\": 0.5, \"warmup\": 10, "
                 "\"total\": 80}"),
      CLASSIFIER("\"kind\": \"percentile\", \"noise\": 0.1, \"temperature\": 0.5", ", \"shared_experts\": 1"),
      CLASSIFIER("\"kind\": \"top_k\", \"k\": 2", ", \"activation\": \"swiglu\", \"norm\": \"rms\""),
      CLASSIFIER("\"kind\": \"top_k\", \"k\": 2, \"balance_rate\": 0.01", ", \"optimizer\": {\"kind\": \"sgd\", \"momentum\": 0.9, "
                                                                          "\"nesterov\": true}"),
      CLASSIFIER("\"kind\": \"dense\"", ", \"activation\": \"geglu\", \"bias\": false, \"norm\": \"none\""),
      NETWORK("regression", "\"kind\": \"threshold\", \"target_active\": 1.5", ", \"optimizer\": {\"kind\": \"sgd\", \"clip\": 1}"),
  };
  for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++) {
    count(networks[i], "train_batch", train_batch);
    count(networks[i], "train_batch with sample_weight", weighted_batch);
    count(networks[i], "forward, loss, backward, step", parts);
    count(networks[i], "evaluation", evaluate);
    count(networks[i], "evaluation in a session", evaluate_in_a_session);
  }
  return finish("allocations");
}
