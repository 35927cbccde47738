/* Configurations that must be refused, field by field, and those of older and newer programs, which must not. */
#include "support.h"

static dynamoe_router_config routers[3];
static dynamoe_losses_config losses;
static dynamoe_optimizer_config optimizer;
static dynamoe_model_config config;
static dynamoe_layer_config layer_config;
static const int64_t experts[3] = {4, 3, 2};

/* A good configuration, from which each case departs in one thing. */
static void reset(void)
{
  for (int i = 0; i < 3; i++) {
    REQUIRE_OK(dynamoe_router_config_init(&routers[i], sizeof routers[i]));
    routers[i].kind = DYNAMOE_ROUTER_THRESHOLD;
    routers[i].target_active = 2;
  }
  REQUIRE_OK(dynamoe_losses_config_init(&losses, sizeof losses));
  REQUIRE_OK(dynamoe_optimizer_config_init(&optimizer, sizeof optimizer));
  REQUIRE_OK(dynamoe_model_config_init(&config, sizeof config));
  config.task = DYNAMOE_TASK_CLASSIFICATION;
  config.inputs = 3;
  config.outputs = 4;
  config.width = 8;
  config.experts = experts;
  config.layers = 3;
  config.routers = routers;
  config.router_count = 3;
  config.losses = &losses;
  config.optimizer = &optimizer;
  REQUIRE_OK(dynamoe_layer_config_init(&layer_config, sizeof layer_config));
  layer_config.width = 4;
  layer_config.experts = 3;
  layer_config.router = routers;
  layer_config.losses = &losses;
  layer_config.optimizer = &optimizer;
}

static dynamoe_status create(dynamoe_status wanted)
{
  dynamoe_model *model = (dynamoe_model *)(uintptr_t)64;
  dynamoe_status status = dynamoe_model_create(&config, 0, &model);
  EXPECT((status == DYNAMOE_OK) == (model != NULL));
  if (status == DYNAMOE_OK)
    EXPECT(dynamoe_model_free(model) == DYNAMOE_OK);
  EXPECT(status == wanted || status != DYNAMOE_OK);
  return status;
}

static dynamoe_status create_layer(void)
{
  dynamoe_layer *layer = (dynamoe_layer *)(uintptr_t)64;
  dynamoe_status status = dynamoe_layer_create(&layer_config, 0, &layer);
  EXPECT((status == DYNAMOE_OK) == (layer != NULL));
  if (status == DYNAMOE_OK)
    EXPECT(dynamoe_layer_free(layer) == DYNAMOE_OK);
  return status;
}

