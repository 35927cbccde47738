/* Every function that takes a handle, with everything that is not one. */
#include "support.h"

static const char *MODEL_JSON = "{\"task\": \"classification\", \"inputs\": 3, \"outputs\": 4, \"width\": 8, \"experts\": [4, 2], "
                                "\"router\": {\"kind\": \"threshold\", \"target_active\": 2}}";
static const char *LAYER_JSON = "{\"width\": 3, \"experts\": 4, \"router\": {\"kind\": \"threshold\", \"target_active\": 2}}";

static float x[6], output[64];
static int32_t classes[2], ids[2];
static double numbers[64];
static size_t length;
static char text[4096];
static uint8_t active[64];
static dynamoe_targets targets;
static dynamoe_info info = {.struct_size = sizeof info};
static dynamoe_losses losses = {.struct_size = sizeof losses};
static dynamoe_evaluation evaluation = {.struct_size = sizeof evaluation};
static dynamoe_tensor tensor = {.struct_size = sizeof tensor};
static dynamoe_routing_statistics statistics = {.struct_size = sizeof statistics};

typedef struct probe {
  const char *name;
  dynamoe_status (*call)(void *handle);
} probe;

#define MODEL_PROBES(P)                                                                       \
  P(info, (m, &info))                                                                         \
  P(config_json, (m, text, sizeof text, &length))                                             \
  P(forward, (m, x, 6, 2, 1, output, 8))                                                      \
  P(forward_tokens, (m, ids, 2, 1, output, 8))                                                \
  P(loss, (m, &targets, &losses))                                                             \
  P(auxiliary_losses, (m, numbers, 64))                                                       \
  P(backward, (m, &targets, output, 6))                                                       \
  P(backward_output, (m, output, 8, output + 8, 6))                                           \
  P(step, (m, 0.1))                                                                           \
  P(zero_gradients, (m))                                                                      \
  P(train_batch, (m, x, 6, 2, &targets, NULL, 0, &losses))                                    \
  P(train_batch_tokens, (m, ids, 2, &targets, NULL, 0, &losses))                              \
  P(evaluate, (m, x, 6, 2, &targets, &evaluation, NULL, 0))                                   \
  P(evaluate_tokens, (m, ids, 2, &targets, &evaluation, NULL, 0))                             \
  P(calibrate, (m, x, 6, 2, numbers, 1))                                                      \
  P(calibrate_tokens, (m, ids, 2, numbers, 1))                                                \
  P(parameter, (m, 0, &tensor))                                                               \
  P(buffer, (m, 0, &tensor))                                                                  \
  P(parameter_set, (m, "head.bias", x, 4))                                                    \
  P(parameter_get, (m, "head.bias", output, 4))                                               \
  P(buffer_set, (m, "layers.0.router.threshold", x, 1))                                       \
  P(routing_statistics, (m, 0, &statistics, NULL, 0, NULL, 0, NULL, 0, NULL, 0))              \
  P(routing_reset, (m))                                                                       \
  P(measure, (m, 0))                                                                          \
  P(gradient_variance, (m, numbers, 64))                                                      \
  P(last_rows, (m, &length))                                                                  \
  P(last_routing, (m, 0, active, 64, output, 64))                                             \
  P(save, (m, in_folder("never.safetensors")))

#define LAYER_PROBES(P)                                                                       \
  P(info, (l, &info))                                                                         \
  P(config_json, (l, text, sizeof text, &length))                                             \
  P(forward, (l, x, 6, 2, 1, output, 6))                                                      \
  P(losses, (l, &losses))                                                                     \
  P(auxiliary_losses, (l, numbers, 64))                                                       \
  P(backward, (l, output, 6, output + 8, 6))                                                  \
  P(step, (l, 0.1))                                                                           \
  P(zero_gradients, (l))                                                                      \
  P(calibrate, (l, x, 6, 2, 1.0))                                                             \
  P(parameter, (l, 0, &tensor))                                                               \
  P(buffer, (l, 0, &tensor))                                                                  \
  P(parameter_set, (l, "router.weight", x, 4))                                                \
  P(parameter_get, (l, "router.weight", output, 12))                                          \
  P(buffer_set, (l, "router.threshold", x, 1))                                                \
  P(routing_statistics, (l, &statistics, NULL, 0, NULL, 0, NULL, 0, NULL, 0))                 \
  P(routing_reset, (l))                                                                       \
  P(measure, (l, 0))                                                                          \
  P(gradient_variance, (l, numbers, 64))                                                      \
  P(last_rows, (l, &length))                                                                  \
  P(last_routing, (l, active, 64, output, 64))                                                \
  P(save, (l, in_folder("never.safetensors")))

