/*
 * dynamoe.h - mixture-of-experts networks whose compute follows the input
 *
 * The C interface of libdynamoe and the source of truth of its ABI. C11 and C++17.
 *
 *     dynamoe_router_config router;
 *     dynamoe_router_config_init(&router, sizeof router);
 *     router.kind = DYNAMOE_ROUTER_THRESHOLD;
 *     router.target_active = 2;
 *
 *     dynamoe_model_config config;
 *     dynamoe_model_config_init(&config, sizeof config);
 *     config.task = DYNAMOE_TASK_CLASSIFICATION;
 *     config.inputs = 64, config.outputs = 10, config.width = 32;
 *     config.experts = (const int64_t[]){8, 4}, config.layers = 2;
 *     config.routers = &router, config.router_count = 1;
 *
 *     dynamoe_model *model;
 *     dynamoe_model_create(&config, seed, &model);
 *     dynamoe_model_train_batch(model, x, rows * 64, rows, &targets, NULL, 0, &losses);
 *
 * examples/c/train.c is a complete program, examples/c/layer.c drives a single layer by hand.
 *
 * LETTERS. T rows (tokens), D width, N experts of a layer, L layers, C outputs, K active experts of a row.
 *
 * ARRAYS are row-major, owned by the caller and aligned for their type; the caller passes their length in
 * elements (never in bytes). Inputs must have exactly the stated length, outputs at least that. The arrays of
 * one call must not overlap. Where nothing is to be read or written (T = 0, "or NULL") the pointer may be NULL
 * and the length 0; NULL with another length is refused.
 *
 * NUMBERS. Every input, target, weight and gradient that comes in must be finite; NaN and infinity are refused.
 *
 * STRINGS are UTF-8 and end with a NUL unless a length is passed. A path has at most 4095 bytes.
 *
 * STATUS. Every function that can fail returns a dynamoe_status: DYNAMOE_OK or a negative code. The message of
 * the latest failure on the calling thread is dynamoe_last_error(): it names the argument, what came and what is
 * allowed. Besides the codes that a function lists, every function that takes a handle can return _HANDLE and
 * _BUSY, and every function but the getters _ARGUMENT for a NULL where none is allowed.
 *
 * STATE AFTER A FAILURE. A failed call changes nothing: parameters, optimizer state, thresholds, random state
 * and statistics are as before. Output arrays may have been written in part; result structs are written on
 * success only. Three things may go: train_batch and backward_step leave the gradients and their measured variance
 * unspecified, also when they fail; a backward_step that fails with DYNAMOE_ERROR_FAILED has used up the forward that
 * waited for its backward; and a training forward or train_batch that fails with _MEMORY or _FAILED, after its arguments
 * were accepted, has replaced what the latest training forward left (pending backward, auxiliary losses, routing), and
 * a failed evaluation the latest routing.
 *
 * STRUCTS that start with struct_size grow at the end only. Configurations are filled by their _init, which also
 * sets struct_size; in a result struct the caller sets struct_size to sizeof, and no more than that is written.
 * A size below that of the struct's first version, or above 4096, is refused; of a larger one only the fields
 * known to the library in use are read or written. Fields named `reserved` stay 0.
 *
 * HANDLES. A handle is a number in the shape of a pointer and is never dereferenced: NULL, freed, foreign and
 * mistyped handles are refused with DYNAMOE_ERROR_HANDLE. At most 1048576 handles live at a time.
 *
 * THREADS. Distinct handles are independent, but for sessions and their model: several threads evaluate one model
 * through a dynamoe_session each. One handle serves one thread at a time: a second caller gets DYNAMOE_ERROR_BUSY,
 * at once and without waiting, from _free too. The library runs worker threads of its own
 * (dynamoe_threads_set). The results of one seed have the same bits for any number of threads. The library
 * cannot be unloaded: dlclose leaves it in place.
 */
#ifndef DYNAMOE_H
#define DYNAMOE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------ library */

#define DYNAMOE_VERSION "0.1.0"
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
  DYNAMOE_ERROR_BUSY = -7,     /* another thread is inside this handle, or see dynamoe_session */
  DYNAMOE_ERROR_FAILED = -8,   /* arithmetic left the finite numbers */
  DYNAMOE_ERROR_BACKEND = -9   /* the chosen kernels are absent on this machine */
};

/* The version of the library in use, such as "0.1.0" (DYNAMOE_VERSION is that of the header). A static string. */
const char *dynamoe_version(void);

/* The ABI of the library in use. A program built with a header of another DYNAMOE_ABI_VERSION must not go on. */
uint32_t dynamoe_abi_version(void);

/*
 * What is in use, as a JSON object: "version", "abi", "kernels" ("v4", "v3", "baseline", "reference",
 * "openblas", or null with "kernels_error" when the kernels that DYNAMOE_KERNELS names are absent), "threads",
 * "processor_features". Valid on this thread until its next call of this function.
 */
const char *dynamoe_build_info(void);

/*
 * The message of the latest failed call of this thread, "" before any. A call that succeeds leaves it. Valid on
 * this thread until its next failed call.
 */
const char *dynamoe_last_error(void);

/* The name of a status, such as "DYNAMOE_ERROR_ARGUMENT", or "unknown status". A static string. */
const char *dynamoe_status_name(dynamoe_status status);

/*
 * Worker threads of the library, 1 to 256, for all handles. Default: the environment's DYNAMOE_THREADS, else the
 * processors available to the process. Results do not depend on it. _set returns DYNAMOE_OK or _ARGUMENT; after
 * a failure the count is as before. _get cannot fail.
 */
