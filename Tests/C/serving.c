/* Sessions in several threads: beside each other, beside the model's own evaluation, and beside changes of the model. */
#define _POSIX_C_SOURCE 200809L
#include "sessions.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

enum { THREADS = 4 };

typedef struct server {
  dynamoe_session *session;
  float logits[ROWS * OUTPUTS];
  long answered, busy, other, wrong;
} server;

static atomic_int stop, all_answered;
/* Whether the servers rest between calls: four that never do would hardly ever leave a moment for a change. */
static int pausing;
static const float (*allowed)[ROWS * OUTPUTS];
static int allowed_count;

static void rest(void)
{
  struct timespec time = {0, 1000000};
  nanosleep(&time, NULL);
}

/* Serves until it is stopped; every answer is one of the allowed. */
static void *serve(void *argument)
{
  server *s = argument;
  do {
    dynamoe_status status = dynamoe_session_forward(s->session, x, ROWS * INPUTS, ROWS, s->logits, ROWS * OUTPUTS);
    s->answered += status == DYNAMOE_OK;
    atomic_fetch_add(&all_answered, status == DYNAMOE_OK);
    s->busy += status == DYNAMOE_ERROR_BUSY && strstr(dynamoe_last_error(), "changed by another thread") != NULL;
    s->other += status != DYNAMOE_OK && status != DYNAMOE_ERROR_BUSY;
    int known = status != DYNAMOE_OK;
    for (int i = 0; i < allowed_count; i++)
      known |= memcmp(s->logits, allowed[i], sizeof s->logits) == 0;
    s->wrong += !known;
    if (pausing)
      rest();
  } while (!atomic_load(&stop));
  return NULL;
}

static void start(server *servers, pthread_t *threads, dynamoe_model *model)
{
  atomic_store(&stop, 0);
  for (int i = 0; i < THREADS; i++) {
    servers[i] = (server){.session = session_of(model)};
    OK(dynamoe_session_threads_set(servers[i].session, 1 + i % 2));
    EXPECT(pthread_create(&threads[i], NULL, serve, &servers[i]) == 0);
  }
}

static void join(server *servers, pthread_t *threads)
{
  atomic_store(&stop, 1);
  for (int i = 0; i < THREADS; i++) {
    EXPECT(pthread_join(threads[i], NULL) == 0);
    EXPECT(servers[i].other == 0 && servers[i].wrong == 0);
    EXPECT(rows_of(servers[i].session) == servers[i].answered * ROWS);
    OK(dynamoe_session_free(servers[i].session));
  }
}

/* Sessions and the model's own evaluation: nobody is ever refused, every answer is right. */
static void beside_each_other(void)
{
  static server servers[THREADS];
  pthread_t threads[THREADS];
  dynamoe_model *model = trained();
  OK(dynamoe_model_forward(model, x, ROWS * INPUTS, ROWS, 0, expected, ROWS * OUTPUTS));
  allowed = (const float(*)[ROWS * OUTPUTS]) & expected;
  allowed_count = 1;
  start(servers, threads, model);
  for (int i = 0; i < 30; i++) {
    dynamoe_info info = {.struct_size = sizeof info};
    OK(dynamoe_model_forward(model, x, ROWS * INPUTS, ROWS, 0, logits, ROWS * OUTPUTS));
    EXPECT(memcmp(logits, expected, sizeof logits) == 0);
    OK(dynamoe_model_info(model, &info));
    OK(dynamoe_model_save(model, in_folder("beside.safetensors")));
    OK(dynamoe_model_routing_reset(model));
  }
  join(servers, threads);
  for (int i = 0; i < THREADS; i++)
    EXPECT(servers[i].answered > 0 && servers[i].busy == 0);
  OK(dynamoe_model_free(model));
}

typedef dynamoe_status (*change)(dynamoe_model *model);

static dynamoe_status train_batch(dynamoe_model *model)
{
  dynamoe_targets targets = classes_of(classes, ROWS);
  return dynamoe_model_train_batch(model, x, ROWS * INPUTS, ROWS, &targets, NULL, 0, NULL);
}

static dynamoe_status training_forward(dynamoe_model *model)
{
  return dynamoe_model_forward(model, x, ROWS * INPUTS, ROWS, 1, NULL, 0);
}

static dynamoe_status backward(dynamoe_model *model)
{
  dynamoe_targets targets = classes_of(classes, ROWS);
  return dynamoe_model_backward(model, &targets, NULL, 0);
}

static dynamoe_status step(dynamoe_model *model) { return dynamoe_model_step(model, 0.01); }

static dynamoe_status calibrate(dynamoe_model *model)
{
  double target = 1.5;
  return dynamoe_model_calibrate(model, x, ROWS * INPUTS, ROWS, &target, 1);
}

static dynamoe_status parameter_set(dynamoe_model *model)
{
  return dynamoe_model_parameter_set(model, "head.bias", x, OUTPUTS);
}

static dynamoe_status buffer_set(dynamoe_model *model)
{
  float threshold = 0.2f;
  return dynamoe_model_buffer_set(model, "layers.0.router.threshold", &threshold, 1);
}

enum { CHANGES = 7 };
static const change changes[CHANGES] = {train_batch, training_forward, backward, step, calibrate, parameter_set, buffer_set};

