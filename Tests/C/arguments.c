/* Calls that must be refused: wrong shapes, values and order. After each one the handle holds what it held before. */
#include "support.h"

enum { ROWS = 3, INPUTS = 3, OUTPUTS = 4, LAYERS = 2, X = ROWS * INPUTS, Y = ROWS * OUTPUTS };

static const char *MODEL_JSON = "{\"task\": \"classification\", \"inputs\": 3, \"outputs\": 4, \"width\": 8, \"experts\": [4, 2], "
                                "\"router\": {\"kind\": \"threshold\", \"target_active\": 2, \"noise\": 0.1}}";
static const char *REGRESSION_JSON = "{\"task\": \"regression\", \"inputs\": 3, \"outputs\": 2, \"width\": 8, \"experts\": [4], "
                                     "\"router\": {\"kind\": \"top_k\", \"k\": 2}}";
static const char *LAYER_JSON = "{\"width\": 3, \"experts\": 4, \"router\": {\"kind\": \"threshold\", \"target_active\": 2}}";

static float x[X], logits[Y + 1], weights[64];
static int32_t classes[ROWS] = {0, 3, -1}, ids[ROWS];
static dynamoe_losses losses = {.struct_size = sizeof losses};
static dynamoe_evaluation evaluation = {.struct_size = sizeof evaluation};

static dynamoe_model *model;
static uint64_t state;

static void unchanged(const char *file, int line, const char *call)
{
  record(model_fingerprint(model) == state, file, line, call);
}