dynamoe_status dynamoe_threads_set(int32_t count);
int32_t dynamoe_threads_get(void);

/* ------------------------------------------------------------------------------------------------ schedule */

/*
 * Experts per layer: counts[l] = minimum + round((maximum - minimum) * s(t)), t = l / (layers - 1), or 0 for one
 * layer.
 *
 *     name              s(t)
 *     "uniform"         1
 *     "descending"      1 - t
 *     "ascending"       t
 *     "pyramid"         1 - |2t - 1|
 *     "valley"          |2t - 1|
 *     "wave"            (1 + cos(2 pi cycles t)) / 2
 *     "inverse_wave"    1 - wave
 *
 * Halves round up. 1 <= minimum <= maximum; `cycles` > 0 (usually 2) matters to the waves only. `total` 0: as
 * the formula says; otherwise the same shape scaled so that the counts sum to `total` >= layers exactly. 1 <=
 * layers <= 65536. counts [layers], capacity >= layers; elements beyond `layers` are not touched.
 * Returns DYNAMOE_OK or _ARGUMENT; after a failure counts is untouched.
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

/* How a layer chooses the active experts of a row from the router's scores. */
enum {
  DYNAMOE_ROUTER_PERCENTILE = 0,       /* scores above the row's own quantile: K is the same for every row */
  DYNAMOE_ROUTER_THRESHOLD = 1,        /* scores above one threshold per layer, which follows the batches: K varies */
  DYNAMOE_ROUTER_EXPERT_THRESHOLD = 2, /* one threshold per expert: balanced load */
  DYNAMOE_ROUTER_TOP_K = 3,            /* the k best */
  DYNAMOE_ROUTER_TOP_P = 4,            /* the fewest whose scores add up to p */
  DYNAMOE_ROUTER_TOP_ANY = 5,          /* cosine similarity above a learned threshold per expert */
  DYNAMOE_ROUTER_RELU = 6,             /* positive logits, which are the weights */
  DYNAMOE_ROUTER_DENSE = 7             /* all */
};

/* How the scores of the active experts become their weights. */
enum {
  DYNAMOE_GATE_DEFAULT = 0, /* by kind: percentile softmax, top_k and dense normalized, the others raw */
  DYNAMOE_GATE_SOFTMAX = 1, /* softmax of the scores over the active */
  DYNAMOE_GATE_NORMALIZED = 2, /* scores over their sum */
  DYNAMOE_GATE_RAW = 3         /* scores */
};

enum { DYNAMOE_OPTIMIZER_ADAMW = 0, DYNAMOE_OPTIMIZER_SGD = 1 };

/*
 * A schedule inside a configuration; the fields are the arguments of dynamoe_schedule_counts. name NULL: not
 * used, and then the other fields must be as _init left them (minimum 1, maximum 0, cycles 2, total 0).
 */
typedef struct dynamoe_schedule_config {
  const char *name;
  int64_t minimum;
  int64_t maximum;
  double cycles;
  int64_t total; /* 0: none */
} dynamoe_schedule_config;

/*
 * One router. _init sets kind to -1, which is refused: choose one. A setting that the chosen kind does not use
 * must be left as _init left it: NaN (numbers) and -1 (integers) mean "the default of the kind".
 */
typedef struct dynamoe_router_config {
  uint32_t struct_size;
  int32_t kind;         /* DYNAMOE_ROUTER_...; required */
  int32_t gate;         /* DYNAMOE_GATE_DEFAULT; top_any and relu take no other */
  int32_t reserved;
  double temperature;   /* NaN: 1; > 0; not top_any */
  double noise;         /* NaN: 0; >= 0; standard deviation of the training noise on the scores; not top_any, relu */
  int64_t min_active;   /* -1: 1; >= 0; above N counts as N */
  int64_t max_active;   /* -1: no bound; >= 1 and >= min_active */
  double balance_rate;  /* NaN: 0; >= 0; loss-free balancing; percentile, threshold, top_k, top_p only */
  double percentile;    /* NaN: 0.5; 0 to 1; percentile only */
  double target_active; /* NaN: none; > 0; mean K aimed at; threshold, expert_threshold (required), relu, top_p */
  const double *target_active_layers; /* NULL, or [L] in place of target_active */
  size_t target_active_layer_count;
  double momentum;      /* NaN: 0.9; 0 <= momentum < 1; of the stored thresholds; threshold, expert_threshold only */
  int64_t k;            /* -1: none; >= 1; top_k only, which requires it; above N counts as N */
  double p;             /* NaN: 0.4; 0 < p <= 1; top_p only */
  double scale;         /* NaN: 1; > 0; top_any only */
} dynamoe_router_config;

/* Coefficients of the auxiliary losses; negative ones are allowed but for sparsity. */
typedef struct dynamoe_losses_config {
  uint32_t struct_size;
  uint32_t reserved;
  double balance, z, entropy; /* 0 */
  double sparsity;            /* 1e-8; >= 0: first coefficient of relu layers with target_active; 0: off */
} dynamoe_losses_config;