#define SESSION_PROBES(P)                                                                     \
  P(threads_set, (s, 2))                                                                      \
  P(forward, (s, x, 6, 2, output, 8))                                                         \
  P(forward_tokens, (s, ids, 2, output, 8))                                                   \
  P(evaluate, (s, x, 6, 2, &targets, &evaluation, NULL, 0))                                   \
  P(evaluate_tokens, (s, ids, 2, &targets, &evaluation, NULL, 0))                             \
  P(routing_statistics, (s, 0, &statistics, NULL, 0, NULL, 0, NULL, 0, NULL, 0))              \
  P(routing_reset, (s))                                                                       \
  P(last_rows, (s, &length))                                                                  \
  P(last_routing, (s, 0, active, 64, output, 64))

#define DEFINE_MODEL_PROBE(verb, arguments)           \
  static dynamoe_status model_##verb(void *handle)    \
  {                                                   \
    dynamoe_model *m = handle;                        \
    return dynamoe_model_##verb arguments;            \
  }
#define DEFINE_LAYER_PROBE(verb, arguments)           \
  static dynamoe_status layer_##verb(void *handle)    \
  {                                                   \
    dynamoe_layer *l = handle;                        \
    return dynamoe_layer_##verb arguments;            \
  }
#define DEFINE_SESSION_PROBE(verb, arguments)         \
  static dynamoe_status session_##verb(void *handle)  \
  {                                                   \
    dynamoe_session *s = handle;                      \
    return dynamoe_session_##verb arguments;          \
  }
#define LIST_MODEL_PROBE(verb, arguments) {"dynamoe_model_" #verb, model_##verb},
#define LIST_LAYER_PROBE(verb, arguments) {"dynamoe_layer_" #verb, layer_##verb},
#define LIST_SESSION_PROBE(verb, arguments) {"dynamoe_session_" #verb, session_##verb},

MODEL_PROBES(DEFINE_MODEL_PROBE)
LAYER_PROBES(DEFINE_LAYER_PROBE)
SESSION_PROBES(DEFINE_SESSION_PROBE)
static dynamoe_status model_free(void *handle) { return dynamoe_model_free(handle); }
static dynamoe_status layer_free(void *handle) { return dynamoe_layer_free(handle); }
static dynamoe_status session_free(void *handle) { return dynamoe_session_free(handle); }
/* Its handle is that of a model. */
static dynamoe_status session_create(void *handle)
{
  dynamoe_session *session = NULL;
  return dynamoe_session_create(handle, &session);
}

static const probe model_probes[] = {MODEL_PROBES(LIST_MODEL_PROBE){"dynamoe_session_create", session_create},
                                     {"dynamoe_model_free", model_free}};
static const probe layer_probes[] = {LAYER_PROBES(LIST_LAYER_PROBE){"dynamoe_layer_free", layer_free}};
static const probe session_probes[] = {SESSION_PROBES(LIST_SESSION_PROBE){"dynamoe_session_free", session_free}};

/* Every probe with one bad handle: the status, and a message that names the argument and the reason. */
static void refuse_all(const probe *probes, size_t count, const char *noun, void *handle, const char *reason)
{
  for (size_t i = 0; i < count; i++) {
    if (handle == NULL && strstr(probes[i].name, "_free") != NULL)
      continue;
    dynamoe_status status = probes[i].call(handle);
    const char *message = dynamoe_last_error();
    int ok = status == DYNAMOE_ERROR_HANDLE && strncmp(message, noun, strlen(noun)) == 0 && strstr(message, reason) != NULL;
    record(ok, __FILE__, __LINE__, probes[i].name);
    if (!ok)
      printf("  with %s: %s: %s\n", reason, dynamoe_status_name(status), message);
  }
}

#define COUNT(array) (sizeof array / sizeof array[0])