/* One departure from the good configuration, which is refused in a message with that word. */
#define BAD(word, change)                                                          \
  do {                                                                             \
    reset();                                                                       \
    change;                                                                        \
    record_refused(create(DYNAMOE_ERROR_ARGUMENT), DYNAMOE_ERROR_ARGUMENT, word, __FILE__, __LINE__, #change); \
  } while (0)

#define BAD_LAYER(word, change)                                                    \
  do {                                                                             \
    reset();                                                                       \
    change;                                                                        \
    record_refused(create_layer(), DYNAMOE_ERROR_ARGUMENT, word, __FILE__, __LINE__, #change); \
  } while (0)

#define GOOD(change)                                                               \
  do {                                                                             \
    reset();                                                                       \
    change;                                                                        \
    record_ok(create(DYNAMOE_OK), __FILE__, __LINE__, #change);                    \
  } while (0)

/* Too large for any machine: refused as an argument or as memory, never an abort. */
#define TOO_LARGE(change)                                                          \
  do {                                                                             \
    reset();                                                                       \
    change;                                                                        \
    dynamoe_status status = create(DYNAMOE_ERROR_MEMORY);                          \
    record(status == DYNAMOE_ERROR_MEMORY || status == DYNAMOE_ERROR_ARGUMENT, __FILE__, __LINE__, #change); \
    EXPECT(dynamoe_last_error()[0] != '\0');                                       \
  } while (0)

/* Beyond what is sensible: an argument that is refused or one that is clamped, but never a trap. */
#define EITHER(change)                                                             \
  do {                                                                             \
    reset();                                                                       \
    change;                                                                        \
    dynamoe_status status = create(DYNAMOE_OK);                                    \
    record(status == DYNAMOE_OK || status == DYNAMOE_ERROR_ARGUMENT, __FILE__, __LINE__, #change); \
  } while (0)

static void sizes_of_structs(void)
{
  BAD("config.struct_size", config.struct_size = 0);
  BAD("config.struct_size", config.struct_size = sizeof config - 1);
  BAD("config.struct_size", config.struct_size = UINT32_MAX);
  BAD("config.routers[0].struct_size", routers[0].struct_size = 0);
  BAD("config.routers[1].struct_size", routers[1].struct_size = 0);
  BAD("config.routers[2].struct_size", routers[2].struct_size = sizeof routers[2] + 8);
  BAD("config.losses.struct_size", losses.struct_size = 1);
  BAD("config.optimizer.struct_size", optimizer.struct_size = 100000);
  BAD("config.reserved", config.reserved = 1);
  BAD("config.routers[0].reserved", routers[0].reserved = 7);

  REFUSED(DYNAMOE_ERROR_ARGUMENT, "size", dynamoe_model_config_init(&config, 0));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "size", dynamoe_model_config_init(&config, sizeof config - 4));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "size", dynamoe_router_config_init(routers, SIZE_MAX));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "config", dynamoe_layer_config_init(NULL, sizeof layer_config));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "config", dynamoe_losses_config_init(NULL, sizeof losses));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "config", dynamoe_optimizer_config_init(NULL, 0));

  /* A program of a later version: larger structs, of which the known part is read and written, with their own stride. */
  struct later {
    dynamoe_router_config router;
    double unknown[2];
  } later[3];
  memset(later, 0x77, sizeof later);
  for (int i = 0; i < 3; i++) {
    OK(dynamoe_router_config_init(&later[i].router, sizeof later[i]));
    unsigned char untouched[sizeof later[i].unknown];
    memset(untouched, 0x77, sizeof untouched);
    EXPECT(later[i].router.struct_size == sizeof later[i] && memcmp(later[i].unknown, untouched, sizeof untouched) == 0);
    later[i].router.kind = DYNAMOE_ROUTER_TOP_K;
    later[i].router.k = 1;
  }
  GOOD(config.routers = &later[0].router);
}

static void structure(void)
{
  GOOD((void)0);
  GOOD(config.router_count = 1);
  GOOD(config.losses = NULL; config.optimizer = NULL);
  BAD("config.routers", config.routers = NULL);
  BAD("router_count", config.router_count = 0);
  BAD("router_count", config.router_count = 2);
  BAD("router_count", config.router_count = SIZE_MAX);
  BAD("config.layers", config.layers = 0);
  BAD("config.layers", config.layers = SIZE_MAX);
  BAD("config.layers", config.layers = (size_t)1 << 40);
  BAD("config.experts", config.experts = NULL);
  BAD("both", config.expert_schedule.name = "uniform");
  BAD("expert_schedule.name", config.experts = NULL; config.expert_schedule.name = "unifrom");
  BAD("maximum", config.experts = NULL; config.expert_schedule.name = "uniform");
  BAD("minimum", config.experts = NULL; config.expert_schedule.name = "uniform"; config.expert_schedule.minimum = 5;
      config.expert_schedule.maximum = 4);
  BAD("cycles", config.experts = NULL; config.expert_schedule.name = "wave"; config.expert_schedule.maximum = 4;
      config.expert_schedule.cycles = NAN);
  BAD("total", config.experts = NULL; config.expert_schedule.name = "wave"; config.expert_schedule.maximum = 4;
      config.expert_schedule.total = -1);
  BAD("total", config.experts = NULL; config.expert_schedule.name = "wave"; config.expert_schedule.maximum = 4;
      config.expert_schedule.total = 2);
  static const int64_t hidden[3] = {8, 0, 8}, negative[3] = {4, -1, 2};
  BAD("hidden", config.hidden = hidden; config.hidden_count = 3);
  BAD("hidden_count", config.hidden = hidden; config.hidden_count = 2);
  BAD("hidden_count", config.hidden = hidden; config.hidden_count = SIZE_MAX);
  BAD("config.hidden is NULL", config.hidden_count = 1);
  BAD("both", config.hidden = hidden; config.hidden_count = 1; config.hidden_schedule.name = "uniform";
      config.hidden_schedule.maximum = 8);
  BAD("hidden_schedule.name", config.hidden_schedule.maximum = 8);
  GOOD(config.hidden = hidden; config.hidden_count = 1);
  GOOD(config.hidden_schedule.name = "ascending"; config.hidden_schedule.minimum = 4; config.hidden_schedule.maximum = 8);
  BAD("experts", config.experts = negative);
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "config", dynamoe_model_create(NULL, 0, &(dynamoe_model *){NULL}));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "out", dynamoe_model_create(&config, 0, NULL));
}