/* An optimizer. A setting that the chosen kind does not use must be left as _init left it (NaN, -1). */
typedef struct dynamoe_optimizer_config {
  uint32_t struct_size;
  int32_t kind;        /* DYNAMOE_OPTIMIZER_ADAMW */
  double lr;           /* 0.001; >= 0 */
  double beta1, beta2; /* NaN: 0.9, 0.999; 0 <= beta < 1; adamw only */
  double eps;          /* NaN: 1e-8; > 0; adamw only */
  double momentum;     /* NaN: 0; 0 <= momentum < 1; sgd only */
  int32_t nesterov;    /* -1: false; 0 or 1; sgd with momentum only */
  int32_t decay_all;   /* 0; 1: biases, norms and gates decay too */
  double weight_decay; /* NaN: adamw 0.01 (decoupled), sgd 0 (L2); >= 0 */
  double clip;         /* NaN: none; > 0; largest global gradient norm */
  int64_t warmup;      /* 0; steps of linear warm-up */
  int64_t total;       /* -1: none, constant after warm-up; > warmup: last step of the cosine */
  double floor;        /* 0; 0 to 1: last learning rate as a share of lr */
} dynamoe_optimizer_config;

/*
 * A network: input projection or embedding, L layers h = residual * h + MoE(norm(h)), norm, head. _init leaves
 * task (as -1), inputs or vocabulary, outputs, width, experts and routers to be filled in. What the pointers
 * point at is copied by _create.
 */
typedef struct dynamoe_model_config {
  uint32_t struct_size;
  int32_t task;       /* DYNAMOE_TASK_...; required */
  int64_t inputs;     /* 0; features per row, or 0 with vocabulary */
  int64_t vocabulary; /* 0; rows are token ids 0 ... vocabulary - 1, or 0 with inputs */
  int64_t outputs;    /* 0; classes or values per row; 0 with DYNAMOE_TASK_LANGUAGE_MODEL: vocabulary */
  int64_t width;      /* 0; D, required */
  const int64_t *experts; /* NULL; [layers], or NULL with expert_schedule over `layers` */
  size_t layers;          /* 0; required, 1 to 65536 */
  dynamoe_schedule_config expert_schedule;
  const int64_t *hidden;  /* NULL: 4 * width, or hidden_schedule; else [hidden_count] */
  size_t hidden_count;    /* 0; 1 (for all layers) or layers */
  dynamoe_schedule_config hidden_schedule;
  int64_t shared_experts; /* 0; in every layer, active for every row */
  int32_t activation;     /* DYNAMOE_ACTIVATION_GELU */
  int32_t norm;           /* DYNAMOE_NORM_LAYER */
  int32_t bias;           /* 1; input, head and experts have biases */
  int32_t residual;       /* 1 */
  int32_t tied_embedding; /* 0; 1: the head is the embedding, DYNAMOE_TASK_LANGUAGE_MODEL only */
  int32_t reserved;
  const dynamoe_router_config *routers; /* NULL; required: an array with one struct_size throughout */
  size_t router_count;                  /* 0; 1 (for all layers) or layers */
  const dynamoe_losses_config *losses;       /* NULL: defaults */
  const dynamoe_optimizer_config *optimizer; /* NULL: defaults */
} dynamoe_model_config;

/* A single layer without norm and residual. _init leaves width, experts and router to be filled in. */
typedef struct dynamoe_layer_config {
  uint32_t struct_size;
  int32_t activation;     /* DYNAMOE_ACTIVATION_GELU */
  int64_t width;          /* 0; D, required */
  int64_t experts;        /* 0; N, required */
  int64_t hidden;         /* 0: 4 * width */
  int64_t shared_experts; /* 0 */
  int32_t bias;           /* 1 */
  int32_t reserved;
  const dynamoe_router_config *router;       /* NULL; required */
  const dynamoe_losses_config *losses;       /* NULL: defaults */
  const dynamoe_optimizer_config *optimizer; /* NULL: defaults */
} dynamoe_layer_config;

/*
 * Fill *config with the defaults printed above. `size` is sizeof *config as the caller was compiled: older
 * callers stay valid, and of a newer caller's struct only the fields known here are written.
 * Returns DYNAMOE_OK, or _ARGUMENT (config is NULL, size out of range: *config is untouched).
 */
dynamoe_status dynamoe_router_config_init(dynamoe_router_config *config, size_t size);
dynamoe_status dynamoe_losses_config_init(dynamoe_losses_config *config, size_t size);
dynamoe_status dynamoe_optimizer_config_init(dynamoe_optimizer_config *config, size_t size);
dynamoe_status dynamoe_model_config_init(dynamoe_model_config *config, size_t size);
dynamoe_status dynamoe_layer_config_init(dynamoe_layer_config *config, size_t size);

/* ------------------------------------------------------------------------------------------------ presets */

/*
 * The configuration of a network of the paper (arXiv 2603.01697) as JSON for dynamoe_model_create_json; what the
 * paper says and what we chose stands in docs/configuration.md.
 *
 *     name                        task, and schedule of the experts
 *     "paper_mnist"               classification, 784 inputs, descending
 *     "paper_fashion_mnist"       the same
 *     "paper_cifar10"             classification, 3072 inputs, descending
 *     "paper_language_tiny"       language_model, vocabulary 50257, descending
 *     "paper_language_small"      language_model, vocabulary 50257, ascending
 *     "paper_language_medium"     language_model, vocabulary 50257, uniform
 *
 * overrides: settings that replace the preset's, as a JSON object of `overrides_length` bytes (at most 16777216),
 * or NULL with 0. An object in it is merged member by member into the preset's, {"router": {"noise": 0}}, unless
 * it names another `kind`, which replaces the preset's object. The result is checked like any configuration.
 * *length, text and capacity: as in dynamoe_model_config_json.
 * Returns DYNAMOE_OK, _ARGUMENT (unknown name, with the nearest one; overrides: the message names the key).
 */
dynamoe_status dynamoe_preset_json(const char *name, const char *overrides, size_t overrides_length, char *text,
                                   size_t capacity, size_t *length);

