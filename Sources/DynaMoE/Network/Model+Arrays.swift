// The same verbs for arrays, of models and of sessions; what single layers have is in MoELayer+Arrays.
// Rows are features [T · inputs], or token ids [T] of a model with a vocabulary.

extension Model {
  /// logits [T · C] of features [T · inputs].
  public func logits(of x: [Float], training: Bool = false) throws(DynaMoEError) -> [Float] {
    try withInput(x, columns: self.input.inputs) { input throws(DynaMoEError) in
      try self.logits(of: input, training: training)
    }
  }

  /// logits [T · C] of token ids [T].
  public func logits(ofTokens ids: [Int32], training: Bool = false) throws(DynaMoEError) -> [Float]
  {
    try borrowing(ids) { ids throws(DynaMoEError) in
      try self.logits(of: .tokens(ids), training: training)
    }
  }

  private func logits(of input: Input, training: Bool) throws(DynaMoEError) -> [Float] {
    try filled(rows: input.rows, outputs: outputs) { logits throws(DynaMoEError) in
      try forward(input, training: training, into: logits)
    }
  }

  /// The class with the largest logit of each row of features [T · inputs].
  public func classes(of x: [Float]) throws(DynaMoEError) -> [Int] {
    largest(try logits(of: x), outputs: outputs)
  }

  /// Trains on features [T · inputs] and one class per row, -1 for a row to ignore; see
  /// ``trainBatch(_:_:sampleWeight:)``.
  @discardableResult
  public func trainBatch(
    _ x: [Float], classes: [Int32], sampleWeight: [Float]? = nil
  ) throws(DynaMoEError) -> Losses {
    try withInput(x, columns: self.input.inputs) { input throws(DynaMoEError) in
      try borrowing(classes) { targets throws(DynaMoEError) in
        try trainBatch(input, .classes(targets), weights: sampleWeight)
      }
    }
  }

  /// Trains a regression on features [T · inputs] and values [T · C]; see
  /// ``trainBatch(_:_:sampleWeight:)``.
  @discardableResult
  public func trainBatch(
    _ x: [Float], values: [Float], sampleWeight: [Float]? = nil
  ) throws(DynaMoEError) -> Losses {
    try withInput(x, columns: self.input.inputs) { input throws(DynaMoEError) in
      try borrowing(values) { targets throws(DynaMoEError) in
        try trainBatch(input, .values(targets), weights: sampleWeight)
      }
    }
  }

  /// Trains on token ids [T] and one class per row, of a language model the next token; see
  /// ``trainBatch(_:_:sampleWeight:)``.
  @discardableResult
  public func trainBatch(
    tokens ids: [Int32], classes: [Int32], sampleWeight: [Float]? = nil
  ) throws(DynaMoEError) -> Losses {
    try borrowing(ids) { ids throws(DynaMoEError) in
      try borrowing(classes) { targets throws(DynaMoEError) in
        try trainBatch(.tokens(ids), .classes(targets), weights: sampleWeight)
      }
    }
  }

  /// Loss and accuracy on features [T · inputs] and one class per row; see ``evaluate(_:_:)``.
  public func evaluate(_ x: [Float], classes: [Int32]) throws(DynaMoEError) -> Evaluation {
    try withInput(x, columns: self.input.inputs) { input throws(DynaMoEError) in
      try borrowing(classes) { targets throws(DynaMoEError) in
        try evaluate(input, .classes(targets))
      }
    }
  }

  /// Loss of a regression on features [T · inputs] and values [T · C]; see ``evaluate(_:_:)``.
  public func evaluate(_ x: [Float], values: [Float]) throws(DynaMoEError) -> Evaluation {
    try withInput(x, columns: self.input.inputs) { input throws(DynaMoEError) in
      try borrowing(values) { targets throws(DynaMoEError) in
        try evaluate(input, .values(targets))
      }
    }
  }

  /// Loss and accuracy on token ids [T] and one class per row; see ``evaluate(_:_:)``.
  public func evaluate(tokens ids: [Int32], classes: [Int32]) throws(DynaMoEError) -> Evaluation {
    try borrowing(ids) { ids throws(DynaMoEError) in
      try borrowing(classes) { targets throws(DynaMoEError) in
        try evaluate(.tokens(ids), .classes(targets))
      }
    }
  }

