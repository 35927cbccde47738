/*
 * dynamoe.h - mixture-of-experts networks whose compute follows the input
 *
 * The C interface of libdynamoe and the source of truth of its ABI. C11 and C++17.
 *
 * Letters: T rows (tokens), D width, N experts of a layer, L layers, C outputs, K active experts of a row.
 * All arrays are row-major and owned by the caller, who passes their length in elements.
 *
 * Status. Every function that can fail returns a dynamoe_status: DYNAMOE_OK or a negative code. The message of the latest
 * failure on the calling thread is dynamoe_last_error(): it names the argument, what came and what is allowed.
 * State after a failure. A failed call changes nothing: parameters, optimizer state, thresholds, random state and
 * statistics are as before. Output arrays may have been written in part. The one exception is DYNAMOE_ERROR_FAILED out of
 * a step, where a gradient became infinite behind a finite loss: the handle refuses further work until it is loaded again.
 * Structs. Those that start with struct_size grow at the end only. Configurations are filled by their _init; in a result struct the
 * caller sets struct_size to sizeof, and no more than that is written.
 * Handles. A handle is a number in the shape of a pointer and is never dereferenced: freed, foreign and mistyped handles
 * are refused with DYNAMOE_ERROR_HANDLE.
 * Threads. Distinct handles are independent. One handle serves one thread at a time: a second caller gets
 * DYNAMOE_ERROR_BUSY. The library runs its own worker threads (dynamoe_threads_set).
 */
#ifndef DYNAMOE_H
#define DYNAMOE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------ library */

#define DYNAMOE_ABI_VERSION 1

typedef int32_t dynamoe_status;

enum {
  DYNAMOE_OK = 0,
  DYNAMOE_ERROR_ARGUMENT = -1, /* an argument, a shape, a value or the configuration */
  DYNAMOE_ERROR_STATE = -2,    /* calls out of order, such as backward before a training forward */
  DYNAMOE_ERROR_HANDLE = -3,   /* NULL, freed, foreign or mistyped handle */
  DYNAMOE_ERROR_MEMORY = -4,   /* not enough memory */
  DYNAMOE_ERROR_FILE = -5,     /* the operating system refused a file */
  DYNAMOE_ERROR_FORMAT = -6,   /* a file that is truncated, damaged or not ours */
  DYNAMOE_ERROR_BUSY = -7,     /* another thread is inside this handle */
  DYNAMOE_ERROR_FAILED = -8,   /* arithmetic left the finite numbers */
  DYNAMOE_ERROR_BACKEND = -9   /* the chosen kernels are absent on this machine */
};

/* "0.1.0": the version of the library, a static string. */
const char *dynamoe_version(void);

/* The ABI of the library in use; equal to DYNAMOE_ABI_VERSION of the header it was built with. */
uint32_t dynamoe_abi_version(void);

/* Which kernels, threads and processor features are in use, as a JSON object. Valid on this thread until its next call. */
const char *dynamoe_build_info(void);

/* The message of the latest failed call of this thread, "" before any. Valid on this thread until its next failed call. */
const char *dynamoe_last_error(void);

/* Worker threads of the library, 1 to 256. Default: DYNAMOE_THREADS, else the processors available to the process.
 * Results do not depend on it. */
dynamoe_status dynamoe_threads_set(int32_t count);
int32_t dynamoe_threads_get(void);

/* ------------------------------------------------------------------------------------------------ schedule */

/*
 * Experts per layer: counts[l] = minimum + round((maximum - minimum) * s(l / (layers - 1))), s by `name`: "uniform",
 * "descending", "ascending", "pyramid", "valley", "wave", "inverse_wave". `cycles` (> 0, usually 2) is of the waves.
 * `total` 0: as the formula says; otherwise the same shape scaled so that the counts sum to `total` >= layers exactly.
 * counts [capacity], capacity >= layers.
 * Returns DYNAMOE_OK or DYNAMOE_ERROR_ARGUMENT.
 */
dynamoe_status dynamoe_schedule_counts(const char *name, int64_t layers, int64_t minimum, int64_t maximum, double cycles,
                                       int64_t total, int64_t *counts, size_t capacity);