/*
 * All presets as a JSON list of objects, in the order above: "name", "description", "batch_size" (images, or
 * windows of tokens), "sequence_length" (tokens of a window, null for images), "parameter_count" and
 * "embedding_parameter_count" (part of it; 0 for images). text, capacity and *length: as above.
 * Returns DYNAMOE_OK, _ARGUMENT.
 */
dynamoe_status dynamoe_presets_json(char *text, size_t capacity, size_t *length);

/* ------------------------------------------------------------------------------------------------ results */

/* A parameter or buffer, borrowed until the model or layer is freed. */
typedef struct dynamoe_tensor {
  uint32_t struct_size;
  uint32_t rank;     /* 1 to 4 */
  const char *name;  /* such as "layers.0.experts.up.weight" */
  int64_t shape[4];  /* of these `rank`, outermost first; the rest is 0 */
  size_t count;      /* elements: the product of the shape */
  const float *data; /* read only: change values through _parameter_set; NULL for a matrix in bfloat16: _parameter_get */
  float *gradient;   /* [count], writable, a write before _step is used by it; NULL for buffers and evaluation only */
} dynamoe_tensor;

/* Losses of one batch. */
typedef struct dynamoe_losses {
  uint32_t struct_size;
  uint32_t reserved;
  double task;                          /* unweighted task loss: mean cross-entropy in nats, or mean squared error */
  double balance, z, entropy, sparsity; /* times their coefficients, summed over layers */
  double total;                         /* the sum of all: what is trained on */
  double accuracy; /* classification and language_model: share of counted rows predicted right, NaN otherwise */
} dynamoe_losses;

typedef struct dynamoe_info {
  uint32_t struct_size;
  int32_t task; /* -1 for a single layer */
  int64_t inputs, vocabulary; /* one of the two is 0; a single layer: D, 0 */
  int64_t outputs, width, layers; /* a single layer: D, D, 1 */
  int64_t parameter_count;        /* elements of all parameters */
  double active_parameter_count;  /* of these, in use for a row at the mean K so far (before any row: the target) */
  double flops_per_row;           /* forward, 2 per multiply-add, at the same mean K */
  int64_t optimizer_steps;
  int64_t training_forwards;
  int64_t tensor_count, buffer_count; /* for _parameter and _buffer */
  int32_t precision;                  /* DYNAMOE_PRECISION_..., see _load_as */
  int32_t reserved;
} dynamoe_info;

typedef struct dynamoe_evaluation {
  uint32_t struct_size;
  uint32_t reserved;
  double loss;       /* task loss over the counted rows, 0 without any */
  double accuracy;   /* classification and language_model: share of counted rows, NaN otherwise */
  double r2;         /* regression: share of the variance explained, NaN otherwise */
  double perplexity; /* language_model: exp(loss), NaN otherwise */
  int64_t rows;      /* rows with a target that counts */
} dynamoe_evaluation;

/*
 * Routing of one layer since the last reset; every forward of the handle counts, evaluation too. All 0 before
 * any row.
 */
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
  double participation;      /* (tr C)^2 / tr C^2 of the covariance C of what the layer reads; NaN unless measured */
} dynamoe_routing_statistics;

/* Statistics that cost time and memory, and are off until asked for: bits to be combined. */
enum {
  DYNAMOE_MEASURE_PARTICIPATION = 1,    /* T * D * D multiply-adds a layer and forward; 24 * D * D bytes a layer */
  DYNAMOE_MEASURE_GRADIENT_VARIANCE = 2 /* two passes over all gradients a backward; 12 bytes a parameter */
};

/* ------------------------------------------------------------------------------------------------ model */

typedef struct dynamoe_model_s dynamoe_model;

/*
 * Create a network with weights drawn from `seed`: the same seed and configuration give the same bits. From a
 * struct, or from the JSON of docs/configuration.md (`length` bytes, at most 16777216, no final NUL needed).
 * Returns DYNAMOE_OK, _ARGUMENT (the message names the key), _MEMORY, _BACKEND. After a failure *out is NULL.
 */
dynamoe_status dynamoe_model_create(const dynamoe_model_config *config, uint64_t seed, dynamoe_model **out);
dynamoe_status dynamoe_model_create_json(const char *json, size_t length, uint64_t seed, dynamoe_model **out);

/*
 * Free a model and everything borrowed from it; its sessions keep the network itself alive. NULL is fine.
 * Returns DYNAMOE_OK, _HANDLE (not a live model), _BUSY (in use by another thread: it lives on).
 */
dynamoe_status dynamoe_model_free(dynamoe_model *model);

/* Sizes and counters. Returns DYNAMOE_OK, _ARGUMENT. */
dynamoe_status dynamoe_model_info(dynamoe_model *model, dynamoe_info *info);

/*
 * The resolved configuration as JSON: every default that the chosen kinds use is written out, and _create_json
 * makes an equal network from it. *length gets the length in bytes without NUL. text [capacity], capacity >
 * *length: the text and a NUL are written. NULL, 0: only *length is. Any other capacity: _ARGUMENT, *length is
 * written, text is not.
 * Returns DYNAMOE_OK, _ARGUMENT.
 */
dynamoe_status dynamoe_model_config_json(dynamoe_model *model, char *text, size_t capacity, size_t *length);

/*
 * logits [T, C] of x [T, inputs] (or of ids [T], 0 to vocabulary - 1). T = rows, x_count = T * inputs,
 * logits_count >= T * C.
 *
 * training != 0: keeps what backward needs, draws noise, moves stored thresholds; T >= 1; logits may be NULL. A
 * training forward replaces one that still waits for its backward. training == 0: a row's result has the same
 * bits whatever the batch it is in; nothing changes but the statistics, and a pending backward stays valid. T =
 * 0 is fine and does nothing.
 * Returns DYNAMOE_OK, _ARGUMENT (shape, NaN or infinity, id out of range, a model of the other kind of input),
 * _MEMORY, _FAILED (logits not finite).
 */
