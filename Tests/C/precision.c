/* Networks loaded in bfloat16: what works, and what is refused because they are for evaluation only. */
#include "support.h"

enum { ROWS = 30, INPUTS = 5, OUTPUTS = 4, X = ROWS * INPUTS, Y = ROWS * OUTPUTS };

static const char *MODEL_JSON = "{\"task\": \"classification\", \"inputs\": 5, \"outputs\": 4, \"width\": 33, \"hidden\": 20, \"experts\": [4, 2], "
                                "\"router\": {\"kind\": \"threshold\", \"target_active\": 2}}";
static const char *LAYER_JSON = "{\"width\": 5, \"experts\": 4, \"router\": {\"kind\": \"threshold\", \"target_active\": 2}}";
static const char *ONLY = "evaluation only: loaded as bfloat16";

static float x[X], logits[Y], others[Y], values[4096];
static int32_t classes[ROWS];

/* The upper half of an f32, to the nearest, halves to even. */
static float rounded(float value)
{
  uint32_t bits;
  memcpy(&bits, &value, 4);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
  memcpy(&value, &bits, 4);
  return value;
}

static int is_matrix(const char *name)
{
  return strstr(name, ".weight") != NULL && strstr(name, "router") == NULL && strstr(name, "norm") == NULL;
}

