import DynaMoE

enum Mode: String, CaseIterable {
  /// Evaluation.
  case infer
  /// A training step.
  case train
  /// A training step in which a single layer also computes the gradient by the rows.
  case trainWithInputGradient = "train_dx"
  /// Forward and backward without the optimizer.
  case passes
}

/// A network with the case's batch.
protocol Timed {
  var network: RoutedNetwork { get }

  /// Evaluates the first rows of the batch into the outputs.
  func evaluate(rows: Int) throws
  func step() throws
}

/// A whole network.
struct TimedModel: Timed {
  let model: Model
  let data: Case
  let mode: Mode
  let outputs: UnsafeMutableBufferPointer<Float>

  var network: RoutedNetwork { model }

  private func input(rows: Int) -> Input {
    guard data.inputs > 0 else {
      return .tokens(.init(start: data.x.assumingMemoryBound(to: Int32.self), count: rows))
    }
    let count = rows * data.inputs
    return .features(
      .init(start: data.x.assumingMemoryBound(to: Float.self), count: count), rows: rows)
  }

  private var targets: Targets {
    data.hasClasses
      ? .classes(
        .init(start: data.targets.assumingMemoryBound(to: Int32.self), count: data.rows))
      : .values(
        .init(
          start: data.targets.assumingMemoryBound(to: Float.self), count: data.rows * data.outputs))
  }

  func evaluate(rows: Int) throws {
    try model.forward(input(rows: rows), training: false, into: outputs)
  }

  func step() throws {
    switch mode {
    case .infer: try evaluate(rows: data.rows)
    case .train, .trainWithInputGradient:
      try model.trainBatch(input(rows: data.rows), targets)
    case .passes:
      try model.forward(input(rows: data.rows), training: true, into: nil)
      try model.backward(targets)
    }
  }
}

/// A single layer under a mean squared error.
struct TimedLayer: Timed {
  let layer: MoELayer
  let data: Case
  let mode: Mode
  let outputs: UnsafeMutableBufferPointer<Float>
  let inputGradient: UnsafeMutableBufferPointer<Float>

  var network: RoutedNetwork { layer }

  private func forward(rows: Int, training: Bool) throws {
    let x = data.x.assumingMemoryBound(to: Float.self)
    try layer.forward(
      .init(start: x, count: rows * data.inputs), rows: rows, training: training, into: outputs)
  }

  func evaluate(rows: Int) throws {
    try forward(rows: rows, training: false)
  }

  private func passes(steps: Bool) throws {
    try forward(rows: data.rows, training: true)
    let targets = data.targets.assumingMemoryBound(to: Float.self)
    let factor = 2 / Float(outputs.count)
    for index in outputs.indices {
      outputs[index] = (outputs[index] - targets[index]) * factor
    }
    let gradient = UnsafeBufferPointer(outputs)
    let inputGradient = mode == .trainWithInputGradient ? inputGradient : nil
    if steps {
      try layer.backwardStep(gradient, inputGradient: inputGradient)
    } else {
      try layer.backward(gradient, inputGradient: inputGradient)
    }
  }

  func step() throws {
    switch mode {
    case .infer: try evaluate(rows: data.rows)
    case .passes: try passes(steps: false)
    case .train, .trainWithInputGradient: try passes(steps: true)
    }
  }
}