dynamoe_status dynamoe_model_forward(dynamoe_model *model, const float *x, size_t x_count, size_t rows, int32_t training,
                                     float *logits, size_t logits_count);
dynamoe_status dynamoe_model_forward_tokens(dynamoe_model *model, const int32_t *ids, size_t rows, int32_t training,
                                            float *logits, size_t logits_count);

/*
 * Targets of T rows: `classes` [T] (0 to C - 1; -1: the row is ignored and not counted) for classification and
 * language_model, `values` [T, C] for regression; the other is NULL with count 0.
 */
typedef struct dynamoe_targets {
  const int32_t *classes;
  size_t class_count;
  const float *values;
  size_t value_count;
} dynamoe_targets;

/*
 * Task loss and weighted auxiliary losses of the latest training forward. All rows ignored: the task loss is 0.
 * Changes nothing.
 * Returns DYNAMOE_OK, _ARGUMENT, _STATE (no training forward since creation or the last backward), _FAILED (not
 * finite).
 */
dynamoe_status dynamoe_model_loss(dynamoe_model *model, const dynamoe_targets *targets, dynamoe_losses *losses);

/*
 * balance, z, entropy, sparsity of each layer of the latest training forward, without their coefficients: values
 * [L, 4], count >= 4 L.
 * Returns DYNAMOE_OK, _ARGUMENT, _STATE (no training forward since creation).
 */
dynamoe_status dynamoe_model_auxiliary_losses(dynamoe_model *model, double *values, size_t count);

/*
 * Add the gradients of the total loss of the latest training forward to the gradients. _backward: from targets.
 * _backward_output: from output_gradient [T, C] = dLoss/dlogits, to which the weighted auxiliary gradients are
 * added. input_gradient [T, inputs] (overwritten, input_gradient_count >= T * inputs) or NULL; it must be NULL
 * for token input.
 * Returns DYNAMOE_OK, _ARGUMENT, _STATE (no training forward since creation or the last backward), _MEMORY.
 * After a failure the forward still waits for its backward.
 */
dynamoe_status dynamoe_model_backward(dynamoe_model *model, const dynamoe_targets *targets, float *input_gradient,
                                      size_t input_gradient_count);
dynamoe_status dynamoe_model_backward_output(dynamoe_model *model, const float *output_gradient, size_t output_gradient_count,
                                             float *input_gradient, size_t input_gradient_count);

/*
 * One optimizer step with the gradients as they are; they stay. lr: NaN for the configured learning rate of this
 * step, otherwise the rate, 0 to 1e6.
 * Returns DYNAMOE_OK, _ARGUMENT, _MEMORY, _FAILED (a gradient is not finite, or above 1e18).
 */
dynamoe_status dynamoe_model_step(dynamoe_model *model, double lr);

/* Set all gradients to 0. Backward adds, so call it before each accumulation. A pending backward stays valid. */
dynamoe_status dynamoe_model_zero_gradients(dynamoe_model *model);

/*
 * zero_gradients, forward, loss, backward and step in one. x or ids and T = rows >= 1 as in forward, targets of
 * the same T. sample_weight [T], >= 0 and not all 0, or NULL: the task loss is then sum(w * loss) / sum(w);
 * routing ignores it. losses (of the batch before the step) may be NULL. Leaves the gradients unspecified. After
 * the largest T seen so far no memory is allocated.
 * Returns DYNAMOE_OK, _ARGUMENT, _MEMORY, _FAILED (logits, loss or a gradient not finite, or a
 * gradient above 1e18).
 */
dynamoe_status dynamoe_model_train_batch(dynamoe_model *model, const float *x, size_t x_count, size_t rows,
                                         const dynamoe_targets *targets, const float *sample_weight, size_t weight_count,
                                         dynamoe_losses *losses);
dynamoe_status dynamoe_model_train_batch_tokens(dynamoe_model *model, const int32_t *ids, size_t rows,
                                                const dynamoe_targets *targets, const float *sample_weight, size_t weight_count,
                                                dynamoe_losses *losses);

/*
 * Evaluation of any number of rows (T = 0 too) against targets. mean_k: the mean K of these rows in each layer,
 * [L] or NULL. Changes nothing but the statistics. Returns DYNAMOE_OK, _ARGUMENT, _MEMORY, _FAILED.
 */
dynamoe_status dynamoe_model_evaluate(dynamoe_model *model, const float *x, size_t x_count, size_t rows,
                                      const dynamoe_targets *targets, dynamoe_evaluation *evaluation, double *mean_k,
                                      size_t mean_k_count);
dynamoe_status dynamoe_model_evaluate_tokens(dynamoe_model *model, const int32_t *ids, size_t rows,
                                             const dynamoe_targets *targets, dynamoe_evaluation *evaluation, double *mean_k,
                                             size_t mean_k_count);

/*
 * Evaluate the rows and write how they were routed as one HTML file, which opens in a browser without network: the model
 * in numbers and, of these rows alone, loss and accuracy, experts and mean K by layer, histograms of K, the load of the
 * experts, which classes (of token ids: which tokens; of a regression of one output: which ranges of the target) use which
 * experts, co-activation, and K against the entropy of the scores. T >= 1. options: NULL with options_length 0, or a JSON
 * object of options_length bytes with "title", a string, and "class_names", a list of C strings (of a language model also
 * the names of its tokens). The same model, rows and options give the same bytes. The file is written beside `path` and
 * renamed. Changes nothing but the statistics, which count these rows as _evaluate does.
 * Returns DYNAMOE_OK, _ARGUMENT, _MEMORY, _FAILED, _FILE; after a failure the statistics and the file are as before.
 */