static void settings(void)
{
  BAD("config.task", config.task = -1);
  BAD("config.task", config.task = 3);
  BAD("config.activation", config.activation = 6);
  BAD("config.norm", config.norm = INT32_MIN);
  BAD("config.bias", config.bias = 2);
  BAD("config.residual", config.residual = -1);
  BAD("config.tied_embedding", config.tied_embedding = 3);
  BAD("tied_embedding", config.tied_embedding = 1);
  BAD("inputs", config.inputs = 0);
  BAD("inputs", config.inputs = -5);
  BAD("vocabulary", config.vocabulary = 5);
  BAD("outputs", config.outputs = 0);
  BAD("outputs", config.outputs = -1);
  BAD("width", config.width = 0);
  BAD("width", config.width = INT64_MIN);
  BAD("shared_experts", config.shared_experts = -1);
  BAD("kind", routers[1].kind = -1);
  BAD("kind", routers[1].kind = 8);
  BAD("gate", routers[0].gate = 4);
  BAD("temperature", routers[0].temperature = 0);
  BAD("temperature", routers[0].temperature = INFINITY);
  BAD("noise", routers[0].noise = -0.5);
  BAD("min_active", routers[0].min_active = -2);
  BAD("max_active", routers[0].max_active = 0);
  BAD("max_active", routers[0].min_active = 3; routers[0].max_active = 2);
  BAD("balance_rate", routers[0].balance_rate = -1);
  BAD("percentile", routers[0].percentile = 0.5);
  BAD("target_active", routers[0].target_active = NAN);
  BAD("target_active", routers[0].target_active = 0);
  BAD("momentum", routers[0].momentum = 1);
  BAD("k", routers[0].k = 2);
  BAD("k", routers[0].kind = DYNAMOE_ROUTER_TOP_K; routers[0].target_active = NAN);
  BAD("k", routers[0].kind = DYNAMOE_ROUTER_TOP_K; routers[0].target_active = NAN; routers[0].k = INT64_MIN);
  BAD("p", routers[0].p = 0.4);
  BAD("scale", routers[0].scale = 1);
  static const double targets[3] = {2, NAN, 1}, good_targets[3] = {2, 1, 1};
  BAD("target_active", routers[0].target_active = NAN; routers[0].target_active_layers = targets;
      routers[0].target_active_layer_count = 3);
  BAD("both", routers[0].target_active_layers = good_targets; routers[0].target_active_layer_count = 3);
  BAD("target_active_layer_count", routers[0].target_active = NAN; routers[0].target_active_layers = good_targets;
      routers[0].target_active_layer_count = 2);
  BAD("target_active_layers is NULL", routers[0].target_active_layer_count = 3);
  BAD("balance", losses.balance = NAN);
  BAD("z", losses.z = INFINITY);
  BAD("sparsity", losses.sparsity = -1);
  BAD("optimizer.kind", optimizer.kind = 2);
  BAD("lr", optimizer.lr = NAN);
  BAD("lr", optimizer.lr = -1);
  BAD("beta", optimizer.beta1 = 1);
  BAD("beta", optimizer.beta2 = -0.1);
  BAD("eps", optimizer.eps = 0);
  BAD("momentum", optimizer.momentum = 0.9);
  BAD("nesterov", optimizer.nesterov = 1);
  BAD("nesterov", optimizer.nesterov = 2);
  BAD("weight_decay", optimizer.weight_decay = -1);
  BAD("decay_all", optimizer.decay_all = 9);
  BAD("clip", optimizer.clip = 0);
  BAD("warmup", optimizer.warmup = -1);
  BAD("total", optimizer.warmup = 10; optimizer.total = 10);
  BAD("floor", optimizer.floor = 1.5);
  BAD("floor", optimizer.floor = NAN);
}

