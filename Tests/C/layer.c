/* A single layer by hand: its input gradient and its parameters' gradients against central differences. */
#include "support.h"

enum { ROWS = 7, WIDTH = 5, EXPERTS = 4 };

static float x[ROWS * WIDTH], y[ROWS * WIDTH], c[ROWS * WIDTH], dx[ROWS * WIDTH];

/* The loss sum(c * y) in f64, from an evaluation: it leaves the layer as it is. */
static double loss_at(dynamoe_layer *layer, const float *input)
{
  REQUIRE_OK(dynamoe_layer_forward(layer, input, ROWS * WIDTH, ROWS, 0, y, ROWS * WIDTH));
  double sum = 0;
  for (size_t i = 0; i < ROWS * WIDTH; i++)
    sum += (double)c[i] * y[i];
  return sum;
}

static void routing(dynamoe_layer *layer, uint8_t *active)
{
  REQUIRE_OK(dynamoe_layer_last_routing(layer, active, ROWS * EXPERTS, NULL, 0));
}

static int close_enough(double analytic, double numeric)
{
  return fabs(analytic - numeric) <= 2e-3 + 1e-2 * fabs(numeric);
}

/* Compares where the step of the difference quotient did not change which experts are active. */
static void check_gradients(const char *json)
{
  const float step = 1e-2f;
  dynamoe_layer *layer = layer_of(json, 11);
  uint8_t here[ROWS * EXPERTS], there[ROWS * EXPERTS], elsewhere[ROWS * EXPERTS];
  OK(dynamoe_layer_forward(layer, x, ROWS * WIDTH, ROWS, 1, y, ROWS * WIDTH));
  routing(layer, here);
  OK(dynamoe_layer_backward(layer, c, ROWS * WIDTH, dx, ROWS * WIDTH));
  long compared = 0, wrong = 0;
  double largest = 0;
  for (size_t i = 0; i < ROWS * WIDTH; i++) {
    float kept = x[i];
    x[i] = kept + step;
    double above = loss_at(layer, x);
    routing(layer, there);
    x[i] = kept - step;
    double below = loss_at(layer, x);
    routing(layer, elsewhere);
    x[i] = kept;
    if (memcmp(here, there, sizeof here) != 0 || memcmp(here, elsewhere, sizeof here) != 0)
      continue;
    double numeric = (above - below) / (2.0 * (double)step);
    compared++;
    wrong += !close_enough(dx[i], numeric);
    largest = fmax(largest, fabs(numeric));
  }
  dynamoe_info info = {.struct_size = sizeof info};
  OK(dynamoe_layer_info(layer, &info));
  for (size_t index = 0; index < (size_t)info.tensor_count; index++) {
    dynamoe_tensor tensor = {.struct_size = sizeof tensor};
    OK(dynamoe_layer_parameter(layer, index, &tensor));
    float *values = malloc(tensor.count * sizeof(float));
    memcpy(values, tensor.data, tensor.count * sizeof(float));
    for (size_t i = 0; i < tensor.count; i += tensor.count > 20 ? 7 : 1) {
      float kept = values[i];
      values[i] = kept + step;
      OK(dynamoe_layer_parameter_set(layer, tensor.name, values, tensor.count));
      double above = loss_at(layer, x);
      routing(layer, there);
      values[i] = kept - step;
      OK(dynamoe_layer_parameter_set(layer, tensor.name, values, tensor.count));
      double below = loss_at(layer, x);
      routing(layer, elsewhere);
      values[i] = kept;
      OK(dynamoe_layer_parameter_set(layer, tensor.name, values, tensor.count));
      if (memcmp(here, there, sizeof here) != 0 || memcmp(here, elsewhere, sizeof here) != 0)
        continue;
      compared++;
      wrong += !close_enough(tensor.gradient[i], (above - below) / (2.0 * (double)step));
    }
    free(values);
  }
  printf("  %ld derivatives compared, %ld wrong, largest of the input %.2f: %.60s...\n", compared, wrong, largest, json);
  EXPECT(compared > 60 && largest > 0.05);
  EXPECT(wrong == 0);
  OK(dynamoe_layer_free(layer));
}

