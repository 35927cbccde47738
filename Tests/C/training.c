/* Training from end to end: it learns, both ways to configure agree, and a saved model goes on as if never stopped. */
#include "support.h"

enum { ROWS = 400, INPUTS = 6, CLASSES = 4, BATCH = 50 };

static float x[ROWS * INPUTS];
static int32_t classes[ROWS];

/* The network of `struct_model`, in JSON. */
static const char *JSON =
    "{\"task\": \"classification\", \"inputs\": 6, \"outputs\": 4, \"width\": 16, \"hidden\": [24, 16, 32], "
    "\"experts\": {\"schedule\": \"descending\", \"layers\": 3, \"minimum\": 2, \"maximum\": 6}, \"shared_experts\": 1, "
    "\"activation\": \"swiglu\", \"norm\": \"rms\", \"router\": [{\"kind\": \"threshold\", \"target_active\": [2, 1.5, 1], "
    "\"noise\": 0.05, \"momentum\": 0.8}, {\"kind\": \"top_k\", \"k\": 2, \"balance_rate\": 0.001}, "
    "{\"kind\": \"percentile\", \"percentile\": 0.4, \"temperature\": 0.5, \"gate\": \"normalized\", \"max_active\": 2}], "
    "\"losses\": {\"balance\": 0.01, \"z\": 0.001}, "
    "\"optimizer\": {\"lr\": 0.01, \"clip\": 1, \"warmup\": 5, \"total\": 200, \"floor\": 0.1, \"weight_decay\": 0.02}}";

static dynamoe_model *struct_model(uint64_t seed)
{
  static const double target_active[3] = {2, 1.5, 1};
  static const int64_t hidden[3] = {24, 16, 32};
  dynamoe_router_config routers[3];
  for (int i = 0; i < 3; i++)
    REQUIRE_OK(dynamoe_router_config_init(&routers[i], sizeof routers[i]));
  routers[0].kind = DYNAMOE_ROUTER_THRESHOLD;
  routers[0].target_active_layers = target_active;
  routers[0].target_active_layer_count = 3;
  routers[0].noise = 0.05;
  routers[0].momentum = 0.8;
  routers[1].kind = DYNAMOE_ROUTER_TOP_K;
  routers[1].k = 2;
  routers[1].balance_rate = 0.001;
  routers[2].kind = DYNAMOE_ROUTER_PERCENTILE;
  routers[2].percentile = 0.4;
  routers[2].temperature = 0.5;
  routers[2].gate = DYNAMOE_GATE_NORMALIZED;
  routers[2].max_active = 2;
  dynamoe_losses_config losses;
  REQUIRE_OK(dynamoe_losses_config_init(&losses, sizeof losses));
  losses.balance = 0.01;
  losses.z = 0.001;
  dynamoe_optimizer_config optimizer;
  REQUIRE_OK(dynamoe_optimizer_config_init(&optimizer, sizeof optimizer));
  optimizer.lr = 0.01;
  optimizer.clip = 1;
  optimizer.warmup = 5;
  optimizer.total = 200;
  optimizer.floor = 0.1;
  optimizer.weight_decay = 0.02;
  dynamoe_model_config config;
  REQUIRE_OK(dynamoe_model_config_init(&config, sizeof config));
  config.task = DYNAMOE_TASK_CLASSIFICATION;
  config.inputs = INPUTS;
  config.outputs = CLASSES;
  config.width = 16;
  config.layers = 3;
  config.hidden = hidden;
  config.hidden_count = 3;
  config.expert_schedule.name = "descending";
  config.expert_schedule.minimum = 2;
  config.expert_schedule.maximum = 6;
  config.shared_experts = 1;
  config.activation = DYNAMOE_ACTIVATION_SWIGLU;
  config.norm = DYNAMOE_NORM_RMS;
  config.routers = routers;
  config.router_count = 3;
  config.losses = &losses;
  config.optimizer = &optimizer;
  dynamoe_model *model = NULL;
  REQUIRE_OK(dynamoe_model_create(&config, seed, &model));
  return model;
}

