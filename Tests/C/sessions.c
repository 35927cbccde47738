/* Sessions: several threads evaluate one model, with the bits of the model, on weights that are there once. */
#define _GNU_SOURCE
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

enum { ROWS = 96, INPUTS = 12, OUTPUTS = 5, THREADS = 4 };

static const char *JSON = "{\"task\": \"classification\", \"inputs\": 12, \"outputs\": 5, \"width\": 32, \"experts\": [6, 4], "
                          "\"router\": {\"kind\": \"threshold\", \"target_active\": 2, \"noise\": 0.1}}";

static float x[ROWS * INPUTS], logits[ROWS * OUTPUTS], expected[ROWS * OUTPUTS];
static int32_t classes[ROWS];

static dynamoe_session *session_of(dynamoe_model *model)
{
  dynamoe_session *session = NULL;
  REQUIRE_OK(dynamoe_session_create(model, &session));
  return session;
}

static dynamoe_model *trained(void)
{
  dynamoe_model *model = model_of(JSON, 3);
  dynamoe_targets targets = classes_of(classes, ROWS);
  for (int step = 0; step < 5; step++)
    REQUIRE_OK(dynamoe_model_train_batch(model, x, ROWS * INPUTS, ROWS, &targets, NULL, 0, NULL));
  return model;
}

static dynamoe_status forward(dynamoe_session *session)
{
  return dynamoe_session_forward(session, x, ROWS * INPUTS, ROWS, logits, ROWS * OUTPUTS);
}

static int64_t rows_of(dynamoe_session *session)
{
  dynamoe_routing_statistics statistics = {.struct_size = sizeof statistics};
  OK(dynamoe_session_routing_statistics(session, 0, &statistics, NULL, 0, NULL, 0, NULL, 0, NULL, 0));
  EXPECT(isnan(statistics.participation));
  return statistics.rows;
}

/* ------------------------------------------------------------------------------------------------ results */

static void same_as_the_model(dynamoe_model *model)
{
  uint8_t active[2][ROWS * 6];
  float weights[2][ROWS * 6];
  dynamoe_session *session = session_of(model);
  dynamoe_targets targets = classes_of(classes, ROWS);
  size_t rows = 1;
  OK(dynamoe_session_last_rows(session, &rows));
  EXPECT(rows == 0 && rows_of(session) == 0);
  REFUSED(DYNAMOE_ERROR_STATE, "no routing", dynamoe_session_last_routing(session, 0, active[0], ROWS * 6, NULL, 0));

  OK(dynamoe_model_forward(model, x, ROWS * INPUTS, ROWS, 0, expected, ROWS * OUTPUTS));
  static const int32_t threads[] = {1, 2, 256};
  for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
    OK(dynamoe_session_threads_set(session, threads[i]));
    memset(logits, 0, sizeof logits);
    OK(forward(session));
    EXPECT(memcmp(logits, expected, sizeof logits) == 0);
  }
  OK(dynamoe_session_last_rows(session, &rows));
  EXPECT(rows == ROWS && rows_of(session) == 3 * ROWS);
  for (size_t layer = 0; layer < 2; layer++) {
    size_t count = ROWS * (layer == 0 ? 6 : 4);
    OK(dynamoe_model_last_routing(model, layer, active[0], count, weights[0], count));
    OK(dynamoe_session_last_routing(session, layer, active[1], count, weights[1], count));
    EXPECT(memcmp(active[0], active[1], count) == 0 && memcmp(weights[0], weights[1], count * sizeof(float)) == 0);
  }

  dynamoe_evaluation own = {.struct_size = sizeof own}, other = {.struct_size = sizeof other};
  double mean_k[2][2];
  OK(dynamoe_model_evaluate(model, x, ROWS * INPUTS, ROWS, &targets, &own, mean_k[0], 2));
  OK(dynamoe_session_evaluate(session, x, ROWS * INPUTS, ROWS, &targets, &other, mean_k[1], 2));
  EXPECT(own.loss == other.loss && own.accuracy == other.accuracy && own.rows == other.rows);
  EXPECT(memcmp(mean_k[0], mean_k[1], sizeof mean_k[0]) == 0 && mean_k[0][0] > 0);
  EXPECT(rows_of(session) == 4 * ROWS);
  OK(dynamoe_session_routing_reset(session));
  EXPECT(rows_of(session) == 0);
  OK(dynamoe_session_free(session));
}