#define KEEPS(status, word, call)                 \
  do {                                            \
    REFUSED(status, word, call);                  \
    unchanged(__FILE__, __LINE__, "changed: " #call); \
  } while (0)
#define BAD(word, call) KEEPS(DYNAMOE_ERROR_ARGUMENT, word, call)

static const size_t HUGE_SIZES[] = {SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / INPUTS, SIZE_MAX / 4, (size_t)1 << 62, (size_t)1 << 48};

static void shapes(void)
{
  dynamoe_targets targets = classes_of(classes, ROWS), none = classes_of(NULL, 0);
  BAD("x", dynamoe_model_forward(model, NULL, X, ROWS, 1, logits, Y));
  BAD("x_count", dynamoe_model_forward(model, x, X - 1, ROWS, 1, logits, Y));
  BAD("x_count", dynamoe_model_forward(model, x, X, ROWS + 1, 1, logits, Y + 4));
  BAD("x_count", dynamoe_model_forward(model, x, 0, ROWS, 1, logits, Y));
  BAD("logits_count", dynamoe_model_forward(model, x, X, ROWS, 1, logits, Y - 1));
  BAD("logits", dynamoe_model_forward(model, x, X, ROWS, 1, NULL, Y));
  BAD("logits", dynamoe_model_forward(model, x, X, ROWS, 0, NULL, 0));
  BAD("rows", dynamoe_model_forward(model, x, 0, 0, 1, logits, 0));
  BAD("misaligned", dynamoe_model_forward(model, (const float *)(const void *)((const char *)x + 1), X, ROWS, 1, logits, Y));
  BAD("ids", dynamoe_model_forward_tokens(model, ids, ROWS, 1, logits, Y));
  BAD("ids", dynamoe_model_train_batch_tokens(model, ids, ROWS, &targets, NULL, 0, NULL));
  BAD("ids", dynamoe_model_evaluate_tokens(model, ids, ROWS, &targets, &evaluation, NULL, 0));
  BAD("ids", dynamoe_model_report_tokens(model, ids, ROWS, &targets, NULL, 0, in_folder("report.html")));
  BAD("x_count", dynamoe_model_report(model, x, X - 1, ROWS, &targets, NULL, 0, in_folder("report.html")));
  BAD("rows", dynamoe_model_report(model, x, 0, 0, &none, NULL, 0, in_folder("report.html")));
  BAD("path", dynamoe_model_report(model, x, X, ROWS, &targets, NULL, 0, NULL));
  BAD("targets", dynamoe_model_report(model, x, X, ROWS, NULL, NULL, 0, in_folder("report.html")));
  BAD("options", dynamoe_model_report(model, x, X, ROWS, &targets, NULL, 3, in_folder("report.html")));
  BAD("options_length", dynamoe_model_report(model, x, X, ROWS, &targets, "{}", SIZE_MAX, in_folder("report.html")));
  BAD("titel", dynamoe_model_report(model, x, X, ROWS, &targets, "{\"titel\": 1}", 12, in_folder("report.html")));
  BAD("class_names", dynamoe_model_report(model, x, X, ROWS, &targets, "{\"class_names\": [\"a\"]}", 22, in_folder("report.html")));
  for (size_t i = 0; i < sizeof HUGE_SIZES / sizeof HUGE_SIZES[0]; i++) {
    size_t huge = HUGE_SIZES[i];
    BAD("count", dynamoe_model_report(model, x, huge * INPUTS, huge, &targets, NULL, 0, in_folder("report.html")));
    BAD("count", dynamoe_model_forward(model, x, X, huge, 1, logits, Y));
    BAD("count", dynamoe_model_forward(model, x, huge * INPUTS, huge, 1, logits, huge * OUTPUTS));
    BAD("x_count", dynamoe_model_forward(model, x, huge, ROWS, 1, logits, Y));
    BAD("count", dynamoe_model_train_batch(model, x, huge * INPUTS, huge, &targets, NULL, 0, NULL));
    BAD("count", dynamoe_model_evaluate(model, x, huge * INPUTS, huge, &targets, &evaluation, NULL, 0));
    BAD("weight_count", dynamoe_model_train_batch(model, x, X, ROWS, &targets, weights, huge, NULL));
  }
}

static void values(void)
{
  dynamoe_targets targets = classes_of(classes, ROWS);
  const float bad[] = {NAN, INFINITY, -INFINITY};
  for (int i = 0; i < 3; i++) {
    float kept = x[4];
    x[4] = bad[i];
    BAD("x", dynamoe_model_forward(model, x, X, ROWS, 1, logits, Y));
    BAD("x", dynamoe_model_forward(model, x, X, ROWS, 0, logits, Y));
    BAD("x", dynamoe_model_train_batch(model, x, X, ROWS, &targets, NULL, 0, NULL));
    BAD("x", dynamoe_model_evaluate(model, x, X, ROWS, &targets, &evaluation, NULL, 0));
    x[4] = kept;
    weights[0] = weights[2] = 1;
    weights[1] = bad[i];
    BAD("weight", dynamoe_model_train_batch(model, x, X, ROWS, &targets, weights, ROWS, NULL));
  }
  weights[1] = -1;
  BAD("weight", dynamoe_model_train_batch(model, x, X, ROWS, &targets, weights, ROWS, NULL));
  weights[0] = weights[1] = weights[2] = 0;
  BAD("weight", dynamoe_model_train_batch(model, x, X, ROWS, &targets, weights, ROWS, NULL));
  BAD("weight_count", dynamoe_model_train_batch(model, x, X, ROWS, &targets, weights, ROWS - 1, NULL));
  BAD("sample_weight", dynamoe_model_train_batch(model, x, X, ROWS, &targets, NULL, ROWS, NULL));
  const int32_t wrong[] = {OUTPUTS, -2, INT32_MAX, INT32_MIN};
  for (int i = 0; i < 4; i++) {
    int32_t kept = classes[1];
    classes[1] = wrong[i];
    BAD("target", dynamoe_model_train_batch(model, x, X, ROWS, &targets, NULL, 0, NULL));
    BAD("target", dynamoe_model_evaluate(model, x, X, ROWS, &targets, &evaluation, NULL, 0));
    classes[1] = kept;
  }
}

static void bad_targets(void)
{
  static float numbers[Y];
  dynamoe_targets good = classes_of(classes, ROWS), regression = values_of(numbers, Y), both = {classes, ROWS, numbers, Y};
  dynamoe_targets few = classes_of(classes, ROWS - 1), null = classes_of(NULL, ROWS), none = {NULL, 0, NULL, 0};
  BAD("targets", dynamoe_model_train_batch(model, x, X, ROWS, NULL, NULL, 0, NULL));
  BAD("values", dynamoe_model_train_batch(model, x, X, ROWS, &regression, NULL, 0, NULL));
  BAD("values", dynamoe_model_train_batch(model, x, X, ROWS, &both, NULL, 0, NULL));
  BAD("class_count", dynamoe_model_train_batch(model, x, X, ROWS, &few, NULL, 0, NULL));
  BAD("classes", dynamoe_model_train_batch(model, x, X, ROWS, &null, NULL, 0, NULL));
  BAD("class_count", dynamoe_model_train_batch(model, x, X, ROWS, &none, NULL, 0, NULL));
  BAD("class_count", dynamoe_model_evaluate(model, x, X, ROWS, &few, &evaluation, NULL, 0));
  BAD("evaluation", dynamoe_model_evaluate(model, x, X, ROWS, &good, NULL, NULL, 0));
  double mean_k[LAYERS];
  BAD("mean_k_count", dynamoe_model_evaluate(model, x, X, ROWS, &good, &evaluation, mean_k, 1));
  BAD("mean_k", dynamoe_model_evaluate(model, x, X, ROWS, &good, &evaluation, NULL, 2));
  dynamoe_losses small = {.struct_size = 8}, zero = {.struct_size = 0}, large = {.struct_size = 5000};
  BAD("losses.struct_size", dynamoe_model_train_batch(model, x, X, ROWS, &good, NULL, 0, &small));
  BAD("losses.struct_size", dynamoe_model_train_batch(model, x, X, ROWS, &good, NULL, 0, &zero));
  BAD("losses.struct_size", dynamoe_model_train_batch(model, x, X, ROWS, &good, NULL, 0, &large));
}

static void order(void)
{
  dynamoe_targets targets = classes_of(classes, ROWS);
  dynamoe_model *fresh = model_of(MODEL_JSON, 1), *kept = model;
  static float gradient[Y];
  static uint8_t active[64];
  double values8[8];
  model = fresh;
  state = model_fingerprint(model);
  KEEPS(DYNAMOE_ERROR_STATE, "forward", dynamoe_model_loss(model, &targets, &losses));
  KEEPS(DYNAMOE_ERROR_STATE, "forward", dynamoe_model_backward(model, &targets, NULL, 0));
  KEEPS(DYNAMOE_ERROR_STATE, "forward", dynamoe_model_backward_output(model, gradient, Y, NULL, 0));
  KEEPS(DYNAMOE_ERROR_STATE, "forward", dynamoe_model_auxiliary_losses(model, values8, 8));
  KEEPS(DYNAMOE_ERROR_STATE, "forward", dynamoe_model_last_routing(model, 0, active, 64, weights, 64));
  OK(dynamoe_model_forward(model, x, X, ROWS, 0, logits, Y));
  state = model_fingerprint(model);
  KEEPS(DYNAMOE_ERROR_STATE, "forward", dynamoe_model_backward(model, &targets, NULL, 0));

  /* Refusals leave the pending backward pending, and its gradients as they would have been. */
  dynamoe_model *straight = model_of(MODEL_JSON, 1);
  OK(dynamoe_model_forward(model, x, X, ROWS, 1, logits, Y));
  OK(dynamoe_model_forward(straight, x, X, ROWS, 1, logits, Y));
  state = model_fingerprint(model);
  dynamoe_targets few = classes_of(classes, ROWS - 1);
  BAD("targets", dynamoe_model_backward(model, NULL, NULL, 0));
  BAD("class", dynamoe_model_backward(model, &few, NULL, 0));
  BAD("class", dynamoe_model_loss(model, &few, &losses));
  BAD("losses", dynamoe_model_loss(model, &targets, NULL));
  BAD("input_gradient", dynamoe_model_backward(model, &targets, gradient, X - 1));
  BAD("input_gradient", dynamoe_model_backward(model, &targets, NULL, X));
  BAD("output_gradient", dynamoe_model_backward_output(model, gradient, Y - 1, NULL, 0));
  BAD("output_gradient", dynamoe_model_backward_output(model, NULL, Y, NULL, 0));
  gradient[5] = NAN;
  BAD("output_gradient", dynamoe_model_backward_output(model, gradient, Y, NULL, 0));
  gradient[5] = 0;
  classes[0] = OUTPUTS;
  BAD("target", dynamoe_model_backward(model, &targets, NULL, 0));
  BAD("target", dynamoe_model_loss(model, &targets, &losses));
  classes[0] = 0;
  BAD("x", dynamoe_model_forward(model, NULL, X, ROWS, 1, logits, Y));
  BAD("values", dynamoe_model_auxiliary_losses(model, NULL, 8));
  BAD("count", dynamoe_model_auxiliary_losses(model, values8, 7));
  OK(dynamoe_model_evaluate(model, x, X, ROWS, &targets, &evaluation, NULL, 0));
  OK(dynamoe_model_backward(model, &targets, gradient, X));
  OK(dynamoe_model_backward(straight, &targets, gradient, X));
  OK(dynamoe_model_step(model, NAN));
  OK(dynamoe_model_step(straight, NAN));
  EXPECT(same_weights(model, straight));
  state = model_fingerprint(model);
  KEEPS(DYNAMOE_ERROR_STATE, "forward", dynamoe_model_backward(model, &targets, NULL, 0));
  const double rates[] = {INFINITY, -INFINITY, -1e-3};
  for (int i = 0; i < 3; i++)
    BAD("lr", dynamoe_model_step(model, rates[i]));
  OK(dynamoe_model_free(fresh));
  OK(dynamoe_model_free(straight));
  model = kept;
  state = model_fingerprint(model);
}

static void tensors(void)
{
  dynamoe_tensor tensor = {.struct_size = sizeof tensor}, small = {.struct_size = 4};
  dynamoe_info info = {.struct_size = sizeof info}, wrong = {.struct_size = 3};
  OK(dynamoe_model_info(model, &info));
  BAD("index", dynamoe_model_parameter(model, (size_t)info.tensor_count, &tensor));
  BAD("index", dynamoe_model_parameter(model, SIZE_MAX, &tensor));
  BAD("index", dynamoe_model_buffer(model, (size_t)info.buffer_count, &tensor));
  BAD("tensor", dynamoe_model_parameter(model, 0, NULL));
  BAD("tensor.struct_size", dynamoe_model_parameter(model, 0, &small));
  BAD("info", dynamoe_model_info(model, NULL));
  BAD("info.struct_size", dynamoe_model_info(model, &wrong));
  float values[4] = {1, 2, 3, 4};
  BAD("name", dynamoe_model_parameter_set(model, NULL, values, 4));
  BAD("nowhere", dynamoe_model_parameter_set(model, "nowhere", values, 4));
  BAD("name", dynamoe_model_parameter_set(model, "", values, 4));
  BAD("UTF-8", dynamoe_model_parameter_set(model, "\xff\xfe", values, 4));
  BAD("name", dynamoe_model_parameter_set(model, "layers.0.router.threshold", values, 1));
  BAD("count", dynamoe_model_parameter_set(model, "head.bias", values, 3));
  BAD("count", dynamoe_model_parameter_set(model, "head.bias", values, SIZE_MAX));
  BAD("values", dynamoe_model_parameter_set(model, "head.bias", NULL, 4));
  BAD("name", dynamoe_model_buffer_set(model, "head.bias", values, 4));
  BAD("count", dynamoe_model_buffer_set(model, "layers.0.router.threshold", values, 2));
  const float bad[] = {NAN, INFINITY, -INFINITY};
  for (int i = 0; i < 3; i++) {
    values[2] = bad[i];
    BAD("head.bias", dynamoe_model_parameter_set(model, "head.bias", values, 4));
    BAD("threshold", dynamoe_model_buffer_set(model, "layers.0.router.threshold", values + 2, 1));
  }
  static char endless[8192];
  memset(endless, 'a', sizeof endless - 1);
  BAD("name", dynamoe_model_parameter_set(model, endless, values, 4));
  BAD("path", dynamoe_model_save(model, endless));
  BAD("path", dynamoe_model_save(model, NULL));
  BAD("path", dynamoe_model_save(model, ""));
  char text[8];
  size_t length = 0;
  BAD("length", dynamoe_model_config_json(model, text, sizeof text, NULL));
  BAD("text", dynamoe_model_config_json(model, NULL, 10, &length));
  BAD("capacity", dynamoe_model_config_json(model, text, sizeof text, &length));
  EXPECT(length > sizeof text);
  OK(dynamoe_model_config_json(model, NULL, 0, &length));
  char *exact = malloc(length + 1);
  BAD("capacity", dynamoe_model_config_json(model, exact, length, &length));
  OK(dynamoe_model_config_json(model, exact, length + 1, &length));
  EXPECT(strlen(exact) == length);
  free(exact);
}

static void routing(void)
{
  dynamoe_routing_statistics statistics = {.struct_size = sizeof statistics}, small = {.struct_size = 1};
  int64_t counts[64];
  double numbers[64];
  uint8_t active[64];
  BAD("layer", dynamoe_model_routing_statistics(model, LAYERS, &statistics, NULL, 0, NULL, 0, NULL, 0, NULL, 0));
  BAD("layer", dynamoe_model_routing_statistics(model, SIZE_MAX, &statistics, NULL, 0, NULL, 0, NULL, 0, NULL, 0));
  BAD("statistics", dynamoe_model_routing_statistics(model, 0, NULL, NULL, 0, NULL, 0, NULL, 0, NULL, 0));
  BAD("statistics.struct_size", dynamoe_model_routing_statistics(model, 0, &small, NULL, 0, NULL, 0, NULL, 0, NULL, 0));
  BAD("k_histogram_count", dynamoe_model_routing_statistics(model, 0, &statistics, counts, 4, NULL, 0, NULL, 0, NULL, 0));
  BAD("k_histogram", dynamoe_model_routing_statistics(model, 0, &statistics, NULL, 5, NULL, 0, NULL, 0, NULL, 0));
  BAD("expert_rows_count", dynamoe_model_routing_statistics(model, 0, &statistics, NULL, 0, counts, 3, NULL, 0, NULL, 0));
  BAD("mean_weight_count", dynamoe_model_routing_statistics(model, 0, &statistics, NULL, 0, NULL, 0, numbers, 3, NULL, 0));
  BAD("coactivation_count", dynamoe_model_routing_statistics(model, 0, &statistics, NULL, 0, NULL, 0, NULL, 0, counts, 15));
  BAD("layer", dynamoe_model_last_routing(model, LAYERS, active, 64, weights, 64));
  BAD("active_count", dynamoe_model_last_routing(model, 0, active, ROWS * 4 - 1, weights, 64));
  BAD("weights_count", dynamoe_model_last_routing(model, 0, active, 64, weights, 1));
  BAD("active", dynamoe_model_last_routing(model, 0, NULL, 64, weights, 64));
  BAD("rows", dynamoe_model_last_rows(model, NULL));
  double targets[LAYERS] = {2, 2};
  BAD("target_count", dynamoe_model_calibrate(model, x, X, ROWS, targets, 0));
  BAD("target_count", dynamoe_model_calibrate(model, x, X, ROWS, targets, 3));
  BAD("target_active", dynamoe_model_calibrate(model, x, X, ROWS, NULL, 1));
  const double bad[] = {NAN, INFINITY, -1, 0, 0.5, 4.5, 1e300};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    targets[1] = bad[i];
    BAD("target_active", dynamoe_model_calibrate(model, x, X, ROWS, targets, LAYERS));
  }
  BAD("rows", dynamoe_model_calibrate(model, x, 0, 0, targets, 1));
  BAD("ids", dynamoe_model_calibrate_tokens(model, ids, ROWS, targets, 1));
}