static void by_hand(void)
{
  /* 4 * width hidden units by default, a step that moves the weights, the auxiliary losses, a file. */
  dynamoe_router_config router;
  REQUIRE_OK(dynamoe_router_config_init(&router, sizeof router));
  router.kind = DYNAMOE_ROUTER_TOP_K;
  router.k = 2;
  dynamoe_losses_config coefficients;
  REQUIRE_OK(dynamoe_losses_config_init(&coefficients, sizeof coefficients));
  coefficients.balance = 0.5;
  dynamoe_layer_config config;
  REQUIRE_OK(dynamoe_layer_config_init(&config, sizeof config));
  config.width = WIDTH;
  config.experts = EXPERTS;
  config.router = &router;
  config.losses = &coefficients;
  dynamoe_layer *layer = NULL, *loaded = NULL;
  REQUIRE_OK(dynamoe_layer_create(&config, 3, &layer));
  dynamoe_info info = {.struct_size = sizeof info};
  OK(dynamoe_layer_info(layer, &info));
  EXPECT(info.task == -1 && info.inputs == WIDTH && info.outputs == WIDTH && info.layers == 1 && info.vocabulary == 0);
  EXPECT(info.parameter_count == EXPERTS * WIDTH + EXPERTS * (2 * WIDTH * 4 * WIDTH + 5 * WIDTH));
  EXPECT(info.buffer_count == 0);

  OK(dynamoe_layer_forward(layer, x, ROWS * WIDTH, ROWS, 1, y, ROWS * WIDTH));
  dynamoe_losses losses = {.struct_size = sizeof losses};
  double unscaled[4];
  OK(dynamoe_layer_losses(layer, &losses));
  OK(dynamoe_layer_auxiliary_losses(layer, unscaled, 4));
  EXPECT(losses.task == 0 && fabs(losses.balance - 0.5 * unscaled[0]) < 1e-9 && losses.total == losses.balance);
  OK(dynamoe_layer_backward(layer, c, ROWS * WIDTH, NULL, 0));
  uint64_t before = layer_fingerprint(layer);
  OK(dynamoe_layer_step(layer, 0.1));
  EXPECT(layer_fingerprint(layer) != before);
  OK(dynamoe_layer_save(layer, in_folder("layer.safetensors")));
  REQUIRE_OK(dynamoe_layer_load(in_folder("layer.safetensors"), &loaded));
  static float again[ROWS * WIDTH];
  OK(dynamoe_layer_forward(layer, x, ROWS * WIDTH, ROWS, 0, y, ROWS * WIDTH));
  OK(dynamoe_layer_forward(loaded, x, ROWS * WIDTH, ROWS, 0, again, ROWS * WIDTH));
  EXPECT(memcmp(y, again, sizeof y) == 0);
  OK(dynamoe_layer_free(layer));
  OK(dynamoe_layer_free(loaded));
}

/* The three calls in one. */
static void at_once(void)
{
  static const char json[] = "{\"width\": 5, \"experts\": 4, \"router\": {\"kind\": \"threshold\", \"target_active\": 2}}";
  static float other[ROWS * WIDTH];
  dynamoe_layer *whole = layer_of(json, 4), *parts = layer_of(json, 4);
  for (int step = 0; step < 3; step++) {
    double lr = step == 1 ? 0.01 : (double)NAN;
    OK(dynamoe_layer_forward(whole, x, ROWS * WIDTH, ROWS, 1, y, ROWS * WIDTH));
    OK(dynamoe_layer_forward(parts, x, ROWS * WIDTH, ROWS, 1, y, ROWS * WIDTH));
    OK(dynamoe_layer_backward_step(whole, c, ROWS * WIDTH, step == 2 ? NULL : dx, step == 2 ? 0 : ROWS * WIDTH, lr));
    OK(dynamoe_layer_zero_gradients(parts));
    OK(dynamoe_layer_backward(parts, c, ROWS * WIDTH, other, ROWS * WIDTH));
    OK(dynamoe_layer_step(parts, lr));
    EXPECT(step == 2 || memcmp(dx, other, sizeof dx) == 0);
    OK(dynamoe_layer_zero_gradients(whole));
    OK(dynamoe_layer_zero_gradients(parts));
    EXPECT(layer_fingerprint(whole) == layer_fingerprint(parts));
  }
  OK(dynamoe_layer_free(whole));
  OK(dynamoe_layer_free(parts));
}

int main(int argc, char **argv)
{
  if (argc > 1)
    test_folder = argv[1];
  fill(x, ROWS * WIDTH);
  fill(c, ROWS * WIDTH);
  check_gradients("{\"width\": 5, \"experts\": 4, \"hidden\": 6, \"router\": {\"kind\": \"dense\"}}");
  check_gradients("{\"width\": 5, \"experts\": 4, \"hidden\": 6, \"activation\": \"swiglu\", \"shared_experts\": 1, "
                  "\"router\": {\"kind\": \"top_k\", \"k\": 2}}");
  check_gradients("{\"width\": 5, \"experts\": 4, \"hidden\": 6, \"activation\": \"geglu\", \"bias\": false, "
                  "\"router\": {\"kind\": \"percentile\", \"temperature\": 0.5}}");
  check_gradients("{\"width\": 5, \"experts\": 4, \"hidden\": 6, \"activation\": \"gelu_tanh\", "
                  "\"router\": {\"kind\": \"top_k\", \"k\": 3, \"gate\": \"raw\"}}");
  by_hand();
  at_once();
  return finish("layer");
}