dynamoe_status dynamoe_model_report(dynamoe_model *model, const float *x, size_t x_count, size_t rows,
                                    const dynamoe_targets *targets, const char *options, size_t options_length, const char *path);
dynamoe_status dynamoe_model_report_tokens(dynamoe_model *model, const int32_t *ids, size_t rows, const dynamoe_targets *targets,
                                           const char *options, size_t options_length, const char *path);

/*
 * Set the stored thresholds, layer by layer (each on the output of its calibrated predecessor), so that x routes
 * with the mean K of target_active [target_count], 1 for all layers or L. Only for layers of kind threshold and
 * expert_threshold: a model with any other kind is refused. Allowed: min_active to min(N, max_active). T >= 1.
 * Later training moves the thresholds on.
 * Returns DYNAMOE_OK, _ARGUMENT, _MEMORY, _FAILED.
 */
dynamoe_status dynamoe_model_calibrate(dynamoe_model *model, const float *x, size_t x_count, size_t rows,
                                       const double *target_active, size_t target_count);
dynamoe_status dynamoe_model_calibrate_tokens(dynamoe_model *model, const int32_t *ids, size_t rows,
                                              const double *target_active, size_t target_count);

/*
 * Parameter `index` (0 to tensor_count - 1) or buffer `index` (0 to buffer_count - 1) of dynamoe_info, in file
 * order. The pointers stay the same and valid until the handle is freed, and show the values of the moment.
 * Returns DYNAMOE_OK, _ARGUMENT.
 */
dynamoe_status dynamoe_model_parameter(dynamoe_model *model, size_t index, dynamoe_tensor *tensor);
dynamoe_status dynamoe_model_buffer(dynamoe_model *model, size_t index, dynamoe_tensor *tensor);

/*
 * Copy values [count] in, in effect from the next call. count is that of the tensor. values may be the tensor's own
 * `data` after a program wrote there: nothing is copied then, and after a refusal what was written still stands there.
 * Returns DYNAMOE_OK, _ARGUMENT (unknown name, wrong count, NaN or infinity).
 */
dynamoe_status dynamoe_model_parameter_set(dynamoe_model *model, const char *name, const float *values, size_t count);
dynamoe_status dynamoe_model_buffer_set(dynamoe_model *model, const char *name, const float *values, size_t count);

/*
 * Copy parameter `name` out as f32 to values [count], whatever it is kept in; of a rounded matrix the rounded values.
 * Returns DYNAMOE_OK, _ARGUMENT (unknown name, wrong count).
 */
dynamoe_status dynamoe_model_parameter_get(dynamoe_model *model, const char *name, float *values, size_t count);

/*
 * Statistics of layer `layer` (0 to L - 1). Each array may be NULL with count 0; otherwise its count is at least
 * that of the shape: k_histogram [N + 1] (rows with K = 0 ... N), expert_rows [N], mean_weight [N] (mean gate
 * weight over the expert's rows, 0 without rows), coactivation [N, N] (rows that activate both; the diagonal
 * repeats expert_rows).
 * Returns DYNAMOE_OK, _ARGUMENT. _reset sets all statistics of all layers to 0.
 */
dynamoe_status dynamoe_model_routing_statistics(dynamoe_model *model, size_t layer, dynamoe_routing_statistics *statistics,
                                                int64_t *k_histogram, size_t k_histogram_count, int64_t *expert_rows,
                                                size_t expert_rows_count, double *mean_weight, size_t mean_weight_count,
                                                int64_t *coactivation, size_t coactivation_count);
dynamoe_status dynamoe_model_routing_reset(dynamoe_model *model);

/*
 * Measure just `measures` (DYNAMOE_MEASURE_... or 0) from now on: what is switched on starts anew, what is switched off is
 * forgotten. Results have the same bits with and without. Returns DYNAMOE_OK, _ARGUMENT, _MEMORY.
 */
dynamoe_status dynamoe_model_measure(dynamoe_model *model, uint32_t measures);

/*
 * Of each parameter, values [tensor_count], count >= tensor_count: the mean over its elements of the variance (1/n) of the
 * gradient over the micro-batches since _zero_gradients, where a micro-batch is one backward; train_batch is one.
 * Returns DYNAMOE_OK, _ARGUMENT, _STATE (not measured, or no backward since).
 */
dynamoe_status dynamoe_model_gradient_variance(dynamoe_model *model, double *values, size_t count);

/*
 * T of the latest forward (0 before any), and its routing in layer `layer`: active [T, N] of 0 and 1, weights
 * [T, N], 0 where not active; either may be NULL with count 0, otherwise the count is at least T * N.
 * Returns DYNAMOE_OK, _ARGUMENT; _last_routing also _STATE (no forward yet).
 */
dynamoe_status dynamoe_model_last_rows(dynamoe_model *model, size_t *rows);
dynamoe_status dynamoe_model_last_routing(dynamoe_model *model, size_t layer, uint8_t *active, size_t active_count,
                                          float *weights, size_t weights_count);

