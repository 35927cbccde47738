import DynaMoEKernels

#if canImport(Glibc)
  import Glibc
#else
  import Musl
#endif

/// Memory of evaluations, which run in chunks of rows.
final class EvaluationPass {
  /// Rows of a chunk: enough for the products, few enough for the memory of any number of rows to
  /// stay bounded.
  static let chunkRows = 4096

  /// h [chunk, D], overwritten by each block.
  var hidden = Buffer<Float>()
  var normalised = Buffer<Float>()
  var norm = NormPass()
  var active = Buffer<UInt8>()
  var weights = Buffer<Float>()
}

/// The result of an evaluation.
public struct Evaluation: Equatable, Sendable {
  /// The task's loss over the rows that count, 0 without any.
  public var loss: Double
  /// Share of the rows that count whose largest logit is the target's; nil for regression and
  /// without such rows.
  public var accuracy: Double?
  /// 1 - Σ(y - ŷ)²/Σ(y - ȳ)² of each output, averaged; an output that is constant counts 1 when met
  /// exactly, else 0. Nil for other tasks and for fewer than two rows.
  public var r2: Double?
  /// exp(loss) of a language model.
  public var perplexity: Double?
  /// Rows with a target that counts.
  public var countedRows: Int
  /// Mean K of these rows in each layer.
  public var meanActive: [Double]
}

extension Model {
  /// Loss and accuracy of any number of rows. Changes nothing but the statistics.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)``, ``DynaMoEError/memory(_:)``,
  ///   ``DynaMoEError/failed(_:)`` when a logit or the loss is not finite.
  public func evaluate(_ input: Input, _ targets: Targets) throws(DynaMoEError) -> Evaluation {
    try evaluate(input, targets, counting: nil) { _ throws(DynaMoEError) in }
  }

  /// The same; `counts` also counts, and `finish` comes before the statistics, which stay as they
  /// were when it throws.
  func evaluate(
    _ input: Input, _ targets: Targets, counting counts: ReportCounts?,
    finish: (Evaluation) throws(DynaMoEError) -> Void
  ) throws(DynaMoEError) -> Evaluation {
    let start = Profile.begin()
    defer { Profile.end(.call, start) }
    let rows = input.rows
    let source = try checkInput(input)
    try checkTargets(targets, rows: rows)
    var task = TaskLoss(targets, rows: rows, outputs: outputs)
    var explained = ExplainedVariance(targets, rows: rows, outputs: outputs)
    let slice = head.largestSlice(min(rows, EvaluationPass.chunkRows))
    try withMemory(for: "the logits of \(slice) rows") { () throws(AllocationError) in
      try batch.logitGradient.reserve(slice * outputs)
      try batch.rowLoss.reserve(slice)
    }
    for layer in layers { layer.beginEvaluation() }
    if let source {
      for first in stride(from: 0, to: rows, by: EvaluationPass.chunkRows) {
        let count = min(EvaluationPass.chunkRows, rows - first)
        let x = try evaluateBlocks(
          source.advanced(first, inputs: self.input.inputs), rows: count, firstRow: nil
        ) { layer, pass in counts?.add(layer: layer, first: first, pass) }
        for start in stride(from: 0, to: count, by: slice) {
          let part = min(slice, count - start)
          let logits = batch.logitGradient.base
          try head.forward(x + start * width, rows: part, into: logits)
          explained?.add(logits, first: first + start, count: part)
          task.add(
            logits, first: first + start, count: part, gradient: logits,
            rowLoss: batch.rowLoss.base, backend: backend)
          counts?.add(first: first + start, count: part, batch.rowLoss.base)
        }
      }
    }
    guard task.mean.isFinite else {
      throw .failed("the loss of the evaluation is not finite")
    }
    let means = layers.map { $0.pendingCounters.meanActive ?? 0 }
    let evaluation = Evaluation(
      loss: task.mean, accuracy: task.countedRows > 0 ? task.accuracy : nil,
      r2: explained?.value,
      perplexity: configuration.task == .languageModel ? exp(task.mean) : nil,
      countedRows: task.countedRows, meanActive: means)
    try finish(evaluation)
    for layer in layers { layer.commitEvaluation() }
    return evaluation
  }

