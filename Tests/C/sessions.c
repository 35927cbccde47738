/* Sessions: the bits of the model, refusals, weights that are there once. */
#define _GNU_SOURCE
#include "sessions.h"

#include <unistd.h>

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
  dynamoe_routing_statistics statistics = {.struct_size = sizeof statistics};
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "layer is 2",
          dynamoe_session_routing_statistics(session, 2, &statistics, NULL, 0, NULL, 0, NULL, 0, NULL, 0));
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

int main(int argc, char **argv)
{
  if (argc > 1)
    test_folder = argv[1];
  make_rows();
  dynamoe_model *model = trained();
  same_as_the_model(model);
  refused(model);
  OK(dynamoe_model_free(model));
  tokens();
  weights_are_there_once();
  memory_goes_with_the_last();
  return finish("sessions");
}