static double train(dynamoe_model *model, int epochs)
{
  double mean = 0;
  for (int epoch = 0; epoch < epochs; epoch++) {
    mean = 0;
    for (size_t first = 0; first < ROWS; first += BATCH) {
      dynamoe_targets targets = classes_of(classes + first, BATCH);
      dynamoe_losses losses = {.struct_size = sizeof losses};
      REQUIRE_OK(dynamoe_model_train_batch(model, x + first * INPUTS, BATCH * INPUTS, BATCH, &targets, NULL, 0, &losses));
      mean += losses.total * BATCH / ROWS;
      double sum = losses.task + losses.balance + losses.z + losses.entropy + losses.sparsity;
      EXPECT(isfinite(losses.total) && fabs(sum - losses.total) < 1e-9);
    }
  }
  return mean;
}

/* The same step from its parts as in one call. */
static void parts_equal_whole(void)
{
  dynamoe_model *whole = model_of(JSON, 3), *parts = model_of(JSON, 3);
  static float logits[BATCH * CLASSES], gradient[BATCH * INPUTS];
  dynamoe_targets targets = classes_of(classes, BATCH);
  for (int step = 0; step < 5; step++) {
    dynamoe_losses one = {.struct_size = sizeof one}, other = {.struct_size = sizeof other};
    OK(dynamoe_model_train_batch(whole, x, BATCH * INPUTS, BATCH, &targets, NULL, 0, &one));
    OK(dynamoe_model_zero_gradients(parts));
    OK(dynamoe_model_forward(parts, x, BATCH * INPUTS, BATCH, 1, logits, BATCH * CLASSES));
    OK(dynamoe_model_loss(parts, &targets, &other));
    OK(dynamoe_model_backward(parts, &targets, gradient, BATCH * INPUTS));
    OK(dynamoe_model_step(parts, NAN));
    EXPECT(one.total == other.total && one.task == other.task);
  }
  EXPECT(same_weights(whole, parts));
  OK(dynamoe_model_free(whole));
  OK(dynamoe_model_free(parts));
}

static void learns(void)
{
  dynamoe_model *model = model_of(JSON, 1);
  double first = train(model, 1), last = train(model, 15);
  dynamoe_targets targets = classes_of(classes, ROWS);
  dynamoe_evaluation evaluation = {.struct_size = sizeof evaluation};
  double mean_k[3];
  OK(dynamoe_model_evaluate(model, x, ROWS * INPUTS, ROWS, &targets, &evaluation, mean_k, 3));
  printf("  loss %.3f -> %.3f, accuracy %.3f, mean K %.2f %.2f %.2f\n", first, last, evaluation.accuracy, mean_k[0], mean_k[1],
         mean_k[2]);
  EXPECT(last < first / 2);
  EXPECT(evaluation.accuracy > 0.9 && evaluation.rows == ROWS);
  EXPECT(isnan(evaluation.r2) && isnan(evaluation.perplexity));
  EXPECT(mean_k[0] > 1 && mean_k[0] < 4 && mean_k[1] == 2);

  /* Evaluation agrees with the logits. */
  static float logits[ROWS * CLASSES];
  OK(dynamoe_model_forward(model, x, ROWS * INPUTS, ROWS, 0, logits, ROWS * CLASSES));
  size_t right = 0;
  for (size_t row = 0; row < ROWS; row++) {
    size_t best = 0;
    for (size_t class = 1; class < CLASSES; class++)
      if (logits[row * CLASSES + class] > logits[row * CLASSES + best])
        best = class;
    right += best == (size_t)classes[row];
  }
  EXPECT(fabs(evaluation.accuracy - (double)right / ROWS) < 1e-12);

  /* The latest routing agrees with the statistics. */
  static uint8_t active[ROWS * 6];
  static float weights[ROWS * 6];
  OK(dynamoe_model_routing_reset(model));
  OK(dynamoe_model_forward(model, x, ROWS * INPUTS, ROWS, 0, logits, ROWS * CLASSES));
  OK(dynamoe_model_last_routing(model, 0, active, ROWS * 6, weights, ROWS * 6));
  int64_t expert_rows[6], histogram[7], pairs[36];
  dynamoe_routing_statistics statistics = {.struct_size = sizeof statistics};
  OK(dynamoe_model_routing_statistics(model, 0, &statistics, histogram, 7, expert_rows, 6, NULL, 0, pairs, 36));
  EXPECT(statistics.rows == ROWS && statistics.experts == 6);
  int64_t total = 0;
  for (size_t expert = 0; expert < 6; expert++) {
    int64_t count = 0;
    for (size_t row = 0; row < ROWS; row++)
      count += active[row * 6 + expert];
    EXPECT(count == expert_rows[expert] && count == pairs[expert * 7]);
    total += count;
  }
  EXPECT(fabs(statistics.mean_k - (double)total / ROWS) < 1e-12);
  int64_t rows = 0;
  for (size_t k = 0; k <= 6; k++)
    rows += histogram[k];
  EXPECT(rows == ROWS);
  OK(dynamoe_model_free(model));
}