/* Makes a change as soon as it is let in; a refusal names sessions and has changed nothing. */
static long insist(dynamoe_model *model, change change)
{
  long refused = 0;
  dynamoe_status status;
  while ((status = change(model)) == DYNAMOE_ERROR_BUSY) {
    refused++;
    EXPECT(strstr(dynamoe_last_error(), "session") != NULL);
    sched_yield();
  }
  OK(status);
  return refused;
}

/* Sessions hammer while another thread changes the model in every way there is: each answer is that of a state between two
 * changes, and the model ends where one that was never disturbed ends. */
static void beside_changes(void)
{
  static server servers[THREADS];
  static float states[2 * CHANGES + 1][ROWS * OUTPUTS];
  pthread_t threads[THREADS];
  dynamoe_model *model = trained(), *twin = trained();
  for (int i = 0; i <= 2 * CHANGES; i++) {
    if (i > 0)
      REQUIRE_OK(changes[(i - 1) % CHANGES](twin));
    OK(dynamoe_model_forward(twin, x, ROWS * INPUTS, ROWS, 0, states[i], ROWS * OUTPUTS));
  }
  allowed = (const float(*)[ROWS * OUTPUTS])states;
  allowed_count = 2 * CHANGES + 1;
  long refused = 0, answered = 0, busy = 0;
  pausing = 1;
  start(servers, threads, model);
  for (int i = 0; i < 2 * CHANGES; i++) {
    int before = atomic_load(&all_answered);
    while (atomic_load(&all_answered) < before + 2 * THREADS)
      sched_yield();
    refused += insist(model, changes[i % CHANGES]);
  }
  join(servers, threads);
  for (int i = 0; i < THREADS; i++)
    answered += servers[i].answered, busy += servers[i].busy;
  printf("  %ld answers and %ld refused ones beside %d changes and %ld refused ones\n", answered, busy, 2 * CHANGES, refused);
  EXPECT(answered >= 4 * CHANGES * THREADS);
  EXPECT(same_weights(model, twin));
  OK(dynamoe_model_forward(model, x, ROWS * INPUTS, ROWS, 0, logits, ROWS * OUTPUTS));
  EXPECT(memcmp(logits, states[2 * CHANGES], sizeof logits) == 0);
  OK(dynamoe_model_free(model));
  OK(dynamoe_model_free(twin));
}

enum { MANY = 60000 };
static float *many, *answers;
static atomic_int inside;

/* One evaluation that takes long. */
static void *long_call(void *session)
{
  while (!atomic_load(&stop)) {
    atomic_store(&inside, 1);
    if (dynamoe_session_forward(session, many, MANY * INPUTS, MANY, answers, MANY * OUTPUTS) != DYNAMOE_OK)
      return NULL;
  }
  return session;
}

/* Every change is refused while a session evaluates for certain, another session is not, and the model stays as it was. */
static void refused_changes(void)
{
  dynamoe_model *model = trained();
  REQUIRE_OK(training_forward(model));
  dynamoe_session *one = session_of(model), *other = session_of(model);
  uint64_t before = model_fingerprint(model);
  int met[CHANGES] = {0}, shared = 0, freed = 0;
  pthread_t thread;
  many = calloc(MANY * INPUTS, sizeof(float)), answers = calloc(MANY * OUTPUTS, sizeof(float));
  REQUIRE_OK(many != NULL && answers != NULL ? DYNAMOE_OK : DYNAMOE_ERROR_MEMORY);
  fill(many, MANY * INPUTS);
  for (size_t changed = 0; changed < CHANGES; changed++) {
    atomic_store(&stop, 0);
    atomic_store(&inside, 0);
    EXPECT(pthread_create(&thread, NULL, long_call, one) == 0);
    while (!atomic_load(&inside))
      sched_yield();
    for (time_t end = time(NULL) + 30; time(NULL) < end && !met[changed]; sched_yield()) {
      /* A second thread finds the session in use only while the first evaluates, and that for long. */
      size_t rows;
      if (dynamoe_session_last_rows(one, &rows) != DYNAMOE_ERROR_BUSY)
        continue;
      EXPECT(strstr(dynamoe_last_error(), "session is in use") != NULL);
      dynamoe_status status = changes[changed](model);
      if (status == DYNAMOE_OK)
        break;
      met[changed] = status == DYNAMOE_ERROR_BUSY;
      shared += forward(other) == DYNAMOE_OK;
      freed += dynamoe_session_free(one) != DYNAMOE_ERROR_BUSY;
    }
    atomic_store(&stop, 1);
    void *result = NULL;
    EXPECT(pthread_join(thread, &result) == 0 && result == one);
    EXPECT(met[changed]);
    if (!met[changed] || freed)
      break;
  }
  EXPECT(shared >= CHANGES && freed == 0);
  EXPECT(model_fingerprint(model) == before);
  OK(backward(model));
  free(many);
  free(answers);
  OK(dynamoe_session_free(one));
  OK(dynamoe_session_free(other));
  OK(dynamoe_model_free(model));
}

int main(int argc, char **argv)
{
  if (argc > 1)
    test_folder = argv[1];
  make_rows();
  OK(dynamoe_threads_set(2));
  beside_each_other();
  beside_changes();
  refused_changes();
  return finish("serving");
}
