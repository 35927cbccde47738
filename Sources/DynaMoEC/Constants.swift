import CDynaMoE
import DynaMoE

/// The header's constants and what they mean to the engine, one table per enumeration.
enum Constants {
  static let tasks: [(Int, ModelConfiguration.Task)] = [
    (DYNAMOE_TASK_CLASSIFICATION, .classification),
    (DYNAMOE_TASK_LANGUAGE_MODEL, .languageModel),
    (DYNAMOE_TASK_REGRESSION, .regression),
  ]

  static let activations: [(Int, Activation)] = [
    (DYNAMOE_ACTIVATION_RELU, .relu),
    (DYNAMOE_ACTIVATION_GELU, .gelu),
    (DYNAMOE_ACTIVATION_GELU_TANH, .geluTanh),
    (DYNAMOE_ACTIVATION_SILU, .silu),
    (DYNAMOE_ACTIVATION_SWIGLU, .swiglu),
    (DYNAMOE_ACTIVATION_GEGLU, .geglu),
  ]

  static let norms: [(Int, Norm)] = [
    (DYNAMOE_NORM_NONE, .none),
    (DYNAMOE_NORM_LAYER, .layer),
    (DYNAMOE_NORM_RMS, .rms),
  ]

  static let routers: [(Int, RouterConfiguration.Kind)] = [
    (DYNAMOE_ROUTER_PERCENTILE, .percentile),
    (DYNAMOE_ROUTER_THRESHOLD, .threshold),
    (DYNAMOE_ROUTER_EXPERT_THRESHOLD, .expertThreshold),
    (DYNAMOE_ROUTER_TOP_K, .topK),
    (DYNAMOE_ROUTER_TOP_P, .topP),
    (DYNAMOE_ROUTER_TOP_ANY, .topAny),
    (DYNAMOE_ROUTER_RELU, .relu),
    (DYNAMOE_ROUTER_DENSE, .dense),
  ]

  /// The default is none of the engine's gates: it leaves the choice to the kind.
  static let gates: [(Int, Gate?)] = [
    (DYNAMOE_GATE_DEFAULT, nil),
    (DYNAMOE_GATE_SOFTMAX, .softmax),
    (DYNAMOE_GATE_NORMALIZED, .normalized),
    (DYNAMOE_GATE_RAW, .raw),
  ]

  static let optimizers: [(Int, OptimizerConfiguration.Kind)] = [
    (DYNAMOE_OPTIMIZER_ADAMW, .adamw),
    (DYNAMOE_OPTIMIZER_SGD, .sgd),
  ]

  static let precisions: [(Int, Precision)] = [
    (DYNAMOE_PRECISION_FLOAT32, .float32),
    (DYNAMOE_PRECISION_BFLOAT16, .bfloat16),
  ]

  static func precision(_ value: Int32) throws(DynaMoEError) -> Precision {
    try choice("precision", value, precisions, "DYNAMOE_PRECISION")
  }

  /// The constant of a precision.
  static func constant(of precision: Precision) -> Int32 {
    switch precision {
    case .float32: Int32(DYNAMOE_PRECISION_FLOAT32)
    case .bfloat16: Int32(DYNAMOE_PRECISION_BFLOAT16)
    }
  }

  /// The constant of a task.
  static func constant(of task: ModelConfiguration.Task) -> Int32 {
    switch task {
    case .classification: Int32(DYNAMOE_TASK_CLASSIFICATION)
    case .languageModel: Int32(DYNAMOE_TASK_LANGUAGE_MODEL)
    case .regression: Int32(DYNAMOE_TASK_REGRESSION)
    }
  }
}