/* ------------------------------------------------------------------------------------------------ configuration */

enum { DYNAMOE_TASK_CLASSIFICATION = 0, DYNAMOE_TASK_LANGUAGE_MODEL = 1, DYNAMOE_TASK_REGRESSION = 2 };

enum {
  DYNAMOE_ACTIVATION_RELU = 0,
  DYNAMOE_ACTIVATION_GELU = 1, /* exact, erf */
  DYNAMOE_ACTIVATION_GELU_TANH = 2,
  DYNAMOE_ACTIVATION_SILU = 3,
  DYNAMOE_ACTIVATION_SWIGLU = 4, /* gated, silu */
  DYNAMOE_ACTIVATION_GEGLU = 5   /* gated, exact gelu */
};

enum { DYNAMOE_NORM_NONE = 0, DYNAMOE_NORM_LAYER = 1, DYNAMOE_NORM_RMS = 2 };

enum {
  DYNAMOE_ROUTER_PERCENTILE = 0,
  DYNAMOE_ROUTER_THRESHOLD = 1,
  DYNAMOE_ROUTER_EXPERT_THRESHOLD = 2,
  DYNAMOE_ROUTER_TOP_K = 3,
  DYNAMOE_ROUTER_TOP_P = 4,
  DYNAMOE_ROUTER_TOP_ANY = 5,
  DYNAMOE_ROUTER_RELU = 6,
  DYNAMOE_ROUTER_DENSE = 7
};

enum {
  DYNAMOE_GATE_DEFAULT = 0, /* by kind: percentile softmax, top_k and dense normalized, the others raw */
  DYNAMOE_GATE_SOFTMAX = 1,
  DYNAMOE_GATE_NORMALIZED = 2,
  DYNAMOE_GATE_RAW = 3
};

enum { DYNAMOE_OPTIMIZER_ADAMW = 0, DYNAMOE_OPTIMIZER_SGD = 1 };

/* A schedule inside a configuration. name NULL: not used. */
typedef struct dynamoe_schedule_config {
  const char *name;
  int64_t minimum;
  int64_t maximum;
  double cycles;
  int64_t total; /* 0: none */
} dynamoe_schedule_config;

/*
 * One router. A setting that the chosen kind does not use must be left as _init left it. NaN (numbers) and -1 (integers) mean
 * "the default of the kind" where a default is not printed.
 */
typedef struct dynamoe_router_config {
  uint32_t struct_size;
  int32_t kind;
  int32_t gate;
  int32_t reserved;
  double temperature;   /* NaN: 1 */
  double noise;         /* NaN: 0; standard deviation of the training noise on the scores */
  int64_t min_active;   /* -1: 1; above N counts as N */
  int64_t max_active;   /* -1: no bound */
  double balance_rate;  /* NaN: 0; loss-free balancing */
  double percentile;    /* NaN: 0.5 */
  double target_active; /* NaN: none; mean K aimed at */
  const double *target_active_layers; /* NULL, or [L] in place of target_active */
  size_t target_active_layer_count;
  double momentum;      /* NaN: 0.9; of the stored thresholds */
  int64_t k;            /* -1: none */
  double p;             /* NaN: 0.4 */
  double scale;         /* NaN: 1 */
} dynamoe_router_config;

typedef struct dynamoe_losses_config {
  uint32_t struct_size;
  uint32_t reserved;
  double balance, z, entropy; /* coefficients, default 0 */
  double sparsity;            /* default 1e-8: first coefficient of relu layers with target_active */
} dynamoe_losses_config;

/* A setting that the chosen kind does not use must be left as _init left it (NaN, -1). */
typedef struct dynamoe_optimizer_config {
  uint32_t struct_size;
  int32_t kind;
  double lr;           /* 0.001 */
  double beta1, beta2; /* NaN: 0.9, 0.999; adamw */
  double eps;          /* NaN: 1e-8; adamw */
  double momentum;     /* NaN: 0; sgd */
  int32_t nesterov;    /* -1: false; sgd */
  int32_t decay_all;   /* 0 */
  double weight_decay; /* NaN: adamw 0.01, sgd 0 */
  double clip;         /* NaN: none; largest global gradient norm */
  int64_t warmup;      /* 0 */
  int64_t total;       /* -1: none; last step of the cosine */
  double floor;        /* 0 */
} dynamoe_optimizer_config;

