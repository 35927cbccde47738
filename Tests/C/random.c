/*
 * Calls at random, good and bad ones mixed. Whatever comes: the process lives, a refusal has a message and changes nothing.
 * The sequence depends on the seed alone: the second argument of the program, else 1.
 */
#include "support.h"

enum { MOST_ROWS = 40, MOST = MOST_ROWS * 8, CALLS = 6000, HANDLES = 6 };

static float x[MOST], output[MOST], numbers[MOST];
static int32_t classes[MOST], ids[MOST];
static double doubles[MOST];
static int64_t integers[MOST];
static uint8_t bytes[MOST];
static dynamoe_model *models[HANDLES];
static long refusals, successes;

static const char *const NETWORKS[] = {
    "{\"task\": \"classification\", \"inputs\": 3, \"outputs\": 4, \"width\": 6, \"experts\": [4, 2], \"router\": {\"kind\": "
    "\"threshold\", \"target_active\": 2, \"noise\": 0.1}, \"optimizer\": {\"clip\": 1}}",
    "{\"task\": \"regression\", \"inputs\": 2, \"outputs\": 2, \"width\": 4, \"experts\": [3], \"activation\": \"swiglu\", "
    "\"router\": {\"kind\": \"top_k\", \"k\": 2, \"balance_rate\": 0.01}}",
    "{\"task\": \"classification\", \"inputs\": 5, \"outputs\": 3, \"width\": 4, \"experts\": [1, 5, 2], \"shared_experts\": 1, "
    "\"router\": {\"kind\": \"percentile\", \"min_active\": 0, \"max_active\": 2}, \"losses\": {\"balance\": 0.1}}",
    "{\"task\": \"classification\", \"inputs\": 1, \"outputs\": 2, \"width\": 1, \"experts\": [1], \"norm\": \"none\", "
    "\"router\": {\"kind\": \"dense\"}, \"optimizer\": {\"kind\": \"sgd\", \"momentum\": 0.9}}",
};

static uint32_t below(uint32_t bound)
{
  generator_state = generator_state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)((generator_state >> 33) % bound);
}

/* Mostly what is right, sometimes something else. */
static size_t around(size_t right)
{
  static const size_t odd[] = {0, 1, SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 4, (size_t)1 << 48};
  uint32_t kind = below(16);
  if (kind == 0)
    return odd[below(6)];
  if (kind == 1)
    return right + 1;
  if (kind == 2)
    return right ? right - 1 : 0;
  return right;
}

#define MAYBE(pointer) (below(24) == 0 ? NULL : (pointer))

static double odd_number(double right)
{
  static const double odd[] = {0, -1, 1e300, 1e-300, 0.5};
  uint32_t kind = below(10);
  return kind == 0 ? odd[below(5)] : kind == 1 ? NAN : kind == 2 ? INFINITY : right;
}

static dynamoe_model *any_model(void)
{
  static int on_stack;
  uint32_t kind = below(40);
  if (kind == 0)
    return NULL;
  if (kind == 1)
    return (dynamoe_model *)&on_stack;
  if (kind == 2)
    return (dynamoe_model *)(((uintptr_t)0xD5 << 56) | below(1000));
  return models[below(HANDLES)];
}