/*
 * One safetensors file: parameters, buffers, configuration, optimizer and random state; not gradients, a pending
 * backward, statistics, and the rows counted for the controllers since the last step. Training that goes on from a
 * file saved after a step gives the same bits as training that never stopped. _save writes beside `path` and renames, so an interrupted save leaves the old file whole. _load
 * refuses truncated, damaged and foreign files with the reason, also the file of a layer; *out is NULL after a
 * failure.
 * Returns DYNAMOE_OK, _ARGUMENT (path), _FILE, _MEMORY, _save also _FAILED (a parameter is not finite), _load also
 * _FORMAT, _BACKEND.
 */
dynamoe_status dynamoe_model_save(dynamoe_model *model, const char *path);
dynamoe_status dynamoe_model_load(const char *path, dynamoe_model **out);

/* In what numbers a network keeps and multiplies its weight matrices. */
enum {
  DYNAMOE_PRECISION_FLOAT32 = 0,
  DYNAMOE_PRECISION_BFLOAT16 = 1 /* the upper half of an f32; for evaluation only */
};

/*
 * _load with a choice of `precision`; FLOAT32 is _load itself. BFLOAT16: the matrices of experts, input, embedding and
 * head are rounded to the nearest (halves to even) as they are read and kept in no other form: half the memory of the
 * weights in f32. What they are multiplied with is rounded too, products are exact, sums f32; biases, norms, routers, gates and
 * softmax stay f32. Numbers below 2^-126 count as 0 in these products. The results have the same bits on every processor
 * with the same kernels otherwise, for any number of threads and in any batch. Forwards without training, evaluate,
 * calibrate, statistics, buffers and _parameter_get work; what trains, changes parameters or saves returns _STATE,
 * gradients are NULL, and so is `data` of the rounded matrices.
 * Returns the codes of _load; _FORMAT also for a weight above 3.39e38, which bfloat16 does not have.
 */
dynamoe_status dynamoe_model_load_as(const char *path, int32_t precision, dynamoe_model **out);

/* ------------------------------------------------------------------------------------------------ session */

/*
 * Evaluates a model in a thread beside others: a session for each thread, all on the same weights, of which none has a
 * copy. A session owns the memory of its evaluations, its statistics and its latest routing; results have the same
 * bits as those of the model. After the largest T seen so far a forward allocates no memory.
 *
 * Sessions never disturb each other. What changes the model, forward with training != 0, backward, step, train_batch,
 * calibrate, parameter_set and buffer_set, returns DYNAMOE_ERROR_BUSY while a session of it evaluates, and
 * _session_forward and _session_evaluate return it while one of these runs: at once, without waiting, and nothing has
 * changed. Between such calls the model may be changed, and the next call of a session sees the new weights. Everything
 * else goes on beside sessions: evaluation by the model itself, _info, _parameter_get, statistics, _save.
 */
typedef struct dynamoe_session_s dynamoe_session;

/*
 * A session keeps its model alive: the model's handle may be freed first (what was borrowed through it ends with it), and
 * the memory goes with the last of them. Statistics begin at 0.
 * Returns DYNAMOE_OK, _ARGUMENT, _MEMORY; _HANDLE and _BUSY are of the model. After a failure *out is NULL.
 */
dynamoe_status dynamoe_session_create(dynamoe_model *model, dynamoe_session **out);

/*
 * NULL is fine. Returns DYNAMOE_OK, _HANDLE (not a live session), _BUSY (in use by another thread: it lives on).
 */
dynamoe_status dynamoe_session_free(dynamoe_session *session);

/*
 * Threads that work on a call of this session, 1 to 256 and no more than those of dynamoe_threads_set. 1, the default: the
 * calling thread alone, which takes the least processor time for small batches of small networks. More
 * shorten a single call while processors are idle; of several callers one has the worker threads at a time, the others go
 * on alone. Results do not depend on it.
 * Returns DYNAMOE_OK, _ARGUMENT; after a failure the count is as before.
 */
dynamoe_status dynamoe_session_threads_set(dynamoe_session *session, int32_t count);

/*
 * As dynamoe_model_forward with training 0.
 * Returns DYNAMOE_OK, _ARGUMENT, _MEMORY, _FAILED, _BUSY (also: the model is being changed). After _MEMORY or _FAILED
 * there may be no latest routing; after the others everything is as before.
 */
dynamoe_status dynamoe_session_forward(dynamoe_session *session, const float *x, size_t x_count, size_t rows, float *logits,
                                       size_t logits_count);
dynamoe_status dynamoe_session_forward_tokens(dynamoe_session *session, const int32_t *ids, size_t rows, float *logits,
                                              size_t logits_count);

/*
 * As dynamoe_model_evaluate; the latest routing stays. Returns DYNAMOE_OK, _ARGUMENT, _MEMORY, _FAILED, _BUSY (also: the
 * model is being changed). After a failure everything is as before.
 */
dynamoe_status dynamoe_session_evaluate(dynamoe_session *session, const float *x, size_t x_count, size_t rows,
                                        const dynamoe_targets *targets, dynamoe_evaluation *evaluation, double *mean_k,
                                        size_t mean_k_count);
dynamoe_status dynamoe_session_evaluate_tokens(dynamoe_session *session, const int32_t *ids, size_t rows,
                                               const dynamoe_targets *targets, dynamoe_evaluation *evaluation, double *mean_k,
                                               size_t mean_k_count);

/*
 * Of the rows that this session evaluated, as dynamoe_model_routing_statistics and _routing_reset; participation is NaN. Returns
 * DYNAMOE_OK, _ARGUMENT.
 */
dynamoe_status dynamoe_session_routing_statistics(dynamoe_session *session, size_t layer,
                                                  dynamoe_routing_statistics *statistics, int64_t *k_histogram,
                                                  size_t k_histogram_count, int64_t *expert_rows, size_t expert_rows_count,
                                                  double *mean_weight, size_t mean_weight_count, int64_t *coactivation,
                                                  size_t coactivation_count);