/* A network. _init leaves task, inputs or vocabulary, outputs, width, experts and routers to be filled in. */
typedef struct dynamoe_model_config {
  uint32_t struct_size;
  int32_t task;
  int64_t inputs;     /* features per row, or 0 */
  int64_t vocabulary; /* rows are token ids, or 0 */
  int64_t outputs;    /* 0 with DYNAMOE_TASK_LANGUAGE_MODEL: vocabulary */
  int64_t width;
  const int64_t *experts; /* [layers], or NULL: expert_schedule over `layers` */
  size_t layers;
  dynamoe_schedule_config expert_schedule;
  const int64_t *hidden;  /* [hidden_count]: one for all layers, or one per layer; NULL: 4 * width, or hidden_schedule */
  size_t hidden_count;
  dynamoe_schedule_config hidden_schedule;
  int64_t shared_experts;
  int32_t activation;
  int32_t norm;
  int32_t bias;
  int32_t residual;
  int32_t tied_embedding;
  int32_t reserved;
  const dynamoe_router_config *routers; /* [router_count]: one for all layers, or one per layer */
  size_t router_count;
  const dynamoe_losses_config *losses;       /* NULL: defaults */
  const dynamoe_optimizer_config *optimizer; /* NULL: defaults */
} dynamoe_model_config;

/* A single layer without norm and residual. */
typedef struct dynamoe_layer_config {
  uint32_t struct_size;
  int32_t activation;
  int64_t width;
  int64_t experts;
  int64_t hidden; /* 0: 4 * width */
  int64_t shared_experts;
  int32_t bias;
  int32_t reserved;
  const dynamoe_router_config *router;
  const dynamoe_losses_config *losses;       /* NULL: defaults */
  const dynamoe_optimizer_config *optimizer; /* NULL: defaults */
} dynamoe_layer_config;

/* Fill *config with defaults. `size` is sizeof *config as the caller was compiled: older callers stay valid. */
dynamoe_status dynamoe_router_config_init(dynamoe_router_config *config, size_t size);
dynamoe_status dynamoe_losses_config_init(dynamoe_losses_config *config, size_t size);
dynamoe_status dynamoe_optimizer_config_init(dynamoe_optimizer_config *config, size_t size);
dynamoe_status dynamoe_model_config_init(dynamoe_model_config *config, size_t size);
dynamoe_status dynamoe_layer_config_init(dynamoe_layer_config *config, size_t size);

/* ------------------------------------------------------------------------------------------------ results */

/* A parameter or buffer, borrowed until the model or layer is freed. */
typedef struct dynamoe_tensor {
  uint32_t struct_size;
  uint32_t rank;
  const char *name;
  int64_t shape[4];
  size_t count;
  const float *data; /* read only: change values through _parameter_set */
  float *gradient;   /* writable; NULL for buffers */
} dynamoe_tensor;

typedef struct dynamoe_losses {
  uint32_t struct_size;
  uint32_t reserved;
  double task;                        /* unweighted task loss */
  double balance, z, entropy, sparsity; /* weighted, summed over layers */
  double total;
} dynamoe_losses;

typedef struct dynamoe_info {
  uint32_t struct_size;
  int32_t task; /* -1 for a single layer */
  int64_t inputs, vocabulary, outputs, width, layers;
  int64_t parameter_count;        /* elements of all parameters */
  double active_parameter_count;  /* of these, in use for a row at the mean K so far (before any row: the target) */
  double flops_per_row;           /* forward, 2 per multiply-add, at the same mean K */
  int64_t optimizer_steps;
  int64_t training_forwards;
  int64_t tensor_count, buffer_count;
} dynamoe_info;

typedef struct dynamoe_evaluation {
  uint32_t struct_size;
  uint32_t reserved;
  double loss;
  double accuracy;   /* classification and language_model: share of counted rows, NaN otherwise */
  double r2;         /* regression, NaN otherwise */
  double perplexity; /* language_model: exp(loss), NaN otherwise */
  int64_t rows;      /* rows with a target that counts */
} dynamoe_evaluation;

