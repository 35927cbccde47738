import CDynaMoE
import DynaMoE

// The part of each entry that does not depend on whether the rows are features or tokens.

func forward(
  _ model: Model, _ input: Input, _ rows: Int, _ training: Int32,
  _ logits: UnsafeMutablePointer<Float>?, _ logitsCount: Int
) throws(DynaMoEError) {
  let shape = Shape(formula: "rows * outputs", rows: rows, columns: model.outputs)
  let destination =
    training != 0
    ? try optionalOutput("logits", logits, "logits_count", logitsCount, shape: shape)
    : try output("logits", logits, "logits_count", logitsCount, shape: shape)
  try model.forward(input, training: training != 0, into: destination)
}

func trainBatch(
  _ model: Model, _ input: Input, _ rows: Int, _ targets: UnsafePointer<dynamoe_targets>?,
  _ sampleWeight: UnsafePointer<Float>?, _ weightCount: Int,
  _ losses: UnsafeMutablePointer<dynamoe_losses>?
) throws(DynaMoEError) {
  let result = losses == nil ? nil : try ResultStruct("losses", losses)
  let targets = try engineTargets(model, targets, rows: rows)
  var weights: UnsafeBufferPointer<Float>?
  if sampleWeight != nil || weightCount != 0 {
    weights = try array(
      "sample_weight", sampleWeight, "weight_count", weightCount,
      shape: Shape(formula: "rows", rows: rows))
  }
  let computed = try model.trainBatch(input, targets, sampleWeight: weights)
  result?.write(dynamoe_losses(computed))
}

/// The model evaluates, or a session of it.
func evaluate(
  _ model: Model, _ input: Input, _ rows: Int, _ targets: UnsafePointer<dynamoe_targets>?,
  _ evaluation: UnsafeMutablePointer<dynamoe_evaluation>?,
  _ meanK: UnsafeMutablePointer<Double>?, _ meanKCount: Int, session: Session? = nil
) throws(DynaMoEError) {
  let result = try ResultStruct("evaluation", evaluation)
  let targets = try engineTargets(model, targets, rows: rows)
  let means = try optionalOutput(
    "mean_k", meanK, "mean_k_count", meanKCount,
    shape: Shape(formula: "layers", rows: model.layerCount))
  let computed: Evaluation
  if let session {
    computed = try session.evaluate(input, targets)
  } else {
    computed = try model.evaluate(input, targets)
  }
  if let means {
    for (layer, mean) in computed.meanActive.enumerated() where layer < means.count {
      means[layer] = mean
    }
  }
  result.write(dynamoe_evaluation(computed))
}

func calibrate(
  _ model: Model, _ input: Input, _ targetActive: UnsafePointer<Double>?,
  _ targetCount: Int
) throws(DynaMoEError) {
  guard targetCount == 1 || targetCount == model.layerCount else {
    throw .argument(
      "target_count is \(unsigned(targetCount)), allowed: 1 or layers = \(model.layerCount)")
  }
  let targets = try array("target_active", targetActive, "target_count", targetCount)
  let layers = model.layerCount
  try model.calibrate(
    input,
    targetActive: targets.count == 1
      ? Array(repeating: targets[0], count: layers) : Array(targets))
}

// MARK: - Input

/// x [rows, inputs] of a model that takes features.
func features(
  _ model: Model, _ x: UnsafePointer<Float>?, _ xCount: Int, _ rows: Int
) throws(DynaMoEError) -> Input {
  guard let inputs = model.configuration.inputs else {
    throw .argument(
      "x is given to a model whose rows are token ids, allowed: ids, in the function whose name ends in _tokens"
    )
  }
  let shape = Shape(formula: "rows * inputs", rows: rows, columns: inputs)
  return .features(try array("x", x, "x_count", xCount, shape: shape), rows: rows)
}

/// ids [rows] of a model that takes tokens.
func tokens(
  _ model: Model, _ ids: UnsafePointer<Int32>?, _ rows: Int
) throws(DynaMoEError) -> Input {
  guard model.configuration.vocabulary != nil else {
    throw .argument(
      "ids is given to a model whose rows are features, allowed: x, in the function whose name does not end in _tokens"
    )
  }
  return .tokens(try array("ids", ids, "rows", rows))
}

// MARK: - Targets

/// What the task trains on. `rows` nil: those of the latest training forward, which the engine
/// knows.
func engineTargets(
  _ model: Model, _ pointer: UnsafePointer<dynamoe_targets>?, rows: Int?
) throws(DynaMoEError) -> Targets {
  guard let pointer else {
    throw .argument("targets is NULL, allowed: classes or values of every row")
  }
  try checkAlignment(
    "targets", UnsafeRawPointer(pointer), MemoryLayout<dynamoe_targets>.alignment)
  let targets = pointer.pointee
  switch model.configuration.task {
  case .classification, .languageModel:
    guard targets.values == nil, targets.value_count == 0 else {
      throw .argument(
        "targets->values is given to a model that predicts classes, allowed: targets->classes, with values NULL and value_count 0"
      )
    }
    guard let rows else {
      return .classes(
        try array(
          "targets->classes", targets.classes, "targets->class_count", targets.class_count))
    }
    return .classes(
      try array(
        "targets->classes", targets.classes, "targets->class_count", targets.class_count,
        shape: Shape(formula: "rows", rows: rows)))
  case .regression:
    guard targets.classes == nil, targets.class_count == 0 else {
      throw .argument(
        "targets->classes is given to a regression, allowed: targets->values, with classes NULL and class_count 0"
      )
    }
    guard let rows else {
      return .values(
        try array(
          "targets->values", targets.values, "targets->value_count", targets.value_count))
    }
    return .values(
      try array(
        "targets->values", targets.values, "targets->value_count", targets.value_count,
        shape: Shape(formula: "rows * outputs", rows: rows, columns: model.outputs)))
  }
}

// MARK: - Results

extension dynamoe_losses {
  init(_ losses: Losses) {
    self.init()
    task = losses.task
    balance = losses.balance
    z = losses.z
    entropy = losses.entropy
    sparsity = losses.sparsity
    total = losses.total
    accuracy = losses.accuracy ?? .nan
  }
}

extension dynamoe_evaluation {
  init(_ evaluation: Evaluation) {
    self.init()
    loss = evaluation.loss
    accuracy = evaluation.accuracy ?? .nan
    r2 = evaluation.r2 ?? .nan
    perplexity = evaluation.perplexity ?? .nan
    rows = Int64(evaluation.countedRows)
  }
}