static void configurations_agree(void)
{
  dynamoe_model *from_struct = struct_model(7), *from_json = model_of(JSON, 7), *other = model_of(JSON, 8);
  EXPECT(same_weights(from_struct, from_json));
  EXPECT(!same_weights(from_json, other));
  char one[8192], two[8192];
  size_t length;
  OK(dynamoe_model_config_json(from_struct, one, sizeof one, &length));
  EXPECT(strlen(one) == length);
  OK(dynamoe_model_config_json(from_json, two, sizeof two, &length));
  EXPECT(strcmp(one, two) == 0);
  EXPECT(train(from_struct, 2) == train(from_json, 2));
  EXPECT(same_weights(from_struct, from_json));
  /* The resolved text makes the same network again. */
  dynamoe_model *again = model_of(two, 8);
  EXPECT(same_weights(other, again));
  OK(dynamoe_model_free(from_struct));
  OK(dynamoe_model_free(from_json));
  OK(dynamoe_model_free(other));
  OK(dynamoe_model_free(again));
}

static void goes_on(void)
{
  dynamoe_model *model = model_of(JSON, 5), *loaded = NULL;
  train(model, 2);
  OK(dynamoe_model_save(model, in_folder("half.safetensors")));
  REQUIRE_OK(dynamoe_model_load(in_folder("half.safetensors"), &loaded));
  EXPECT(same_weights(model, loaded));
  EXPECT(train(model, 2) == train(loaded, 2));
  EXPECT(same_weights(model, loaded));
  OK(dynamoe_model_save(model, in_folder("one.safetensors")));
  OK(dynamoe_model_save(loaded, in_folder("two.safetensors")));
  EXPECT(hash_file(0, in_folder("one.safetensors")) == hash_file(0, in_folder("two.safetensors")));
  OK(dynamoe_model_free(model));
  OK(dynamoe_model_free(loaded));
}

static void regression(void)
{
  const char *json = "{\"task\": \"regression\", \"inputs\": 6, \"outputs\": 2, \"width\": 16, \"experts\": [4, 4], "
                     "\"router\": {\"kind\": \"threshold\", \"target_active\": 2}, \"optimizer\": {\"lr\": 0.01}}";
  static float values[ROWS * 2];
  for (size_t row = 0; row < ROWS; row++) {
    values[row * 2] = x[row * INPUTS] * x[row * INPUTS + 1];
    values[row * 2 + 1] = fabsf(x[row * INPUTS + 2]);
  }
  dynamoe_model *model = model_of(json, 0);
  dynamoe_targets targets = values_of(values, ROWS * 2);
  dynamoe_losses losses = {.struct_size = sizeof losses};
  for (int step = 0; step < 150; step++)
    REQUIRE_OK(dynamoe_model_train_batch(model, x, ROWS * INPUTS, ROWS, &targets, NULL, 0, &losses));
  dynamoe_evaluation evaluation = {.struct_size = sizeof evaluation};
  OK(dynamoe_model_evaluate(model, x, ROWS * INPUTS, ROWS, &targets, &evaluation, NULL, 0));
  printf("  regression: loss %.4f, r2 %.3f\n", evaluation.loss, evaluation.r2);
  EXPECT(evaluation.r2 > 0.9 && isnan(evaluation.accuracy));
  OK(dynamoe_model_free(model));
}

