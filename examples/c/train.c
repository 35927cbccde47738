/*
 * train.c - train a classifier, look at how it routes, save it, load it, go on
 *
 *     ./train                          three interleaved spirals, made here
 *     ./train data.csv                 one row per line: features, then the class (0, 1, 2, ...); a header line is fine
 *     ./train data.csv model.safetensors
 *
 * Every call into the library is checked: a failed one has changed nothing, and dynamoe_last_error() says what to do.
 */
#include <dynamoe.h>

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 4, WIDTH = 32, BATCH = 64, EPOCHS = 40, SEED = 0 };

/* ------------------------------------------------------------------------------------------------ support */

static void *allocate(size_t count, size_t size)
{
  void *memory = calloc(count ? count : 1, size);
  if (memory == NULL) {
    fprintf(stderr, "train: no memory for %zu elements of %zu bytes\n", count, size);
    exit(1);
  }
  return memory;
}

static void check(dynamoe_status status, const char *doing)
{
  if (status == DYNAMOE_OK)
    return;
  fprintf(stderr, "train: %s: %s (%s)\n", doing, dynamoe_last_error(), dynamoe_status_name(status));
  exit(1);
}

/* A small generator of our own: the example prints the same numbers on every machine. */
static uint64_t generator_state = 1;

static double uniform(void)
{
  generator_state = generator_state * 6364136223846793005u + 1442695040888963407u;
  return (double)(generator_state >> 11) / 9007199254740992.0;
}

/* ------------------------------------------------------------------------------------------------ data */

typedef struct data {
  size_t rows, inputs, classes;
  float *x;         /* [rows, inputs] */
  int32_t *targets; /* [rows] */
} data;

/* Three arms that turn one and a half times around each other, with some noise. */
static data make_spirals(size_t rows)
{
  data d = {rows, 2, 3, allocate(rows * 2, sizeof(float)), allocate(rows, sizeof(int32_t))};
  for (size_t row = 0; row < rows; row++) {
    int32_t arm = (int32_t)(row % 3);
    double radius = 0.1 + 0.9 * uniform();
    double angle = 9.4248 * radius + 2.0944 * arm + 0.2 * (uniform() + uniform() - 1);
    d.x[row * 2] = (float)(radius * cos(angle));
    d.x[row * 2 + 1] = (float)(radius * sin(angle));
    d.targets[row] = arm;
  }
  return d;
}

/* Reads one line's numbers into values [*count]; returns 0 when something in it is not a number. */
static int parse_line(char *line, double **values, size_t *count, size_t *capacity)
{
  *count = 0;
  for (char *cursor = line; *cursor != '\0';) {
    char *end;
    double value = strtod(cursor, &end);
    if (end == cursor)
      return 0;
    if (*count == *capacity) {
      *capacity = *capacity ? *capacity * 2 : 64;
      *values = realloc(*values, *capacity * sizeof(double));
      if (*values == NULL)
        return 0;
    }
    (*values)[(*count)++] = value;
    while (isspace((unsigned char)*end) || *end == ',' || *end == ';')
      end++;
    cursor = end;
  }
  return *count > 0;
}

static data read_csv(const char *path)
{
  FILE *file = fopen(path, "r");
  if (file == NULL) {
    fprintf(stderr, "train: %s: %s\n", path, strerror(errno));
    exit(1);
  }
  data d = {0, 0, 0, NULL, NULL};
  static char line[1 << 20];
  double *values = NULL;
  size_t count = 0, capacity = 0, room = 0, number = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    number++;
    if (line[strspn(line, " \t\r\n")] == '\0')
      continue;
    int is_row = parse_line(line, &values, &count, &capacity);
    if (!is_row && number == 1)
      continue; /* a header */
    if (!is_row || count < 2 || (d.inputs != 0 && count != d.inputs + 1)) {
      fprintf(stderr, "train: %s:%zu: expected %zu numbers: features, then the class\n", path, number, d.inputs + 1);
      exit(1);
    }
    d.inputs = count - 1;
    if (d.rows == room) {
      room = room ? room * 2 : 1024;
      d.x = realloc(d.x, room * d.inputs * sizeof(float));
      d.targets = realloc(d.targets, room * sizeof(int32_t));
      if (d.x == NULL || d.targets == NULL) {
        fprintf(stderr, "train: no memory for %zu rows\n", room);
        exit(1);
      }
    }
    double class = values[count - 1];
    if (!(class >= 0 && class < 65536 && class == floor(class))) {
      fprintf(stderr, "train: %s:%zu: the class is %g, allowed: 0, 1, 2, ...\n", path, number, class);
      exit(1);
    }
    for (size_t input = 0; input < d.inputs; input++)
      d.x[d.rows * d.inputs + input] = (float)values[input];
    d.targets[d.rows++] = (int32_t)class;
    if ((size_t)class + 1 > d.classes)
      d.classes = (size_t)class + 1;
  }
  free(values);
  fclose(file);
  if (d.rows < 10) {
    fprintf(stderr, "train: %s has %zu rows, allowed: at least 10\n", path, d.rows);
    exit(1);
  }
  return d;
}