#define DEFINE_PARAMETERS(kind)                                                                       \
  static void kind##_parameters(dynamoe_##kind *full, dynamoe_##kind *half)                           \
  {                                                                                                   \
    dynamoe_info info = {.struct_size = sizeof info}, other = {.struct_size = sizeof other};          \
    OK(dynamoe_##kind##_info(full, &info));                                                           \
    OK(dynamoe_##kind##_info(half, &other));                                                          \
    EXPECT(info.precision == DYNAMOE_PRECISION_FLOAT32);                                              \
    EXPECT(other.precision == DYNAMOE_PRECISION_BFLOAT16);                                            \
    EXPECT(info.tensor_count == other.tensor_count && info.parameter_count == other.parameter_count); \
    for (size_t i = 0; i < (size_t)info.tensor_count; i++) {                                          \
      dynamoe_tensor whole = {.struct_size = sizeof whole}, tensor = {.struct_size = sizeof tensor};  \
      OK(dynamoe_##kind##_parameter(full, i, &whole));                                                \
      OK(dynamoe_##kind##_parameter(half, i, &tensor));                                               \
      EXPECT(strcmp(whole.name, tensor.name) == 0 && whole.count == tensor.count);                    \
      EXPECT(memcmp(whole.shape, tensor.shape, sizeof whole.shape) == 0);                             \
      EXPECT((tensor.data == NULL) == is_matrix(tensor.name) && tensor.gradient == NULL);             \
      EXPECT(tensor.count <= sizeof values / sizeof values[0]);                                       \
      OK(dynamoe_##kind##_parameter_get(half, tensor.name, values, tensor.count));                    \
      for (size_t k = 0; k < tensor.count; k++)                                                       \
        EXPECT(values[k] == (is_matrix(tensor.name) ? rounded(whole.data[k]) : whole.data[k]));       \
      OK(dynamoe_##kind##_parameter_get(full, tensor.name, values, tensor.count));                    \
      EXPECT(memcmp(values, whole.data, tensor.count * sizeof(float)) == 0);                          \
    }                                                                                                 \
  }

DEFINE_PARAMETERS(model)
DEFINE_PARAMETERS(layer)

static void works(dynamoe_model *full, dynamoe_model *half)
{
  dynamoe_targets targets = classes_of(classes, ROWS);
  OK(dynamoe_model_forward(full, x, X, ROWS, 0, logits, Y));
  OK(dynamoe_model_forward(half, x, X, ROWS, 0, others, Y));
  float scale = 0, worst = 0;
  for (int i = 0; i < Y; i++) {
    scale = fmaxf(scale, fabsf(logits[i]));
    worst = fmaxf(worst, fabsf(logits[i] - others[i]));
  }
  EXPECT(worst > 0 && worst < 0.05f * scale);
  for (int row = 0; row < ROWS; row += 7) {
    OK(dynamoe_model_forward(half, x + row * INPUTS, INPUTS, 1, 0, logits, OUTPUTS));
    EXPECT(memcmp(logits, others + row * OUTPUTS, OUTPUTS * sizeof(float)) == 0);
  }
  dynamoe_evaluation evaluation = {.struct_size = sizeof evaluation}, other = evaluation;
  OK(dynamoe_model_evaluate(full, x, X, ROWS, &targets, &evaluation, NULL, 0));
  OK(dynamoe_model_evaluate(half, x, X, ROWS, &targets, &other, NULL, 0));
  EXPECT(fabs(evaluation.loss - other.loss) < 0.02 && other.rows == ROWS);
  OK(dynamoe_model_measure(half, DYNAMOE_MEASURE_PARTICIPATION));
  double target = 1.5;
  OK(dynamoe_model_calibrate(half, x, X, ROWS, (double[]){target, target}, 2));
  OK(dynamoe_model_routing_reset(half));
  OK(dynamoe_model_forward(half, x, X, ROWS, 0, others, Y));
  dynamoe_routing_statistics statistics = {.struct_size = sizeof statistics};
  OK(dynamoe_model_routing_statistics(half, 0, &statistics, NULL, 0, NULL, 0, NULL, 0, NULL, 0));
  EXPECT(statistics.rows == ROWS && fabs(statistics.mean_k - target) < 0.2 && statistics.participation > 0);
  uint8_t active[ROWS * 4];
  OK(dynamoe_model_last_routing(half, 0, active, ROWS * 4, NULL, 0));
  float threshold = 0.3f;
  OK(dynamoe_model_buffer_set(half, "layers.0.router.threshold", &threshold, 1));
}

static void refused(dynamoe_model *half)
{
  dynamoe_targets targets = classes_of(classes, ROWS);
  dynamoe_losses losses = {.struct_size = sizeof losses};
  double unscaled[32];
  OK(dynamoe_model_forward(half, x, X, ROWS, 0, logits, Y));
#define REFUSED_HERE(call) REFUSED(DYNAMOE_ERROR_STATE, ONLY, call)
  REFUSED_HERE(dynamoe_model_forward(half, x, X, ROWS, 1, others, Y));
  REFUSED_HERE(dynamoe_model_loss(half, &targets, &losses));
  REFUSED_HERE(dynamoe_model_auxiliary_losses(half, unscaled, 32));
  REFUSED_HERE(dynamoe_model_backward(half, &targets, NULL, 0));
  REFUSED_HERE(dynamoe_model_backward_output(half, others, Y, NULL, 0));
  REFUSED_HERE(dynamoe_model_step(half, NAN));
  REFUSED_HERE(dynamoe_model_zero_gradients(half));
  REFUSED_HERE(dynamoe_model_train_batch(half, x, X, ROWS, &targets, NULL, 0, &losses));
  REFUSED_HERE(dynamoe_model_parameter_set(half, "head.bias", values, OUTPUTS));
  REFUSED_HERE(dynamoe_model_parameter_set(half, "head.weight", values, OUTPUTS * 33));
  REFUSED_HERE(dynamoe_model_measure(half, DYNAMOE_MEASURE_GRADIENT_VARIANCE));
  REFUSED_HERE(dynamoe_model_save(half, in_folder("refused.safetensors")));
  REFUSED(DYNAMOE_ERROR_STATE, "not measured", dynamoe_model_gradient_variance(half, unscaled, 32));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "nowhere", dynamoe_model_parameter_get(half, "nowhere", values, 4));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "name", dynamoe_model_parameter_get(half, NULL, values, 4));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "count", dynamoe_model_parameter_get(half, "head.weight", values, OUTPUTS * 33 - 1));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "values", dynamoe_model_parameter_get(half, "head.bias", NULL, OUTPUTS));
  OK(dynamoe_model_forward(half, x, X, ROWS, 0, others, Y));
  EXPECT(memcmp(logits, others, sizeof logits) == 0);
}

static void layers(void)
{
  dynamoe_layer *full = layer_of(LAYER_JSON, 3), *half = NULL;
  OK(dynamoe_layer_save(full, in_folder("layer.safetensors")));
  REQUIRE_OK(dynamoe_layer_load_as(in_folder("layer.safetensors"), DYNAMOE_PRECISION_BFLOAT16, &half));
  layer_parameters(full, half);
  OK(dynamoe_layer_forward(half, x, X, ROWS, 0, values, X));
  REFUSED_HERE(dynamoe_layer_forward(half, x, X, ROWS, 1, values, X));
  REFUSED_HERE(dynamoe_layer_backward(half, x, X, NULL, 0));
  REFUSED_HERE(dynamoe_layer_backward_step(half, x, X, NULL, 0, NAN));
  REFUSED_HERE(dynamoe_layer_losses(half, &(dynamoe_losses){.struct_size = sizeof(dynamoe_losses)}));
  REFUSED_HERE(dynamoe_layer_step(half, NAN));
  REFUSED_HERE(dynamoe_layer_save(half, in_folder("refused.safetensors")));
  OK(dynamoe_layer_calibrate(half, x, X, ROWS, 1.5));
  OK(dynamoe_layer_free(full));
  OK(dynamoe_layer_free(half));
}

int main(int argc, char **argv)
{
  if (argc > 1)
    test_folder = argv[1];
  fill(x, X);
  label(x, ROWS, INPUTS, OUTPUTS, classes);
  dynamoe_model *full = model_of(MODEL_JSON, 0), *half = (dynamoe_model *)(uintptr_t)64;
  dynamoe_targets targets = classes_of(classes, ROWS);
  for (int step = 0; step < 5; step++)
    OK(dynamoe_model_train_batch(full, x, X, ROWS, &targets, NULL, 0, NULL));
  const char *path = in_folder("model.safetensors");
  OK(dynamoe_model_save(full, path));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "precision", dynamoe_model_load_as(path, 2, &half));
  EXPECT(half == NULL);
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "precision", dynamoe_model_load_as(path, -1, &half));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "path", dynamoe_model_load_as(NULL, 1, &half));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "out", dynamoe_model_load_as(path, 1, NULL));
  REFUSED(DYNAMOE_ERROR_FILE, "absent", dynamoe_model_load_as(in_folder("absent"), 1, &half));
  dynamoe_model *again = NULL;
  REQUIRE_OK(dynamoe_model_load_as(path, DYNAMOE_PRECISION_FLOAT32, &again));
  EXPECT(same_weights(full, again));
  OK(dynamoe_model_train_batch(again, x, X, ROWS, &targets, NULL, 0, NULL));
  REQUIRE_OK(dynamoe_model_load_as(path, DYNAMOE_PRECISION_BFLOAT16, &half));
  model_parameters(full, half);
  works(full, half);
  refused(half);
  layers();
  OK(dynamoe_model_free(full));
  OK(dynamoe_model_free(again));
  OK(dynamoe_model_free(half));
  return finish("precision");
}