dynamoe_status dynamoe_session_routing_reset(dynamoe_session *session);

/* As dynamoe_model_last_rows and _last_routing, of the latest forward of this session. */
dynamoe_status dynamoe_session_last_rows(dynamoe_session *session, size_t *rows);
dynamoe_status dynamoe_session_last_routing(dynamoe_session *session, size_t layer, uint8_t *active, size_t active_count,
                                            float *weights, size_t weights_count);

/* ------------------------------------------------------------------------------------------------ layer */

/*
 * A single layer to drive by hand: y = MoE(x), inputs and outputs [T, D]. The functions mean what they mean for
 * a model, return the same codes and leave the same state; parameter names have no "layers.0.". The auxiliary
 * losses of its configuration count, though it has no task.
 */
typedef struct dynamoe_layer_s dynamoe_layer;

dynamoe_status dynamoe_layer_create(const dynamoe_layer_config *config, uint64_t seed, dynamoe_layer **out);
dynamoe_status dynamoe_layer_create_json(const char *json, size_t length, uint64_t seed, dynamoe_layer **out);
dynamoe_status dynamoe_layer_free(dynamoe_layer *layer);
dynamoe_status dynamoe_layer_info(dynamoe_layer *layer, dynamoe_info *info);
dynamoe_status dynamoe_layer_config_json(dynamoe_layer *layer, char *text, size_t capacity, size_t *length);

/* y [T, D] of x [T, D]: x_count = T * D, y_count >= T * D. y is required, in training too. */
dynamoe_status dynamoe_layer_forward(dynamoe_layer *layer, const float *x, size_t x_count, size_t rows, int32_t training,
                                     float *y, size_t y_count);

/*
 * The weighted auxiliary losses of the latest training forward; task is 0, accuracy NaN. Returns DYNAMOE_OK, _ARGUMENT,
 * _STATE (no training forward since creation).
 */
dynamoe_status dynamoe_layer_losses(dynamoe_layer *layer, dynamoe_losses *losses);

/* Unscaled: values [1, 4], count >= 4. */
dynamoe_status dynamoe_layer_auxiliary_losses(dynamoe_layer *layer, double *values, size_t count);

/*
 * From output_gradient [T, D] = dLoss/dy, to which the weighted auxiliary gradients are added. input_gradient
 * [T, D] or NULL.
 */
dynamoe_status dynamoe_layer_backward(dynamoe_layer *layer, const float *output_gradient, size_t output_gradient_count,
                                      float *input_gradient, size_t input_gradient_count);

/*
 * zero_gradients, backward and step in one, with the same bits. Without clipping, and unless the gradient variance is
 * measured, the weights and the optimizer's state are read and written once. lr as in _step. Leaves the gradients
 * unspecified, also when it fails.
 * Returns the codes of the three. After _FAILED no parameter was changed, but the forward has had its backward; after
 * any other failure it still waits.
 */
dynamoe_status dynamoe_layer_backward_step(dynamoe_layer *layer, const float *output_gradient, size_t output_gradient_count,
                                           float *input_gradient, size_t input_gradient_count, double lr);
dynamoe_status dynamoe_layer_step(dynamoe_layer *layer, double lr);
dynamoe_status dynamoe_layer_zero_gradients(dynamoe_layer *layer);
dynamoe_status dynamoe_layer_calibrate(dynamoe_layer *layer, const float *x, size_t x_count, size_t rows, double target_active);
dynamoe_status dynamoe_layer_parameter(dynamoe_layer *layer, size_t index, dynamoe_tensor *tensor);
dynamoe_status dynamoe_layer_buffer(dynamoe_layer *layer, size_t index, dynamoe_tensor *tensor);
dynamoe_status dynamoe_layer_parameter_set(dynamoe_layer *layer, const char *name, const float *values, size_t count);
dynamoe_status dynamoe_layer_buffer_set(dynamoe_layer *layer, const char *name, const float *values, size_t count);
dynamoe_status dynamoe_layer_parameter_get(dynamoe_layer *layer, const char *name, float *values, size_t count);

/* Of the one layer there is: as for a model, without the index of the layer. */
dynamoe_status dynamoe_layer_routing_statistics(dynamoe_layer *layer, dynamoe_routing_statistics *statistics,
                                                int64_t *k_histogram, size_t k_histogram_count, int64_t *expert_rows,
                                                size_t expert_rows_count, double *mean_weight, size_t mean_weight_count,
                                                int64_t *coactivation, size_t coactivation_count);
dynamoe_status dynamoe_layer_routing_reset(dynamoe_layer *layer);
dynamoe_status dynamoe_layer_measure(dynamoe_layer *layer, uint32_t measures);
dynamoe_status dynamoe_layer_gradient_variance(dynamoe_layer *layer, double *values, size_t count);
dynamoe_status dynamoe_layer_last_rows(dynamoe_layer *layer, size_t *rows);
dynamoe_status dynamoe_layer_last_routing(dynamoe_layer *layer, uint8_t *active, size_t active_count, float *weights,
                                          size_t weights_count);
dynamoe_status dynamoe_layer_save(dynamoe_layer *layer, const char *path);
dynamoe_status dynamoe_layer_load(const char *path, dynamoe_layer **out);
dynamoe_status dynamoe_layer_load_as(const char *path, int32_t precision, dynamoe_layer **out);

#ifdef __cplusplus
}
#endif

#endif /* DYNAMOE_H */
