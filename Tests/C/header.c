/* The header by itself, as C11 and as C++17: sizes, offsets, defaults, the functions that need no network. */
#include <dynamoe.h>

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static long passed_checks, failed_checks;

static void record(int ok, int line, const char *what)
{
  if (ok) {
    passed_checks++;
  } else {
    failed_checks++;
    printf("header.c:%d: failed: %s\n", line, what);
  }
}

#define EXPECT(condition) record((condition) != 0, __LINE__, #condition)

/* What programs that are compiled already rely on. New fields go to the end; these never move. */
static void layout(void)
{
  EXPECT(sizeof(dynamoe_status) == 4);
  EXPECT(sizeof(dynamoe_schedule_config) == 40);
  EXPECT(sizeof(dynamoe_router_config) == 120);
  EXPECT(offsetof(dynamoe_router_config, temperature) == 16);
  EXPECT(offsetof(dynamoe_router_config, target_active) == 64);
  EXPECT(offsetof(dynamoe_router_config, target_active_layers) == 72);
  EXPECT(offsetof(dynamoe_router_config, scale) == 112);
  EXPECT(sizeof(dynamoe_losses_config) == 40);
  EXPECT(offsetof(dynamoe_losses_config, sparsity) == 32);
  EXPECT(sizeof(dynamoe_optimizer_config) == 96);
  EXPECT(offsetof(dynamoe_optimizer_config, nesterov) == 48);
  EXPECT(offsetof(dynamoe_optimizer_config, floor) == 88);
  EXPECT(sizeof(dynamoe_model_config) == 216);
  EXPECT(offsetof(dynamoe_model_config, experts) == 40);
  EXPECT(offsetof(dynamoe_model_config, expert_schedule) == 56);
  EXPECT(offsetof(dynamoe_model_config, hidden_schedule) == 112);
  EXPECT(offsetof(dynamoe_model_config, activation) == 160);
  EXPECT(offsetof(dynamoe_model_config, routers) == 184);
  EXPECT(offsetof(dynamoe_model_config, optimizer) == 208);
  EXPECT(sizeof(dynamoe_layer_config) == 72);
  EXPECT(offsetof(dynamoe_layer_config, optimizer) == 64);
  EXPECT(sizeof(dynamoe_tensor) == 72);
  EXPECT(offsetof(dynamoe_tensor, gradient) == 64);
  EXPECT(sizeof(dynamoe_losses) == 64);
  EXPECT(sizeof(dynamoe_info) == 112);
  EXPECT(offsetof(dynamoe_info, precision) == 104);
  EXPECT(sizeof(dynamoe_evaluation) == 48);
  EXPECT(sizeof(dynamoe_routing_statistics) == 80);
  EXPECT(sizeof(dynamoe_targets) == 32);
}

static void defaults(void)
{
  dynamoe_router_config router;
  memset(&router, 0x5A, sizeof router);
  EXPECT(dynamoe_router_config_init(&router, sizeof router) == DYNAMOE_OK);
  EXPECT(router.struct_size == sizeof router && router.kind == -1 && router.gate == DYNAMOE_GATE_DEFAULT && router.reserved == 0);
  EXPECT(isnan(router.temperature) && isnan(router.noise) && isnan(router.balance_rate) && isnan(router.percentile));
  EXPECT(isnan(router.target_active) && isnan(router.momentum) && isnan(router.p) && isnan(router.scale));
  EXPECT(router.min_active == -1 && router.max_active == -1 && router.k == -1);
  EXPECT(router.target_active_layers == NULL && router.target_active_layer_count == 0);

  dynamoe_losses_config losses;
  memset(&losses, 0x5A, sizeof losses);
  EXPECT(dynamoe_losses_config_init(&losses, sizeof losses) == DYNAMOE_OK);
  EXPECT(losses.struct_size == sizeof losses && losses.reserved == 0);
  EXPECT(losses.balance == 0 && losses.z == 0 && losses.entropy == 0 && losses.sparsity == 1e-8);

  dynamoe_optimizer_config optimizer;
  memset(&optimizer, 0x5A, sizeof optimizer);
  EXPECT(dynamoe_optimizer_config_init(&optimizer, sizeof optimizer) == DYNAMOE_OK);
  EXPECT(optimizer.struct_size == sizeof optimizer && optimizer.kind == DYNAMOE_OPTIMIZER_ADAMW && optimizer.lr == 0.001);
  EXPECT(isnan(optimizer.beta1) && isnan(optimizer.beta2) && isnan(optimizer.eps) && isnan(optimizer.momentum));
  EXPECT(optimizer.nesterov == -1 && optimizer.decay_all == 0 && isnan(optimizer.weight_decay) && isnan(optimizer.clip));
  EXPECT(optimizer.warmup == 0 && optimizer.total == -1 && optimizer.floor == 0);

  dynamoe_model_config model;
  memset(&model, 0x5A, sizeof model);
  EXPECT(dynamoe_model_config_init(&model, sizeof model) == DYNAMOE_OK);
  EXPECT(model.struct_size == sizeof model && model.task == -1 && model.reserved == 0);
  EXPECT(model.inputs == 0 && model.vocabulary == 0 && model.outputs == 0 && model.width == 0);
  EXPECT(model.experts == NULL && model.layers == 0 && model.hidden == NULL && model.hidden_count == 0);
  EXPECT(model.expert_schedule.name == NULL && model.expert_schedule.minimum == 1 && model.expert_schedule.maximum == 0);
  EXPECT(model.hidden_schedule.name == NULL && model.hidden_schedule.cycles == 2 && model.hidden_schedule.total == 0);
  EXPECT(model.shared_experts == 0 && model.activation == DYNAMOE_ACTIVATION_GELU && model.norm == DYNAMOE_NORM_LAYER);
  EXPECT(model.bias == 1 && model.residual == 1 && model.tied_embedding == 0);
  EXPECT(model.routers == NULL && model.router_count == 0 && model.losses == NULL && model.optimizer == NULL);

  dynamoe_layer_config layer;
  memset(&layer, 0x5A, sizeof layer);
  EXPECT(dynamoe_layer_config_init(&layer, sizeof layer) == DYNAMOE_OK);
  EXPECT(layer.struct_size == sizeof layer && layer.activation == DYNAMOE_ACTIVATION_GELU && layer.reserved == 0);
  EXPECT(layer.width == 0 && layer.experts == 0 && layer.hidden == 0 && layer.shared_experts == 0 && layer.bias == 1);
  EXPECT(layer.router == NULL && layer.losses == NULL && layer.optimizer == NULL);
}