/* Participation and gradient variance: NaN and refused until asked for. */
static void measures(void)
{
  dynamoe_model *model = struct_model(3);
  dynamoe_targets targets = classes_of(classes, BATCH);
  dynamoe_routing_statistics statistics = {.struct_size = sizeof statistics};
  dynamoe_info info = {.struct_size = sizeof info};
  static double values[128];
  OK(dynamoe_model_info(model, &info));
  size_t count = (size_t)info.tensor_count;
  OK(dynamoe_model_routing_statistics(model, 0, &statistics, NULL, 0, NULL, 0, NULL, 0, NULL, 0));
  EXPECT(isnan(statistics.participation));
  REFUSED(DYNAMOE_ERROR_STATE, "measure", dynamoe_model_gradient_variance(model, values, count));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "measures", dynamoe_model_measure(model, 4));
  OK(dynamoe_model_measure(model, DYNAMOE_MEASURE_PARTICIPATION | DYNAMOE_MEASURE_GRADIENT_VARIANCE));
  REFUSED(DYNAMOE_ERROR_STATE, "backward", dynamoe_model_gradient_variance(model, values, count));
  for (int batch = 0; batch < 3; batch++) {
    OK(dynamoe_model_forward(model, x + batch * BATCH * INPUTS, BATCH * INPUTS, BATCH, 1, NULL, 0));
    OK(dynamoe_model_backward(model, &targets, NULL, 0));
  }
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "count", dynamoe_model_gradient_variance(model, values, count - 1));
  OK(dynamoe_model_gradient_variance(model, values, count));
  double sum = 0;
  for (size_t i = 0; i < count; i++) {
    EXPECT(values[i] >= 0);
    sum += values[i];
  }
  EXPECT(sum > 0);
  OK(dynamoe_model_routing_statistics(model, 0, &statistics, NULL, 0, NULL, 0, NULL, 0, NULL, 0));
  EXPECT(statistics.participation >= 1 && statistics.participation <= 16);
  OK(dynamoe_model_measure(model, 0));
  OK(dynamoe_model_free(model));

  static const char layer_json[] = "{\"width\": 6, \"experts\": 4, \"router\": {\"kind\": \"top_k\", \"k\": 2}}";
  dynamoe_layer *layer = NULL;
  static float y[BATCH * INPUTS];
  REQUIRE_OK(dynamoe_layer_create_json(layer_json, sizeof layer_json - 1, 0, &layer));
  OK(dynamoe_layer_measure(layer, DYNAMOE_MEASURE_PARTICIPATION | DYNAMOE_MEASURE_GRADIENT_VARIANCE));
  OK(dynamoe_layer_forward(layer, x, BATCH * INPUTS, BATCH, 1, y, BATCH * INPUTS));
  OK(dynamoe_layer_backward(layer, y, BATCH * INPUTS, NULL, 0));
  OK(dynamoe_layer_gradient_variance(layer, values, 5));
  EXPECT(values[0] == 0 && values[4] == 0);
  OK(dynamoe_layer_routing_statistics(layer, &statistics, NULL, 0, NULL, 0, NULL, 0, NULL, 0));
  EXPECT(statistics.participation >= 1 && statistics.participation <= INPUTS);
  OK(dynamoe_layer_free(layer));
}

int main(int argc, char **argv)
{
  if (argc > 1)
    test_folder = argv[1];
  fill(x, ROWS * INPUTS);
  label(x, ROWS, INPUTS, CLASSES, classes);
  learns();
  parts_equal_whole();
  configurations_agree();
  goes_on();
  regression();
  measures();
  return finish("training");
}