static void layers(void)
{
  reset();
  record_ok(create_layer(), __FILE__, __LINE__, "a good layer");
  BAD_LAYER("width", layer_config.width = 0);
  BAD_LAYER("experts", layer_config.experts = -3);
  BAD_LAYER("hidden", layer_config.hidden = -1);
  BAD_LAYER("shared_experts", layer_config.shared_experts = -1);
  BAD_LAYER("config.activation", layer_config.activation = 17);
  BAD_LAYER("config.bias", layer_config.bias = 5);
  BAD_LAYER("config.router", layer_config.router = NULL);
  BAD_LAYER("config.router.struct_size", routers[0].struct_size = 2);
  BAD_LAYER("config.router.kind", routers[0].kind = 100);
  BAD_LAYER("config.struct_size", layer_config.struct_size = 2);
  BAD_LAYER("config.reserved", layer_config.reserved = 2);
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "config", dynamoe_layer_create(NULL, 0, &(dynamoe_layer *){NULL}));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "out", dynamoe_layer_create(&layer_config, 0, NULL));
}

static void oversized(void)
{
  /* What is above the number of experts counts as that number. */
  GOOD(routers[0].min_active = 1000000);
  GOOD(routers[0].max_active = 1000000);
  GOOD(routers[0].target_active = 1e6);
  GOOD(optimizer.warmup = 1000000; optimizer.total = 1000000000);
  const int64_t huge[] = {INT64_MAX, INT64_MAX / 4, (int64_t)1 << 62, (int64_t)1 << 48, (int64_t)1 << 40};
  for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
    int64_t many[3] = {huge[i], huge[i], huge[i]};
    TOO_LARGE(config.width = huge[i]);
    TOO_LARGE(config.inputs = huge[i]);
    TOO_LARGE(config.outputs = huge[i]);
    TOO_LARGE(config.experts = many);
    TOO_LARGE(config.hidden = many; config.hidden_count = 1);
    TOO_LARGE(config.shared_experts = huge[i]);
    TOO_LARGE(config.experts = NULL; config.expert_schedule.name = "uniform"; config.expert_schedule.maximum = huge[i]);
    TOO_LARGE(config.experts = NULL; config.expert_schedule.name = "pyramid"; config.expert_schedule.maximum = 8;
              config.expert_schedule.total = huge[i]);
    EITHER(routers[0].min_active = huge[i]);
    EITHER(routers[0].max_active = huge[i]);
    EITHER(routers[0].target_active = (double)huge[i]);
    EITHER(optimizer.warmup = huge[i] - 1; optimizer.total = huge[i]);
    dynamoe_layer *layer = NULL;
    reset();
    layer_config.width = huge[i];
    EXPECT(dynamoe_layer_create(&layer_config, 0, &layer) != DYNAMOE_OK && layer == NULL);
    int64_t counts[4] = {0};
    dynamoe_status status = dynamoe_schedule_counts("descending", 4, 1, huge[i], 2, 0, counts, 4);
    EXPECT(status == DYNAMOE_ERROR_ARGUMENT || (status == DYNAMOE_OK && counts[0] == huge[i] && counts[3] == 1));
    status = dynamoe_schedule_counts("wave", 4, huge[i], huge[i], 1e300, huge[i], counts, 4);
    EXPECT(status == DYNAMOE_ERROR_ARGUMENT || (status == DYNAMOE_OK && counts[0] > 0));
  }
}