static void library(void)
{
  EXPECT(strcmp(dynamoe_version(), DYNAMOE_VERSION) == 0);
  EXPECT(dynamoe_abi_version() == DYNAMOE_ABI_VERSION);
  const char *info = dynamoe_build_info();
  EXPECT(info[0] == '{' && strstr(info, "\"kernels\": ") != NULL && strstr(info, "\"threads\": ") != NULL);
  EXPECT(strstr(info, DYNAMOE_VERSION) != NULL && info[strlen(info) - 1] == '}');
  EXPECT(strcmp(dynamoe_status_name(DYNAMOE_OK), "DYNAMOE_OK") == 0);
  EXPECT(strcmp(dynamoe_status_name(DYNAMOE_ERROR_BACKEND), "DYNAMOE_ERROR_BACKEND") == 0);
  EXPECT(strcmp(dynamoe_status_name(-1000), "unknown status") == 0);
  int32_t threads = dynamoe_threads_get();
  EXPECT(threads >= 1 && threads <= 256);
  EXPECT(dynamoe_threads_set(3) == DYNAMOE_OK && dynamoe_threads_get() == 3);
  EXPECT(dynamoe_threads_set(threads) == DYNAMOE_OK && dynamoe_threads_get() == threads);
}

static void schedules(void)
{
  static const struct {
    const char *name;
    int64_t minimum, maximum, total, counts[5];
  } cases[] = {
      {"uniform", 2, 8, 0, {8, 8, 8, 8, 8}},    {"descending", 2, 8, 0, {8, 7, 5, 4, 2}},
      {"ascending", 2, 8, 0, {2, 4, 5, 7, 8}},  {"pyramid", 2, 8, 0, {2, 5, 8, 5, 2}},
      {"valley", 2, 8, 0, {8, 5, 2, 5, 8}},     {"wave", 2, 8, 0, {8, 2, 8, 2, 8}},
      {"inverse_wave", 2, 8, 0, {2, 8, 2, 8, 2}}, {"descending", 2, 8, 20, {6, 5, 4, 3, 2}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int64_t counts[6] = {-1, -1, -1, -1, -1, -1};
    EXPECT(dynamoe_schedule_counts(cases[i].name, 5, cases[i].minimum, cases[i].maximum, 2, cases[i].total, counts, 6) ==
           DYNAMOE_OK);
    int same = memcmp(counts, cases[i].counts, sizeof cases[i].counts) == 0;
    EXPECT(same && counts[5] == -1);
    if (!same)
      printf("  %s: %d %d %d %d %d\n", cases[i].name, (int)counts[0], (int)counts[1], (int)counts[2], (int)counts[3],
             (int)counts[4]);
  }
}

int main(void)
{
  layout();
  defaults();
  library();
  schedules();
#ifdef __cplusplus
  printf("header (C++): %ld passed, %ld failed\n", passed_checks, failed_checks);
#else
  printf("header (C): %ld passed, %ld failed\n", passed_checks, failed_checks);
#endif
  return failed_checks != 0 || passed_checks == 0;
}