/* Routing of one layer since the last reset; every forward of the handle counts, evaluation too. */
typedef struct dynamoe_routing_statistics {
  uint32_t struct_size;
  int32_t experts; /* N */
  int64_t rows;
  double mean_k, variance_k; /* variance: 1/n */
  double entropy;            /* mean routing entropy, nats */
  double limited_share;      /* share of rows whose K min_active or max_active changed */
  double load_imbalance;     /* largest over mean rows per expert, 0 before any */
  double load_variation;     /* coefficient of variation of rows per expert */
  int64_t unused;            /* experts that no row used */
} dynamoe_routing_statistics;

/* ------------------------------------------------------------------------------------------------ model */

typedef struct dynamoe_model_s dynamoe_model;

/*
 * Create a network with weights drawn from `seed`. From a struct, or from the JSON of docs/configuration.md (`length` bytes,
 * no final NUL needed). *out is NULL after a failure.
 * Returns DYNAMOE_OK, _ARGUMENT (the message names the key), _MEMORY, _BACKEND.
 */
dynamoe_status dynamoe_model_create(const dynamoe_model_config *config, uint64_t seed, dynamoe_model **out);
dynamoe_status dynamoe_model_create_json(const char *json, size_t length, uint64_t seed, dynamoe_model **out);

/* Free a model and everything borrowed from it. NULL is fine. _HANDLE when it is not a live model, _BUSY when in use. */
dynamoe_status dynamoe_model_free(dynamoe_model *model);

dynamoe_status dynamoe_model_info(dynamoe_model *model, dynamoe_info *info);

/* The resolved configuration as JSON. *length gets the length without NUL; the text and a NUL are written when capacity > *length,
 * otherwise nothing is (call with NULL, 0 to ask). */
dynamoe_status dynamoe_model_config_json(dynamoe_model *model, char *text, size_t capacity, size_t *length);

/*
 * logits [T, C] of x [T, inputs] (or of ids [T]). x_count = T * inputs, logits_count >= T * C. logits may be NULL in training.
 * training != 0: keeps what backward needs, draws noise, moves stored thresholds; T >= 1. Evaluation: any T; a row's result has the
 * same bits whatever the batch it is in; nothing changes but the statistics, and a pending backward stays valid.
 * Returns DYNAMOE_OK, _ARGUMENT (shape, NaN or infinity, id out of range), _HANDLE, _MEMORY, _BUSY, _FAILED (logits not finite).
 */
dynamoe_status dynamoe_model_forward(dynamoe_model *model, const float *x, size_t x_count, size_t rows, int32_t training,
                                     float *logits, size_t logits_count);
dynamoe_status dynamoe_model_forward_tokens(dynamoe_model *model, const int32_t *ids, size_t rows, int32_t training,
                                            float *logits, size_t logits_count);

/* Targets of the latest training forward: `classes` [T] (-1: ignored) for classification and language_model, `values` [T, C] for
 * regression; the other is NULL. */
typedef struct dynamoe_targets {
  const int32_t *classes;
  size_t class_count;
  const float *values;
  size_t value_count;
} dynamoe_targets;

/* Task loss and weighted auxiliary losses of the latest training forward. Changes nothing. */
dynamoe_status dynamoe_model_loss(dynamoe_model *model, const dynamoe_targets *targets, dynamoe_losses *losses);

/* balance, z, entropy, sparsity of each layer of the latest training forward, unscaled: values [L, 4]. */
dynamoe_status dynamoe_model_auxiliary_losses(dynamoe_model *model, double *values, size_t count);

/*
 * Add the gradients of the total loss of the latest training forward to the gradients. _backward: from targets.
 * _backward_output: from output_gradient [T, C] = dLoss/dlogits, to which the weighted auxiliary gradients are added.
 * input_gradient [T, inputs] or NULL; it must be NULL for token input.
 * Returns DYNAMOE_OK, _ARGUMENT, _HANDLE, _STATE (no training forward since creation or the last backward), _BUSY.
 */