static void schedules(void)
{
  int64_t counts[4] = {7, 7, 7, 7};
#define COUNTS(name, layers, minimum, maximum, cycles, total, array, capacity) \
  dynamoe_schedule_counts(name, layers, minimum, maximum, cycles, total, array, capacity)
#define BAD_COUNTS(word, ...) REFUSED(DYNAMOE_ERROR_ARGUMENT, word, COUNTS(__VA_ARGS__))
  BAD_COUNTS("name", NULL, 4, 1, 8, 2, 0, counts, 4);
  BAD_COUNTS("descending", "desending", 4, 1, 8, 2, 0, counts, 4);
  BAD_COUNTS("UTF-8", "\xc3\x28", 4, 1, 8, 2, 0, counts, 4);
  BAD_COUNTS("layers", "wave", 0, 1, 8, 2, 0, counts, 4);
  BAD_COUNTS("layers", "wave", -1, 1, 8, 2, 0, counts, 4);
  BAD_COUNTS("layers", "wave", INT64_MAX, 1, 8, 2, 0, counts, SIZE_MAX);
  BAD_COUNTS("minimum", "wave", 4, 0, 8, 2, 0, counts, 4);
  BAD_COUNTS("minimum", "wave", 4, 9, 8, 2, 0, counts, 4);
  BAD_COUNTS("maximum", "wave", 4, 1, -8, 2, 0, counts, 4);
  BAD_COUNTS("cycles", "wave", 4, 1, 8, 0, 0, counts, 4);
  BAD_COUNTS("cycles", "wave", 4, 1, 8, NAN, 0, counts, 4);
  BAD_COUNTS("cycles", "wave", 4, 1, 8, INFINITY, 0, counts, 4);
  BAD_COUNTS("total", "wave", 4, 1, 8, 2, 3, counts, 4);
  BAD_COUNTS("total", "wave", 4, 1, 8, 2, -1, counts, 4);
  BAD_COUNTS("counts", "wave", 4, 1, 8, 2, 0, NULL, 4);
  BAD_COUNTS("capacity", "wave", 4, 1, 8, 2, 0, counts, 3);
  for (int i = 0; i < 4; i++)
    EXPECT(counts[i] == 7);
}

static void json(void)
{
  static const struct {
    const char *word, *text;
  } cases[] = {
      {"json", ""},
      {"task", "{}"},
      {"json", "{\"task\": "},
      {"widht", "{\"task\": \"classification\", \"widht\": 8}"},
      {"width", "{\"task\": \"classification\", \"inputs\": 3, \"outputs\": 2, \"width\": 1e999, \"experts\": [2], "
                "\"router\": {\"kind\": \"dense\"}}"},
      {"width", "{\"task\": \"classification\", \"inputs\": 3, \"outputs\": 2, \"width\": 99999999999999999999, \"experts\": [2], "
                "\"router\": {\"kind\": \"dense\"}}"},
      {"width", "{\"task\": \"classification\", \"inputs\": 3, \"outputs\": 2, \"width\": 2.5, \"experts\": [2], "
                "\"router\": {\"kind\": \"dense\"}}"},
      {"router", "{\"task\": \"classification\", \"inputs\": 3, \"outputs\": 2, \"width\": 2, \"experts\": [2]}"},
  };
  dynamoe_model *model = NULL;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    dynamoe_status status = dynamoe_model_create_json(cases[i].text, strlen(cases[i].text), 0, &model);
    EXPECT(status == DYNAMOE_ERROR_ARGUMENT && model == NULL);
    int named = i == 0 || i == 2 || strstr(dynamoe_last_error(), cases[i].word) != NULL;
    EXPECT(named && dynamoe_last_error()[0] != '\0');
    if (!named)
      printf("  %s\n", dynamoe_last_error());
  }
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "json", dynamoe_model_create_json(NULL, 5, 0, &model));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "json", dynamoe_model_create_json(NULL, 0, 0, &model));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "length", dynamoe_model_create_json("{}", SIZE_MAX, 0, &model));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "UTF-8", dynamoe_model_create_json("{\"\xff\": 1}", 8, 0, &model));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "out", dynamoe_model_create_json("{}", 2, 0, NULL));
  /* A text as deep as it is long must not end in the stack. */
  size_t depth = 1 << 20;
  char *deep = malloc(depth);
  memset(deep, '[', depth);
  EXPECT(dynamoe_model_create_json(deep, depth, 0, &model) == DYNAMOE_ERROR_ARGUMENT);
  for (size_t i = 0; i < depth; i++)
    deep[i] = "{\"a\":"[i % 5];
  EXPECT(dynamoe_model_create_json(deep, depth, 0, &model) == DYNAMOE_ERROR_ARGUMENT);
  free(deep);
}

int main(void)
{
  sizes_of_structs();
  structure();
  settings();
  layers();
  oversized();
  schedules();
  json();
  return finish("configuration");
}