static void tokens(void)
{
  static const char *json = "{\"task\": \"language_model\", \"vocabulary\": 20, \"width\": 16, \"experts\": [4], "
                            "\"router\": {\"kind\": \"top_k\", \"k\": 2}}";
  int32_t ids[ROWS];
  float own[ROWS * 20], other[ROWS * 20];
  for (int i = 0; i < ROWS; i++)
    ids[i] = (i * 7) % 20;
  dynamoe_model *model = model_of(json, 0);
  dynamoe_session *session = session_of(model);
  dynamoe_targets targets = classes_of(ids, ROWS);
  dynamoe_evaluation evaluation = {.struct_size = sizeof evaluation};
  OK(dynamoe_model_forward_tokens(model, ids, ROWS, 0, own, ROWS * 20));
  OK(dynamoe_session_forward_tokens(session, ids, ROWS, other, ROWS * 20));
  EXPECT(memcmp(own, other, sizeof own) == 0);
  OK(dynamoe_session_evaluate_tokens(session, ids, ROWS, &targets, &evaluation, NULL, 0));
  EXPECT(evaluation.perplexity > 1 && evaluation.rows == ROWS);
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "token ids", dynamoe_session_forward(session, x, ROWS * INPUTS, ROWS, other, ROWS * 20));
  OK(dynamoe_session_free(session));
  OK(dynamoe_model_free(model));
}

static void refused(dynamoe_model *model)
{
  dynamoe_session *session = session_of(model), *none = session;
  dynamoe_targets targets = classes_of(classes, ROWS);
  dynamoe_evaluation evaluation = {.struct_size = sizeof evaluation};
  uint64_t before = model_fingerprint(model);
  OK(forward(session));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "x_count", dynamoe_session_forward(session, x, 1, ROWS, logits, ROWS * OUTPUTS));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "x is NULL", dynamoe_session_forward(session, NULL, INPUTS, 1, logits, OUTPUTS));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "logits_count", dynamoe_session_forward(session, x, INPUTS, 1, logits, OUTPUTS - 1));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "logits is NULL", dynamoe_session_forward(session, x, INPUTS, 1, NULL, OUTPUTS));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "_tokens", dynamoe_session_forward_tokens(session, classes, 1, logits, OUTPUTS));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "evaluation", dynamoe_session_evaluate(session, x, INPUTS, 1, &targets, NULL, NULL, 0));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "class_count",
          dynamoe_session_evaluate(session, x, INPUTS, 1, &targets, &evaluation, NULL, 0));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "count is 0", dynamoe_session_threads_set(session, 0));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "count is 257", dynamoe_session_threads_set(session, 257));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "layer is 2",
          dynamoe_session_routing_statistics(session, 2, &(dynamoe_routing_statistics){.struct_size = sizeof(dynamoe_routing_statistics)},
                                             NULL, 0, NULL, 0, NULL, 0, NULL, 0));
  x[5] = NAN;
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "finite", forward(session));
  x[5] = 0.5f;
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "out", dynamoe_session_create(model, NULL));
  REFUSED(DYNAMOE_ERROR_HANDLE, "model is NULL", dynamoe_session_create(NULL, &none));
  EXPECT(none == NULL);
  OK(dynamoe_session_forward(session, NULL, 0, 0, NULL, 0));
  EXPECT(rows_of(session) == ROWS && model_fingerprint(model) == before);
  OK(dynamoe_session_free(session));
}

/* ------------------------------------------------------------------------------------------------ memory */