/* T = 0 in evaluation is no mistake. */
static void empty(void)
{
  dynamoe_targets none = {NULL, 0, NULL, 0};
  size_t rows = 1;
  OK(dynamoe_model_evaluate(model, NULL, 0, 0, &none, &evaluation, NULL, 0));
  EXPECT(evaluation.rows == 0 && evaluation.loss == 0);
  OK(dynamoe_model_forward(model, NULL, 0, 0, 0, NULL, 0));
  OK(dynamoe_model_last_rows(model, &rows));
  EXPECT(rows == 0);
}

static void other_kinds(void)
{
  dynamoe_model *regression = model_of(REGRESSION_JSON, 0);
  static float numbers[ROWS * 2];
  dynamoe_targets right = values_of(numbers, ROWS * 2), few = values_of(numbers, ROWS), wrong = classes_of(classes, ROWS);
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "classes", dynamoe_model_train_batch(regression, x, X, ROWS, &wrong, NULL, 0, NULL));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "value_count", dynamoe_model_train_batch(regression, x, X, ROWS, &few, NULL, 0, NULL));
  numbers[3] = NAN;
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "target", dynamoe_model_train_batch(regression, x, X, ROWS, &right, NULL, 0, NULL));
  numbers[3] = 0;
  OK(dynamoe_model_train_batch(regression, x, X, ROWS, &right, NULL, 0, NULL));
  double target = 1;
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "top_k", dynamoe_model_calibrate(regression, x, X, ROWS, &target, 1));
  OK(dynamoe_model_free(regression));

  dynamoe_layer *layer = layer_of(LAYER_JSON, 0);
  static float y[X], gradient[X];
  uint64_t before = layer_fingerprint(layer);
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "x_count", dynamoe_layer_forward(layer, x, X - 1, ROWS, 1, y, X));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "y_count", dynamoe_layer_forward(layer, x, X, ROWS, 1, y, X - 1));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "y", dynamoe_layer_forward(layer, x, X, ROWS, 1, NULL, 0));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "rows", dynamoe_layer_forward(layer, x, 0, 0, 1, y, X));
  REFUSED(DYNAMOE_ERROR_STATE, "forward", dynamoe_layer_backward(layer, gradient, X, NULL, 0));
  REFUSED(DYNAMOE_ERROR_STATE, "forward", dynamoe_layer_losses(layer, &losses));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "target_active", dynamoe_layer_calibrate(layer, x, X, ROWS, NAN));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "lr", dynamoe_layer_step(layer, -1));
  REFUSED(DYNAMOE_ERROR_STATE, "forward", dynamoe_layer_backward_step(layer, gradient, X, NULL, 0, NAN));
  EXPECT(layer_fingerprint(layer) == before);
  OK(dynamoe_layer_calibrate(layer, x, X, ROWS, 2));
  OK(dynamoe_layer_forward(layer, x, X, ROWS, 1, y, X));
  before = layer_fingerprint(layer);
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "output_gradient", dynamoe_layer_backward(layer, gradient, X - 1, NULL, 0));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "input_gradient", dynamoe_layer_backward(layer, gradient, X, y, X - 1));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "output_gradient", dynamoe_layer_backward_step(layer, NULL, X, NULL, 0, NAN));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "output_gradient", dynamoe_layer_backward_step(layer, gradient, X + 1, NULL, 0, NAN));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "input_gradient", dynamoe_layer_backward_step(layer, gradient, X, y, X - 1, NAN));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "lr", dynamoe_layer_backward_step(layer, gradient, X, y, X, -1));
  EXPECT(layer_fingerprint(layer) == before);
  OK(dynamoe_layer_backward(layer, gradient, X, y, X));
  OK(dynamoe_layer_free(layer));
}

int main(int argc, char **argv)
{
  if (argc > 1)
    test_folder = argv[1];
  fill(x, X);
  model = model_of(MODEL_JSON, 0);
  dynamoe_targets targets = classes_of(classes, ROWS);
  OK(dynamoe_model_train_batch(model, x, X, ROWS, &targets, NULL, 0, &losses));
  OK(dynamoe_model_forward(model, x, X, ROWS, 1, logits, Y));
  state = model_fingerprint(model);
  EXPECT(model_fingerprint(model) == state);
  shapes();
  values();
  bad_targets();
  order();
  tensors();
  routing();
  empty();
  other_kinds();
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "count", dynamoe_threads_set(0));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "count", dynamoe_threads_set(257));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "count", dynamoe_threads_set(INT32_MIN));
  OK(dynamoe_model_free(model));
  return finish("arguments");
}
