import DynaMoE

/// Arrays of features in, arrays of classes out: what this example needs of the engine's buffers.
extension Model {
  /// Features per row.
  private var inputCount: Int { configuration.inputs ?? 1 }

  /// One optimizer step on a batch of `features` [rows, inputs] and their `classes` [rows].
  func train(on features: [Float], classes: [Int32]) throws -> Losses {
    try features.withUnsafeBufferPointer { x in
      try classes.withUnsafeBufferPointer { targets in
        try trainBatch(
          .features(x, rows: classes.count), .classes(targets), sampleWeight: nil)
      }
    }
  }

  /// Loss and accuracy on `features` [rows, inputs] and their `classes` [rows].
  func evaluate(on features: [Float], classes: [Int32]) throws -> Evaluation {
    try features.withUnsafeBufferPointer { x in
      try classes.withUnsafeBufferPointer { targets in
        try evaluate(.features(x, rows: classes.count), .classes(targets))
      }
    }
  }

  /// The most likely class of each row of `features` [rows, inputs].
  func classes(of features: [Float]) throws -> [Int] {
    let rows = features.count / inputCount
    var logits = [Float](repeating: 0, count: rows * outputs)
    try features.withUnsafeBufferPointer { x in
      try logits.withUnsafeMutableBufferPointer {
        try forward(.features(x, rows: rows), training: false, into: $0)
      }
    }
    return (0..<rows).map { row in
      (0..<outputs).max { logits[row * outputs + $0] < logits[row * outputs + $1] } ?? 0
    }
  }
}