  /// Logits of any number of rows; the routing of all rows is recorded.
  func evaluationForward(
    _ source: RowSource?, rows: Int, into logits: UnsafeMutablePointer<Float>?
  ) throws(DynaMoEError) {
    guard let source else {
      latest = .evaluation(rows: 0)
      return
    }
    let slice = head.largestSlice(min(rows, EvaluationPass.chunkRows))
    try withMemory(for: "the logits of \(slice) rows") { () throws(AllocationError) in
      if logits == nil { try batch.logitGradient.reserve(slice * outputs) }
    }
    latest = .none
    try withMemory(for: "the routing of \(rows) rows") { () throws(AllocationError) in
      for record in evaluationRecords { try record.reserve(rows: rows) }
    }
    for layer in layers { layer.beginEvaluation() }
    for first in stride(from: 0, to: rows, by: EvaluationPass.chunkRows) {
      let count = min(EvaluationPass.chunkRows, rows - first)
      let x = try evaluateBlocks(
        source.advanced(first, inputs: input.inputs), rows: count, firstRow: first)
      for start in stride(from: 0, to: count, by: slice) {
        try head.forward(
          x + start * width, rows: min(slice, count - start),
          into: logits.map { $0 + (first + start) * outputs } ?? batch.logitGradient.base)
      }
    }
    for layer in layers { layer.commitEvaluation() }
    latest = .evaluation(rows: rows)
  }

  /// What the head reads of one chunk; its routing goes to the records from `firstRow` on, or
  /// nowhere.
  private func evaluateBlocks(
    _ source: RowSource, rows: Int, firstRow: Int?,
    afterLayer: (Int, LayerPass) -> Void = { _, _ in }
  ) throws(DynaMoEError) -> UnsafePointer<Float> {
    try withMemory(for: "an evaluation of \(rows) rows") { () throws(AllocationError) in
      try evaluation.reserve(rows: rows, width: width, experts: mostExperts)
    }
    let h = evaluation.hidden.base
    input.forward(source, rows: rows, into: h)
    for index in blocks.indices {
      try withMemory(for: "an evaluation of \(rows) rows") { () throws(AllocationError) in
        try evaluateBlock(index, h, rows: rows, firstRow: firstRow)
      }
      try layers[index].checkFinite(evaluationPass)
      layers[index].countEvaluation(
        evaluationPass, weights: routing(index, firstRow: firstRow).weights)
      afterLayer(index, evaluationPass)
    }
    return try withMemory(for: "an evaluation of \(rows) rows") { () throws(AllocationError) in
      try head.norm.normalise(h, rows: rows, into: evaluation.normalised.base, &evaluation.norm)
    }
  }

  /// One block over h in place.
  func evaluateBlock(
    _ index: Int, _ h: UnsafeMutablePointer<Float>, rows: Int, firstRow: Int?
  ) throws(AllocationError) {
    let (active, weights) = routing(index, firstRow: firstRow)
    try blocks[index].evaluate(
      h, rows: rows, normalised: evaluation.normalised.base, norm: &evaluation.norm,
      evaluationPass, active: active, weights: weights)
  }

  private func routing(
    _ index: Int, firstRow: Int?
  ) -> (active: UnsafeMutablePointer<UInt8>, weights: UnsafeMutablePointer<Float>) {
    guard let firstRow else { return (evaluation.active.base, evaluation.weights.base) }
    let record = evaluationRecords[index]
    let offset = firstRow * record.experts
    return (record.active + offset, record.weights + offset)
  }

  var mostExperts: Int { layers.reduce(0) { max($0, $1.expertCount) } }
}

extension EvaluationPass {
  func reserve(rows: Int, width: Int, experts: Int) throws(AllocationError) {
    try hidden.reserve(rows * width)
    try normalised.reserve(rows * width)
    try active.reserve(rows * experts)
    try weights.reserve(rows * experts)
  }
}
