/*
 * layer.c - drive a single mixture-of-experts layer by hand
 *
 * The layer is y = MoE(x). What comes before it, what comes after it and the loss are ours: here the loss is the mean squared
 * distance of y from a function of x, and its gradient dLoss/dy is computed below. The layer gives back dLoss/dx, which is where an
 * own network would go on backwards.
 */
#include <dynamoe.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 256, WIDTH = 8, EXPERTS = 6, STEPS = 300 };

static void check(dynamoe_status status, const char *doing)
{
  if (status == DYNAMOE_OK)
    return;
  fprintf(stderr, "layer: %s: %s (%s)\n", doing, dynamoe_last_error(), dynamoe_status_name(status));
  exit(1);
}

static uint64_t generator_state = 7;

static float uniform(void)
{
  generator_state = generator_state * 6364136223846793005u + 1442695040888963407u;
  return (float)(2.0 * (double)(generator_state >> 11) / 9007199254740992.0 - 1.0);
}

/* What the layer shall learn: another function in each half of the space, a case for experts. */
static void wanted(const float *x, float *y)
{
  for (int i = 0; i < WIDTH; i++)
    y[i] = x[0] > 0 ? sinf(2 * x[i]) : x[i] * x[(i + 1) % WIDTH];
}

/* The mean squared distance, and its gradient by y. */
static double loss_and_gradient(const float *y, const float *target, float *gradient)
{
  double sum = 0;
  for (size_t i = 0; i < (size_t)ROWS * WIDTH; i++) {
    double difference = (double)y[i] - target[i];
    sum += difference * difference;
    gradient[i] = (float)(2 * difference / (ROWS * WIDTH));
  }
  return sum / (ROWS * WIDTH);
}

int main(void)
{
  static float x[ROWS * WIDTH], target[ROWS * WIDTH], y[ROWS * WIDTH], dy[ROWS * WIDTH], dx[ROWS * WIDTH];
  const size_t count = sizeof x / sizeof x[0];
  for (size_t i = 0; i < count; i++)
    x[i] = uniform();
  for (size_t row = 0; row < ROWS; row++)
    wanted(x + row * WIDTH, target + row * WIDTH);

  dynamoe_router_config router;
  check(dynamoe_router_config_init(&router, sizeof router), "router");
  router.kind = DYNAMOE_ROUTER_THRESHOLD;
  router.target_active = 2;

  dynamoe_optimizer_config optimizer;
  check(dynamoe_optimizer_config_init(&optimizer, sizeof optimizer), "optimizer");
  optimizer.lr = 0.01;

  dynamoe_layer_config config;
  check(dynamoe_layer_config_init(&config, sizeof config), "config");
  config.width = WIDTH;
  config.experts = EXPERTS;
  config.router = &router;
  config.optimizer = &optimizer;

  dynamoe_layer *layer;
  check(dynamoe_layer_create(&config, 0, &layer), "create");

  double first = 0, loss = 0;
  for (int step = 0; step < STEPS; step++) {
    check(dynamoe_layer_forward(layer, x, count, ROWS, 1, y, count), "forward");
    loss = loss_and_gradient(y, target, dy);
    if (step == 0)
      first = loss;
    /* dynamoe_layer_backward_step is these three in one, but leaves no gradients to be read below. */
    check(dynamoe_layer_zero_gradients(layer), "zero_gradients");
    check(dynamoe_layer_backward(layer, dy, count, dx, count), "backward");
    check(dynamoe_layer_step(layer, NAN), "step"); /* NAN: the configured learning rate */
    if (step % 50 == 0)
      printf("step %3d   loss %.5f   dLoss/dx[0] %+.2e\n", step, loss, (double)dx[0]);
  }
  printf("loss %.5f -> %.5f\n\n", first, loss);

  /* The parameters and their gradients are plain arrays, readable at any time. */
  dynamoe_info info = {.struct_size = sizeof info};
  check(dynamoe_layer_info(layer, &info), "info");
  for (size_t index = 0; index < (size_t)info.tensor_count; index++) {
    dynamoe_tensor tensor = {.struct_size = sizeof tensor};
    check(dynamoe_layer_parameter(layer, index, &tensor), "parameter");
    double squares = 0;
    for (size_t i = 0; i < tensor.count; i++)
      squares += (double)tensor.gradient[i] * tensor.gradient[i];
    printf("%-20s %6zu values   norm of the gradient %.2e\n", tensor.name, tensor.count, sqrt(squares));
  }

  /* Which experts the first rows use, and with what weight. */
  static uint8_t active[ROWS * EXPERTS];
  static float weights[ROWS * EXPERTS];
  check(dynamoe_layer_forward(layer, x, count, ROWS, 0, y, count), "forward");
  check(dynamoe_layer_last_routing(layer, active, ROWS * EXPERTS, weights, ROWS * EXPERTS), "last_routing");
  printf("\nrow   x[0]   weights of the experts in use\n");
  for (size_t row = 0; row < 8; row++) {
    printf("%3zu  %+.2f  ", row, (double)x[row * WIDTH]);
    for (size_t expert = 0; expert < EXPERTS; expert++) {
      if (active[row * EXPERTS + expert])
        printf("  %.2f", (double)weights[row * EXPERTS + expert]);
      else
        printf("     .");
    }
    printf("\n");
  }
  check(dynamoe_layer_free(layer), "free");
  return loss < first / 2 ? 0 : 1;
}