  /// Reports on features [T · inputs] and one class per row; see
  /// ``writeReport(_:_:options:to:)``.
  @discardableResult
  public func writeReport(
    _ x: [Float], classes: [Int32], options: ReportOptions = ReportOptions(), to path: String
  ) throws(DynaMoEError) -> Evaluation {
    try withInput(x, columns: self.input.inputs) { input throws(DynaMoEError) in
      try borrowing(classes) { targets throws(DynaMoEError) in
        try writeReport(input, .classes(targets), options: options, to: path)
      }
    }
  }

  /// Reports on a regression of features [T · inputs] to values [T · C]; see
  /// ``writeReport(_:_:options:to:)``.
  @discardableResult
  public func writeReport(
    _ x: [Float], values: [Float], options: ReportOptions = ReportOptions(), to path: String
  ) throws(DynaMoEError) -> Evaluation {
    try withInput(x, columns: self.input.inputs) { input throws(DynaMoEError) in
      try borrowing(values) { targets throws(DynaMoEError) in
        try writeReport(input, .values(targets), options: options, to: path)
      }
    }
  }

  /// Reports on token ids [T] and one class per row; see ``writeReport(_:_:options:to:)``.
  @discardableResult
  public func writeReport(
    tokens ids: [Int32], classes: [Int32], options: ReportOptions = ReportOptions(),
    to path: String
  ) throws(DynaMoEError) -> Evaluation {
    try borrowing(ids) { ids throws(DynaMoEError) in
      try borrowing(classes) { targets throws(DynaMoEError) in
        try writeReport(.tokens(ids), .classes(targets), options: options, to: path)
      }
    }
  }

  /// Sets the stored thresholds for a mean K of `targetActive [L]` on features [T · inputs]; see
  /// ``calibrate(_:targetActive:)-(Input,_)``.
  public func calibrate(_ x: [Float], targetActive: [Double]) throws(DynaMoEError) {
    try withInput(x, columns: self.input.inputs) { input throws(DynaMoEError) in
      try calibrate(input, targetActive: targetActive)
    }
  }

  /// Sets the stored thresholds for a mean K of `targetActive [L]` on token ids [T]; see
  /// ``calibrate(_:targetActive:)-(Input,_)``.
  public func calibrate(tokens ids: [Int32], targetActive: [Double]) throws(DynaMoEError) {
    try borrowing(ids) { ids throws(DynaMoEError) in
      try calibrate(.tokens(ids), targetActive: targetActive)
    }
  }

  private func trainBatch(
    _ input: Input, _ targets: Targets, weights: [Float]?
  ) throws(DynaMoEError) -> Losses {
    guard let weights else { return try trainBatch(input, targets, sampleWeight: nil) }
    return try borrowing(weights) { weights throws(DynaMoEError) in
      try trainBatch(input, targets, sampleWeight: weights)
    }
  }
}

extension Session {
  /// logits [T · C] of features [T · inputs].
  public func logits(of x: [Float]) throws(DynaMoEError) -> [Float] {
    try withInput(x, columns: inputs) { input throws(DynaMoEError) in
      try self.logits(of: input)
    }
  }

  /// logits [T · C] of token ids [T].
  public func logits(ofTokens ids: [Int32]) throws(DynaMoEError) -> [Float] {
    try borrowing(ids) { ids throws(DynaMoEError) in try self.logits(of: .tokens(ids)) }
  }

  private func logits(of input: Input) throws(DynaMoEError) -> [Float] {
    try filled(rows: input.rows, outputs: outputs) { logits throws(DynaMoEError) in
      try forward(input, into: logits)
    }
  }

  /// The class with the largest logit of each row of features [T · inputs].
  public func classes(of x: [Float]) throws(DynaMoEError) -> [Int] {
    largest(try logits(of: x), outputs: outputs)
  }

  /// Loss and accuracy on features [T · inputs] and one class per row; see ``evaluate(_:_:)``.
  public func evaluate(_ x: [Float], classes: [Int32]) throws(DynaMoEError) -> Evaluation {
    try withInput(x, columns: inputs) { input throws(DynaMoEError) in
      try borrowing(classes) { targets throws(DynaMoEError) in
        try evaluate(input, .classes(targets))
      }
    }
  }

  /// Loss of a regression on features [T · inputs] and values [T · C]; see ``evaluate(_:_:)``.
  public func evaluate(_ x: [Float], values: [Float]) throws(DynaMoEError) -> Evaluation {
    try withInput(x, columns: inputs) { input throws(DynaMoEError) in
      try borrowing(values) { targets throws(DynaMoEError) in
        try evaluate(input, .values(targets))
      }
    }
  }