static dynamoe_status one_call(dynamoe_model *model, const dynamoe_info *info)
{
  size_t rows = below(8) == 0 ? 0 : 1 + below(MOST_ROWS - 1), inputs = (size_t)info->inputs, outputs = (size_t)info->outputs;
  size_t layer = around(below((uint32_t)info->layers));
  int32_t training = (int32_t)below(2);
  dynamoe_targets targets = {NULL, 0, NULL, 0};
  if ((info->task == DYNAMOE_TASK_REGRESSION) != (below(20) == 0))
    targets.values = MAYBE(numbers), targets.value_count = around(rows * outputs);
  else
    targets.classes = MAYBE(classes), targets.class_count = around(rows);
  for (size_t i = 0; i < MOST; i++) {
    classes[i] = (int32_t)below((uint32_t)outputs + 1) - 1;
    ids[i] = (int32_t)below(9);
  }
  fill(x, MOST);
  fill(numbers, MOST);
  if (below(12) == 0)
    x[below((uint32_t)(rows * inputs + 1))] = below(2) ? NAN : INFINITY;
  if (below(12) == 0)
    classes[below((uint32_t)rows + 1)] = below(2) ? INT32_MAX : -2;
  dynamoe_losses losses = {.struct_size = below(20) == 0 ? below(5000) : sizeof losses};
  dynamoe_evaluation evaluation = {.struct_size = sizeof evaluation};
  dynamoe_routing_statistics statistics = {.struct_size = sizeof statistics};
  dynamoe_tensor tensor = {.struct_size = sizeof tensor};
  size_t length = 0;
  char text[64];
  const dynamoe_targets *these = MAYBE(&targets);
  switch (below(24)) {
  case 0: return dynamoe_model_forward(model, MAYBE(x), around(rows * inputs), rows, training, MAYBE(output), around(rows * outputs));
  case 1: return dynamoe_model_forward(model, x, rows * inputs, rows, 1, output, rows * outputs);
  case 2: return dynamoe_model_forward_tokens(model, ids, rows, training, output, around(rows * outputs));
  case 3: return dynamoe_model_loss(model, these, MAYBE(&losses));
  case 4: return dynamoe_model_auxiliary_losses(model, MAYBE(doubles), around(4 * (size_t)info->layers));
  case 5: return dynamoe_model_backward(model, these, MAYBE(output), around(rows * inputs));
  case 6: return dynamoe_model_backward(model, these, NULL, 0);
  case 7: return dynamoe_model_backward_output(model, MAYBE(numbers), around(rows * outputs), NULL, 0);
  case 8: return dynamoe_model_step(model, odd_number(0.001));
  case 9: return dynamoe_model_zero_gradients(model);
  case 10:
  case 11: return dynamoe_model_train_batch(model, MAYBE(x), around(rows * inputs), rows, these, NULL, 0, MAYBE(&losses));
  case 12: return dynamoe_model_train_batch(model, x, rows * inputs, rows, &targets, MAYBE(numbers), around(rows), &losses);
  case 13: return dynamoe_model_evaluate(model, MAYBE(x), around(rows * inputs), rows, these, &evaluation, MAYBE(doubles),
                                         around((size_t)info->layers));
  case 14: doubles[0] = odd_number(1); return dynamoe_model_calibrate(model, x, around(rows * inputs), rows, doubles, around(1));
  case 15: return dynamoe_model_parameter(model, around(below((uint32_t)info->tensor_count)), MAYBE(&tensor));
  case 16: return dynamoe_model_buffer(model, around(0), &tensor);
  case 17: return dynamoe_model_parameter_set(model, below(4) ? "head.bias" : "head.biase", MAYBE(x), around(outputs));
  case 18: return dynamoe_model_buffer_set(model, "layers.0.router.threshold", MAYBE(x), around(1));
  case 19: return dynamoe_model_routing_statistics(model, layer, MAYBE(&statistics), MAYBE(integers), around(6), NULL, around(0),
                                                   doubles, around(5), MAYBE(integers + 32), around(25));
  case 20: return below(4) ? dynamoe_model_last_rows(model, MAYBE(&length)) : dynamoe_model_routing_reset(model);
  case 21: return dynamoe_model_last_routing(model, layer, MAYBE(bytes), MOST, MAYBE(output), around(MOST));
  case 22: return dynamoe_model_config_json(model, MAYBE(text), below(64), MAYBE(&length));
  default: return dynamoe_model_info(model, NULL);
  }
}

static int is_live(dynamoe_model *model)
{
  dynamoe_info info = {.struct_size = sizeof info};
  return dynamoe_model_info(model, &info) == DYNAMOE_OK;
}

static void replace(uint32_t slot)
{
  if (models[slot] != NULL)
    OK(dynamoe_model_free(models[slot]));
  const char *json = NETWORKS[below(sizeof NETWORKS / sizeof NETWORKS[0])];
  models[slot] = model_of(json, below(3));
}

int main(int argc, char **argv)
{
  if (argc > 1)
    test_folder = argv[1];
  generator_state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  for (uint32_t slot = 0; slot < HANDLES; slot++)
    replace(slot);
  for (long call = 0; call < CALLS; call++) {
    if (below(200) == 0)
      replace(below(HANDLES));
    dynamoe_model *model = any_model();
    dynamoe_info info = {.struct_size = sizeof info, .inputs = 2, .outputs = 2, .layers = 1, .tensor_count = 1};
    int live = is_live(model);
    if (live)
      OK(dynamoe_model_info(model, &info));
    int compare = live && below(4) == 0;
    uint64_t before = compare ? model_fingerprint(model) : 0;
    dynamoe_status status = one_call(model, &info);
    successes += status == DYNAMOE_OK;
    refusals += status != DYNAMOE_OK;
    if (status == DYNAMOE_OK)
      continue;
    int expected = status == DYNAMOE_ERROR_ARGUMENT || status == DYNAMOE_ERROR_STATE || status == DYNAMOE_ERROR_FAILED ||
                   (status == DYNAMOE_ERROR_HANDLE && !live);
    EXPECT(expected && dynamoe_last_error()[0] != '\0');
    if (!expected)
      printf("  call %ld: %s: %s\n", call, dynamoe_status_name(status), dynamoe_last_error());
    if (status == DYNAMOE_ERROR_FAILED)
      replace(below(HANDLES));
    if (compare && status != DYNAMOE_ERROR_FAILED) {
      int same = model_fingerprint(model) == before;
      EXPECT(same);
      if (!same)
        printf("  call %ld changed the model and failed: %s\n", call, dynamoe_last_error());
    }
  }
  for (uint32_t slot = 0; slot < HANDLES; slot++)
    OK(dynamoe_model_free(models[slot]));
  printf("  %ld calls done, %ld refused\n", successes, refusals);
  EXPECT(successes > CALLS / 5 && refusals > CALLS / 5);
  return finish("random");
}