static void refuse_foreign(void *good, const char *noun, const probe *probes, size_t count)
{
  int on_stack = 0;
  void *on_heap = malloc(64);
  refuse_all(probes, count, noun, NULL, "is NULL");
  refuse_all(probes, count, noun, &on_stack, "not a handle");
  refuse_all(probes, count, noun, on_heap, "not a handle");
  refuse_all(probes, count, noun, (void *)(uintptr_t)1, "not a handle");
  refuse_all(probes, count, noun, (void *)UINTPTR_MAX, "not a handle");
  /* Numbers near a good one, which no other live handle of its kind has: every single bit turned. */
  for (unsigned bit = 0; bit < 64; bit++) {
    uintptr_t number = (uintptr_t)good ^ ((uintptr_t)1 << bit);
    dynamoe_status status = probes[0].call((void *)number);
    EXPECT(status == DYNAMOE_ERROR_HANDLE);
  }
  free(on_heap);
}

static void many_handles(void)
{
  /* A slot that is used again never brings an old handle back to life. */
  dynamoe_layer *old = layer_of(LAYER_JSON, 0);
  OK(dynamoe_layer_free(old));
  for (int i = 0; i < 100; i++) {
    dynamoe_layer *layer = layer_of(LAYER_JSON, 0);
    EXPECT(layer != old);
    REFUSED(DYNAMOE_ERROR_HANDLE, "freed", dynamoe_layer_zero_gradients(old));
    OK(dynamoe_layer_free(layer));
  }
}

/* What has been borrowed stays where it is while the handle lives. */
static void borrowed(dynamoe_model *model)
{
  dynamoe_tensor first = {.struct_size = sizeof first}, again = {.struct_size = sizeof again};
  REQUIRE_OK(dynamoe_model_parameter(model, 0, &first));
  OK(dynamoe_model_forward(model, x, 6, 2, 1, output, 8));
  OK(dynamoe_model_backward(model, &targets, NULL, 0));
  OK(dynamoe_model_step(model, 0.01));
  OK(dynamoe_model_parameter(model, 0, &again));
  EXPECT(first.data == again.data && first.gradient == again.gradient && first.name == again.name);
  EXPECT(strcmp(first.name, "input.weight") == 0);
}

int main(int argc, char **argv)
{
  if (argc > 1)
    test_folder = argv[1];
  targets = classes_of(classes, 2);
  for (size_t i = 0; i < COUNT(numbers); i++)
    numbers[i] = 2;
  EXPECT(strcmp(dynamoe_last_error(), "") == 0);
  dynamoe_model *model = model_of(MODEL_JSON, 0);
  dynamoe_layer *layer = layer_of(LAYER_JSON, 0);
  dynamoe_session *session = NULL;
  REQUIRE_OK(dynamoe_session_create(model, &session));
  uint64_t before = model_fingerprint(model), layer_before = layer_fingerprint(layer);

  refuse_foreign(model, "model", model_probes, COUNT(model_probes));
  refuse_foreign(layer, "layer", layer_probes, COUNT(layer_probes));
  refuse_foreign(session, "session", session_probes, COUNT(session_probes));
  refuse_all(model_probes, COUNT(model_probes), "model", layer, "is a dynamoe_layer");
  refuse_all(model_probes, COUNT(model_probes), "model", session, "is a dynamoe_session");
  refuse_all(layer_probes, COUNT(layer_probes), "layer", session, "is a dynamoe_session");
  refuse_all(session_probes, COUNT(session_probes), "session", model, "is a dynamoe_model");
  refuse_all(session_probes, COUNT(session_probes), "session", layer, "is a dynamoe_layer");
  refuse_all(layer_probes, COUNT(layer_probes), "layer", model, "is a dynamoe_model");
  EXPECT(model_fingerprint(model) == before);
  EXPECT(layer_fingerprint(layer) == layer_before);

  OK(dynamoe_model_free(NULL));
  OK(dynamoe_layer_free(NULL));
  OK(dynamoe_session_free(NULL));
  dynamoe_model *other = model_of(MODEL_JSON, 0);
  dynamoe_layer *freed = layer_of(LAYER_JSON, 0);
  OK(dynamoe_layer_free(freed));
  OK(dynamoe_model_free(other));
  refuse_all(model_probes, COUNT(model_probes), "model", other, "was freed");
  refuse_all(layer_probes, COUNT(layer_probes), "layer", freed, "was freed");
  OK(dynamoe_session_free(session));
  refuse_all(session_probes, COUNT(session_probes), "session", session, "was freed");
  EXPECT(model_fingerprint(model) == before);
  EXPECT(layer_fingerprint(layer) == layer_before);

  many_handles();
  borrowed(model);
  OK(dynamoe_layer_free(layer));
  OK(dynamoe_model_free(model));
  return finish("handles");
}