  /// Loss and accuracy on token ids [T] and one class per row; see ``evaluate(_:_:)``.
  public func evaluate(tokens ids: [Int32], classes: [Int32]) throws(DynaMoEError) -> Evaluation {
    try borrowing(ids) { ids throws(DynaMoEError) in
      try borrowing(classes) { targets throws(DynaMoEError) in
        try evaluate(.tokens(ids), .classes(targets))
      }
    }
  }

  /// The routing of the latest forward in `layer`: active [T · N] and gate weights [T · N], 0 where
  /// not active.
  ///
  /// - Throws: ``DynaMoEError/state(_:)`` before any forward, ``DynaMoEError/busy(_:)``.
  public func lastRouting(
    layer: Int
  ) throws(DynaMoEError) -> (active: [Bool], weights: [Float]) {
    try copyLastRouting(layer: layer, active: nil, weights: nil)
    return try copied(count: try lastRows * expertCount(layer: layer)) {
      (active, weights) throws(DynaMoEError) in
      try self.copyLastRouting(layer: layer, active: active, weights: weights)
    }
  }
}

extension RoutedNetwork {
  /// The routing of the latest forward in `layer`: active [T · N] and gate weights [T · N], 0 where
  /// not active.
  ///
  /// - Throws: ``DynaMoEError/state(_:)`` before any forward.
  public func lastRouting(
    layer: Int
  ) throws(DynaMoEError) -> (active: [Bool], weights: [Float]) {
    try copyLastRouting(layer: layer, active: nil, weights: nil)
    return try copied(count: lastRows * expertCount(layer: layer)) {
      (active, weights) throws(DynaMoEError) in
      try self.copyLastRouting(layer: layer, active: active, weights: weights)
    }
  }
}

// MARK: - Shared

private func withInput<Result>(
  _ x: [Float], columns: Int, _ body: (Input) throws(DynaMoEError) -> Result
) throws(DynaMoEError) -> Result {
  guard x.count % columns == 0 else {
    throw .argument("x has \(x.count) values, allowed: a multiple of inputs = \(columns)")
  }
  return try borrowing(x) { x throws(DynaMoEError) in
    try body(.features(x, rows: x.count / columns))
  }
}

/// The logits [T · C] that `body` writes.
func filled(
  rows: Int, outputs: Int,
  _ body: (UnsafeMutableBufferPointer<Float>) throws(DynaMoEError) -> Void
) throws(DynaMoEError) -> [Float] {
  let (count, overflow) = rows.multipliedReportingOverflow(by: outputs)
  guard !overflow else {
    throw .argument("rows is \(rows): more logits than any memory holds")
  }
  var logits = [Float](repeating: 0, count: count)
  var failure: DynaMoEError?
  logits.withUnsafeMutableBufferPointer { logits in
    do throws(DynaMoEError) { try body(logits) } catch { failure = error }
  }
  if let failure { throw failure }
  return logits
}

/// The class with the largest logit of each row.
private func largest(_ logits: [Float], outputs: Int) -> [Int] {
  (0..<logits.count / outputs).map { row in
    var best = 0
    for output in 1..<max(outputs, 1)
    where logits[row * outputs + output] > logits[row * outputs + best] { best = output }
    return best
  }
}

/// The active sets and weights that `body` writes.
private func copied(
  count: Int,
  _ body: (
    UnsafeMutableBufferPointer<UInt8>, UnsafeMutableBufferPointer<Float>
  ) throws(DynaMoEError) -> Void
) throws(DynaMoEError) -> (active: [Bool], weights: [Float]) {
  var active = [UInt8](repeating: 0, count: count)
  var weights = [Float](repeating: 0, count: count)
  var failure: DynaMoEError?
  active.withUnsafeMutableBufferPointer { active in
    weights.withUnsafeMutableBufferPointer { weights in
      do throws(DynaMoEError) { try body(active, weights) } catch { failure = error }
    }
  }
  if let failure { throw failure }
  return (active.map { $0 != 0 }, weights)
}

/// `withUnsafeBufferPointer` with typed errors.
func borrowing<Element, Result>(
  _ array: [Element], _ body: (UnsafeBufferPointer<Element>) throws(DynaMoEError) -> Result
) throws(DynaMoEError) -> Result {
  var result: Swift.Result<Result, DynaMoEError>?
  array.withUnsafeBufferPointer { values in
    do throws(DynaMoEError) {
      result = .success(try body(values))
    } catch {
      result = .failure(error)
    }
  }
  guard let result else { throw .state("the array could not be read") }
  return try result.get()
}