static void shuffle(data *d)
{
  for (size_t row = d->rows - 1; row > 0; row--) {
    size_t other = (size_t)(uniform() * (double)(row + 1));
    int32_t target = d->targets[row];
    d->targets[row] = d->targets[other];
    d->targets[other] = target;
    for (size_t input = 0; input < d->inputs; input++) {
      float value = d->x[row * d->inputs + input];
      d->x[row * d->inputs + input] = d->x[other * d->inputs + input];
      d->x[other * d->inputs + input] = value;
    }
  }
}

/* Mean 0 and standard deviation 1 of every feature, measured on the first `measured` rows. */
static void standardise(data *d, size_t measured)
{
  for (size_t input = 0; input < d->inputs; input++) {
    double sum = 0, squares = 0;
    for (size_t row = 0; row < measured; row++)
      sum += d->x[row * d->inputs + input];
    double mean = sum / (double)measured;
    for (size_t row = 0; row < measured; row++) {
      double difference = d->x[row * d->inputs + input] - mean;
      squares += difference * difference;
    }
    double deviation = sqrt(squares / (double)measured);
    for (size_t row = 0; row < d->rows; row++) {
      float *value = &d->x[row * d->inputs + input];
      *value = deviation > 0 ? (float)((*value - mean) / deviation) : 0;
    }
  }
}

/* ------------------------------------------------------------------------------------------------ the model */

/* Four layers with 8 experts in the first and 2 in the last; a row uses as many as its scores ask for, 2 on average. */
static dynamoe_model *create(const data *d)
{
  dynamoe_router_config router;
  check(dynamoe_router_config_init(&router, sizeof router), "router");
  router.kind = DYNAMOE_ROUTER_THRESHOLD;
  router.target_active = 2;

  dynamoe_losses_config losses;
  check(dynamoe_losses_config_init(&losses, sizeof losses), "losses");
  losses.balance = 0.01;

  dynamoe_optimizer_config optimizer;
  check(dynamoe_optimizer_config_init(&optimizer, sizeof optimizer), "optimizer");
  optimizer.lr = 0.003;
  optimizer.warmup = 20;

  dynamoe_model_config config;
  check(dynamoe_model_config_init(&config, sizeof config), "config");
  config.task = DYNAMOE_TASK_CLASSIFICATION;
  config.inputs = (int64_t)d->inputs;
  config.outputs = (int64_t)d->classes;
  config.width = WIDTH;
  config.layers = LAYERS;
  config.expert_schedule.name = "descending";
  config.expert_schedule.minimum = 2;
  config.expert_schedule.maximum = 8;
  config.routers = &router;
  config.router_count = 1;
  config.losses = &losses;
  config.optimizer = &optimizer;

  dynamoe_model *model;
  check(dynamoe_model_create(&config, SEED, &model), "create");
  return model;
}

/* The `count` rows from `first` on, as the library wants targets. */
static dynamoe_targets targets_of(const data *d, size_t first, size_t count)
{
  dynamoe_targets targets = {d->targets + first, count, NULL, 0};
  return targets;
}

static dynamoe_evaluation evaluate(dynamoe_model *model, const data *d, size_t first, size_t count, double *mean_k)
{
  dynamoe_targets targets = targets_of(d, first, count);
  dynamoe_evaluation evaluation = {.struct_size = sizeof evaluation};
  check(dynamoe_model_evaluate(model, d->x + first * d->inputs, count * d->inputs, count, &targets, &evaluation, mean_k,
                               mean_k ? LAYERS : 0),
        "evaluate");
  return evaluation;
}