dynamoe_status dynamoe_model_backward(dynamoe_model *model, const dynamoe_targets *targets, float *input_gradient,
                                      size_t input_gradient_count);
dynamoe_status dynamoe_model_backward_output(dynamoe_model *model, const float *output_gradient, size_t output_gradient_count,
                                             float *input_gradient, size_t input_gradient_count);

/* One optimizer step with the gradients as they are. lr: NaN for the configured schedule, otherwise the rate of this step. */
dynamoe_status dynamoe_model_step(dynamoe_model *model, double lr);
dynamoe_status dynamoe_model_zero_gradients(dynamoe_model *model);

/*
 * zero_gradients, forward, loss, backward and step in one. x or ids as in forward. sample_weight [T] or NULL: the task loss is then
 * sum(w * loss) / sum(w); routing ignores it. losses may be NULL. Leaves the gradients unspecified.
 */
dynamoe_status dynamoe_model_train_batch(dynamoe_model *model, const float *x, size_t x_count, size_t rows,
                                         const dynamoe_targets *targets, const float *sample_weight, size_t weight_count,
                                         dynamoe_losses *losses);
dynamoe_status dynamoe_model_train_batch_tokens(dynamoe_model *model, const int32_t *ids, size_t rows,
                                                const dynamoe_targets *targets, const float *sample_weight, size_t weight_count,
                                                dynamoe_losses *losses);

/* Evaluation of any number of rows against targets. mean_k [L] or NULL. */
dynamoe_status dynamoe_model_evaluate(dynamoe_model *model, const float *x, size_t x_count, size_t rows,
                                      const dynamoe_targets *targets, dynamoe_evaluation *evaluation, double *mean_k,
                                      size_t mean_k_count);
dynamoe_status dynamoe_model_evaluate_tokens(dynamoe_model *model, const int32_t *ids, size_t rows,
                                             const dynamoe_targets *targets, dynamoe_evaluation *evaluation, double *mean_k,
                                             size_t mean_k_count);

/*
 * Set the stored thresholds, layer by layer, so that x routes with the mean K of target_active [1] or [L]. Only for layers of kind
 * threshold and expert_threshold: a model with any other kind is refused. Allowed: min_active to min(N, max_active).
 */
dynamoe_status dynamoe_model_calibrate(dynamoe_model *model, const float *x, size_t x_count, size_t rows,
                                       const double *target_active, size_t target_count);
dynamoe_status dynamoe_model_calibrate_tokens(dynamoe_model *model, const int32_t *ids, size_t rows,
                                              const double *target_active, size_t target_count);

/* Parameters (index 0 ... tensor_count - 1) and buffers (0 ... buffer_count - 1) in file order. */
dynamoe_status dynamoe_model_parameter(dynamoe_model *model, size_t index, dynamoe_tensor *tensor);
dynamoe_status dynamoe_model_buffer(dynamoe_model *model, size_t index, dynamoe_tensor *tensor);

/* Copy values in, in effect from the next call. _ARGUMENT: unknown name, wrong count, NaN or infinity. */
dynamoe_status dynamoe_model_parameter_set(dynamoe_model *model, const char *name, const float *values, size_t count);
dynamoe_status dynamoe_model_buffer_set(dynamoe_model *model, const char *name, const float *values, size_t count);

/*
 * Statistics of layer `layer`. Arrays may be NULL: k_histogram [N + 1], expert_rows [N], mean_weight [N] (mean gate weight over the
 * expert's rows), coactivation [N, N] (rows that activate both; the diagonal repeats expert_rows). capacity counts elements.
 */
dynamoe_status dynamoe_model_routing_statistics(dynamoe_model *model, size_t layer, dynamoe_routing_statistics *statistics,
                                                int64_t *k_histogram, size_t k_histogram_count, int64_t *expert_rows,
                                                size_t expert_rows_count, double *mean_weight, size_t mean_weight_count,
                                                int64_t *coactivation, size_t coactivation_count);
dynamoe_status dynamoe_model_routing_reset(dynamoe_model *model);