static size_t resident(void)
{
  size_t pages = 0, shared = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  REQUIRE_OK(file != NULL && fscanf(file, "%zu %zu", &shared, &pages) == 2 ? DYNAMOE_OK : DYNAMOE_ERROR_FILE);
  fclose(file);
  return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* 16 sessions of a network of many megabytes, in both precisions, take less than its weights; they keep it alive. */
static void weights_are_there_once(void)
{
  static const char *json = "{\"task\": \"classification\", \"inputs\": 12, \"outputs\": 5, \"width\": 256, \"experts\": [16], "
                            "\"hidden\": 1024, \"router\": {\"kind\": \"top_k\", \"k\": 2}}";
  dynamoe_session *sessions[16];
  dynamoe_model *model = model_of(json, 0);
  dynamoe_info info = {.struct_size = sizeof info};
  OK(dynamoe_model_info(model, &info));
  OK(dynamoe_model_save(model, in_folder("large.safetensors")));
  for (int32_t precision = 0; precision < 2; precision++) {
    if (precision == DYNAMOE_PRECISION_BFLOAT16) {
      OK(dynamoe_model_free(model));
      REQUIRE_OK(dynamoe_model_load_as(in_folder("large.safetensors"), precision, &model));
    }
    OK(dynamoe_model_forward(model, x, 8 * INPUTS, 8, 0, expected, 8 * OUTPUTS));
    size_t before = resident();
    for (int i = 0; i < 16; i++) {
      sessions[i] = session_of(model);
      OK(dynamoe_session_forward(sessions[i], x, 8 * INPUTS, 8, logits, 8 * OUTPUTS));
      EXPECT(memcmp(logits, expected, 8 * OUTPUTS * sizeof(float)) == 0);
    }
    size_t after = resident(), grown = after > before ? after - before : 0;
    size_t weights = (size_t)info.parameter_count * (precision == DYNAMOE_PRECISION_BFLOAT16 ? 2 : 4);
    printf("  16 sessions of %zu kB of weights took %zu kB\n", weights / 1024, grown / 1024);
    EXPECT(grown < weights / 2);
    for (int i = 0; i < 15; i++)
      OK(dynamoe_session_free(sessions[i]));
    /* The last session keeps the network when the model's handle is gone. */
    if (precision == DYNAMOE_PRECISION_BFLOAT16)
      OK(dynamoe_model_free(model));
    OK(dynamoe_session_forward(sessions[15], x, 8 * INPUTS, 8, logits, 8 * OUTPUTS));
    EXPECT(memcmp(logits, expected, 8 * OUTPUTS * sizeof(float)) == 0);
    OK(dynamoe_session_free(sessions[15]));
  }
}

/* The memory of a network goes with its last session: many such networks one after the other do not add up. */
static void memory_goes_with_the_last(void)
{
  static const char *json = "{\"task\": \"classification\", \"inputs\": 12, \"outputs\": 5, \"width\": 256, \"experts\": [16], "
                            "\"hidden\": 1024, \"router\": {\"kind\": \"top_k\", \"k\": 2}}";
  size_t first = 0;
  size_t weights = 0;
  for (int i = 0; i < 12; i++) {
    dynamoe_model *model = model_of(json, (uint64_t)i);
    dynamoe_info info = {.struct_size = sizeof info};
    OK(dynamoe_model_info(model, &info));
    weights = (size_t)info.parameter_count * sizeof(float);
    dynamoe_session *session = session_of(model);
    OK(dynamoe_model_free(model));
    OK(dynamoe_session_forward(session, x, INPUTS, 1, logits, OUTPUTS));
    OK(dynamoe_session_free(session));
    REFUSED(DYNAMOE_ERROR_HANDLE, "freed", dynamoe_session_free(session));
    if (i == 0)
      first = resident();
  }
  /* What was freed need not go back to the system at once; weights and packed copies of 12 would be 24 times the weights. */
  EXPECT(resident() < first + 4 * weights);
}

/* ------------------------------------------------------------------------------------------------ threads */

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

enum { MANY = 40000 };
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
    for (int attempt = 0; attempt < 1000 && !met[changed]; attempt++) {
      /* A second thread finds the session in use only while the first evaluates; a moment later it may be between calls. */
      size_t rows;
      if (dynamoe_session_last_rows(one, &rows) != DYNAMOE_ERROR_BUSY)
        continue;
      EXPECT(strstr(dynamoe_last_error(), "session is in use") != NULL);
      shared += forward(other) == DYNAMOE_OK;
      freed += dynamoe_session_free(one) != DYNAMOE_ERROR_BUSY;
      dynamoe_status status = changes[changed](model);
      if (status == DYNAMOE_OK)
        break;
      met[changed] = status == DYNAMOE_ERROR_BUSY;
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
  fill(x, ROWS * INPUTS);
  label(x, ROWS, INPUTS, OUTPUTS, classes);
  OK(dynamoe_threads_set(2));
  dynamoe_model *model = trained();
  same_as_the_model(model);
  refused(model);
  OK(dynamoe_model_free(model));
  tokens();
  weights_are_there_once();
  memory_goes_with_the_last();
  beside_each_other();
  beside_changes();
  refused_changes();
  return finish("sessions");
}