static void train(dynamoe_model *model, const data *d, size_t training_rows)
{
  data part = *d;
  part.rows = training_rows;
  for (int epoch = 1; epoch <= EPOCHS; epoch++) {
    shuffle(&part);
    double sum = 0;
    for (size_t first = 0; first < training_rows; first += BATCH) {
      size_t count = training_rows - first < BATCH ? training_rows - first : BATCH;
      dynamoe_targets targets = targets_of(d, first, count);
      dynamoe_losses losses = {.struct_size = sizeof losses};
      check(dynamoe_model_train_batch(model, d->x + first * d->inputs, count * d->inputs, count, &targets, NULL, 0, &losses),
            "train_batch");
      sum += losses.task * (double)count;
    }
    if (epoch % 5 == 0)
      printf("epoch %3d   training loss %.4f\n", epoch, sum / (double)training_rows);
  }
}

/* One line per layer: how many experts it has, how many a row used, and how rows spread over K and over the experts. */
static void print_routing(dynamoe_model *model)
{
  dynamoe_info info = {.struct_size = sizeof info};
  check(dynamoe_model_info(model, &info), "info");
  printf("\nlayer  experts  mean K  imbalance  rows with K = 0, 1, ... (%%)\n");
  for (size_t layer = 0; layer < (size_t)info.layers; layer++) {
    int64_t histogram[9];
    dynamoe_routing_statistics statistics = {.struct_size = sizeof statistics};
    check(dynamoe_model_routing_statistics(model, layer, &statistics, histogram, 9, NULL, 0, NULL, 0, NULL, 0), "statistics");
    printf("%5zu  %7d  %6.2f  %9.2f  ", layer, (int)statistics.experts, statistics.mean_k, statistics.load_imbalance);
    for (int32_t k = 0; k <= statistics.experts; k++)
      printf("%4.0f", statistics.rows ? 100.0 * (double)histogram[k] / (double)statistics.rows : 0.0);
    printf("\n");
  }
  printf("%lld parameters, %.0f of them in use for a row\n\n", (long long)info.parameter_count, info.active_parameter_count);
}

int main(int argc, char **argv)
{
  if (dynamoe_abi_version() != DYNAMOE_ABI_VERSION) {
    fprintf(stderr, "train: built for ABI %d, the library has %u\n", DYNAMOE_ABI_VERSION, (unsigned)dynamoe_abi_version());
    return 1;
  }
  const char *path = argc > 2 ? argv[2] : "spirals.safetensors";
  data d = argc > 1 ? read_csv(argv[1]) : make_spirals(3000);
  shuffle(&d);
  size_t training_rows = d.rows - d.rows / 5, test_rows = d.rows - training_rows;
  standardise(&d, training_rows);
  printf("dynamoe %s: %zu rows to train on, %zu to test, %zu features, %zu classes\n", dynamoe_version(), training_rows,
         test_rows, d.inputs, d.classes);

  dynamoe_model *model = create(&d);
  train(model, &d, training_rows);

  /* Statistics count every forward since the last reset: from here on, those of the test rows alone. */
  double mean_k[LAYERS];
  check(dynamoe_model_routing_reset(model), "reset");
  dynamoe_evaluation trained = evaluate(model, &d, training_rows, test_rows, mean_k);
  print_routing(model);
  printf("test accuracy %.1f %%, loss %.4f\n", 100 * trained.accuracy, trained.loss);

  check(dynamoe_model_save(model, path), "save");
  check(dynamoe_model_free(model), "free");
  check(dynamoe_model_load(path, &model), "load");
  dynamoe_evaluation loaded = evaluate(model, &d, training_rows, test_rows, NULL);
  printf("saved to %s, loaded again: accuracy %.1f %%\n", path, 100 * loaded.accuracy);
  check(dynamoe_model_free(model), "free");
  free(d.x);
  free(d.targets);
  if (loaded.accuracy != trained.accuracy || loaded.loss != trained.loss) {
    fprintf(stderr, "train: the loaded model differs from the saved one\n");
    return 1;
  }
  return 0;
}