/* Rows of the latest forward, and its routing in layer `layer`: active [T, N] of 0 and 1, weights [T, N]; either may be NULL. */
dynamoe_status dynamoe_model_last_rows(dynamoe_model *model, size_t *rows);
dynamoe_status dynamoe_model_last_routing(dynamoe_model *model, size_t layer, uint8_t *active, size_t active_count,
                                          float *weights, size_t weights_count);

/*
 * One safetensors file: parameters, buffers, configuration, optimizer and random state. Written beside `path` and renamed, so an
 * interrupted save leaves the old file whole. _load refuses truncated, damaged and foreign files with the reason.
 * Returns DYNAMOE_OK, _ARGUMENT, _HANDLE, _FILE, _FORMAT, _MEMORY, _BUSY.
 */
dynamoe_status dynamoe_model_save(dynamoe_model *model, const char *path);
dynamoe_status dynamoe_model_load(const char *path, dynamoe_model **out);

/* ------------------------------------------------------------------------------------------------ layer */

/* A single layer to drive by hand: y = MoE(x), inputs and outputs [T, width]. The functions mean what they mean for a model. */
typedef struct dynamoe_layer_s dynamoe_layer;

dynamoe_status dynamoe_layer_create(const dynamoe_layer_config *config, uint64_t seed, dynamoe_layer **out);
dynamoe_status dynamoe_layer_create_json(const char *json, size_t length, uint64_t seed, dynamoe_layer **out);
dynamoe_status dynamoe_layer_free(dynamoe_layer *layer);
dynamoe_status dynamoe_layer_info(dynamoe_layer *layer, dynamoe_info *info);
dynamoe_status dynamoe_layer_config_json(dynamoe_layer *layer, char *text, size_t capacity, size_t *length);
dynamoe_status dynamoe_layer_forward(dynamoe_layer *layer, const float *x, size_t x_count, size_t rows, int32_t training,
                                     float *y, size_t y_count);
/* The weighted auxiliary losses of the latest training forward; task is 0. */
dynamoe_status dynamoe_layer_losses(dynamoe_layer *layer, dynamoe_losses *losses);
dynamoe_status dynamoe_layer_auxiliary_losses(dynamoe_layer *layer, double *values, size_t count);
dynamoe_status dynamoe_layer_backward(dynamoe_layer *layer, const float *output_gradient, size_t output_gradient_count,
                                      float *input_gradient, size_t input_gradient_count);
dynamoe_status dynamoe_layer_step(dynamoe_layer *layer, double lr);
dynamoe_status dynamoe_layer_zero_gradients(dynamoe_layer *layer);
dynamoe_status dynamoe_layer_calibrate(dynamoe_layer *layer, const float *x, size_t x_count, size_t rows, double target_active);
dynamoe_status dynamoe_layer_parameter(dynamoe_layer *layer, size_t index, dynamoe_tensor *tensor);
dynamoe_status dynamoe_layer_buffer(dynamoe_layer *layer, size_t index, dynamoe_tensor *tensor);
dynamoe_status dynamoe_layer_parameter_set(dynamoe_layer *layer, const char *name, const float *values, size_t count);
dynamoe_status dynamoe_layer_buffer_set(dynamoe_layer *layer, const char *name, const float *values, size_t count);
dynamoe_status dynamoe_layer_routing_statistics(dynamoe_layer *layer, dynamoe_routing_statistics *statistics,
                                                int64_t *k_histogram, size_t k_histogram_count, int64_t *expert_rows,
                                                size_t expert_rows_count, double *mean_weight, size_t mean_weight_count,
                                                int64_t *coactivation, size_t coactivation_count);
dynamoe_status dynamoe_layer_routing_reset(dynamoe_layer *layer);
dynamoe_status dynamoe_layer_last_rows(dynamoe_layer *layer, size_t *rows);
dynamoe_status dynamoe_layer_last_routing(dynamoe_layer *layer, uint8_t *active, size_t active_count, float *weights,
                                          size_t weights_count);
dynamoe_status dynamoe_layer_save(dynamoe_layer *layer, const char *path);
dynamoe_status dynamoe_layer_load(const char *path, dynamoe_layer **out);

#ifdef __cplusplus
}
#endif

#endif /* DYNAMOE_H */
