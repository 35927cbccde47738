import DynaMoEKernels

#if canImport(Glibc)
  import Glibc
#else
  import Musl
#endif

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
    try evaluate(input, targets, evaluation)
  }

  /// The same with the memory and the statistics of `pass`; `counts` also counts, and `finish`
  /// comes before the statistics, which stay as they were when it throws.
  func evaluate(
    _ input: Input, _ targets: Targets, _ pass: EvaluationPass,
    counting counts: ReportCounts? = nil,
    finish: (Evaluation) throws(DynaMoEError) -> Void = { _ throws(DynaMoEError) in }
  ) throws(DynaMoEError) -> Evaluation {
    let start = Profile.begin()
    defer { Profile.end(.call, start) }
    let rows = input.rows
    let source = try checkInput(input)
    try checkTargets(targets, rows: rows)
    var task = TaskLoss(targets, rows: rows, outputs: outputs)
    var explained = ExplainedVariance(targets, rows: rows, outputs: outputs)
    let slice = head.largestSlice(min(rows, pass.chunkRows))
    try withMemory(for: "the logits of \(slice) rows") { () throws(AllocationError) in
      try pass.batch.logitGradient.reserve(slice * outputs)
      try pass.batch.rowLoss.reserve(slice)
    }
    for layer in pass.statistics { layer.beginEvaluation() }
    if let source {
      for first in stride(from: 0, to: rows, by: pass.chunkRows) {
        let count = min(pass.chunkRows, rows - first)
        let x = try evaluateBlocks(
          source.advanced(first, inputs: self.input.inputs), rows: count, firstRow: nil, pass
        ) { layer, pass in counts?.add(layer: layer, first: first, pass) }
        for start in stride(from: 0, to: count, by: slice) {
          let part = min(slice, count - start)
          let logits = pass.batch.logitGradient.base
          try head.forward(x + start * width, rows: part, into: logits)
          explained?.add(logits, first: first + start, count: part)
          task.add(
            logits, first: first + start, count: part, gradient: logits,
            rowLoss: pass.batch.rowLoss.base, backend: backend)
          counts?.add(first: first + start, count: part, pass.batch.rowLoss.base)
        }
      }
    }
    guard task.mean.isFinite else {
      throw .failed("the loss of the evaluation is not finite")
    }
    let means = pass.statistics.map { $0.pendingCounters.meanActive ?? 0 }
    let evaluation = Evaluation(
      loss: task.mean, accuracy: task.countedRows > 0 ? task.accuracy : nil,
      r2: explained?.value,
      perplexity: configuration.task == .languageModel ? exp(task.mean) : nil,
      countedRows: task.countedRows, meanActive: means)
    try finish(evaluation)
    for layer in pass.statistics { layer.commitEvaluation() }
    return evaluation
  }

  /// Logits of any number of rows; the routing of all rows is recorded in `pass`.
  func evaluationForward(
    _ source: RowSource?, rows: Int, into logits: UnsafeMutablePointer<Float>?,
    _ pass: EvaluationPass
  ) throws(DynaMoEError) {
    guard let source else {
      pass.latest = .evaluation(rows: 0)
      return
    }
    let slice = head.largestSlice(min(rows, pass.chunkRows))
    try withMemory(for: "the logits of \(slice) rows") { () throws(AllocationError) in
      if logits == nil { try pass.batch.logitGradient.reserve(slice * outputs) }
    }
    pass.latest = .none
    try withMemory(for: "the routing of \(rows) rows") { () throws(AllocationError) in
      for record in pass.records { try record.reserve(rows: rows) }
    }
    for layer in pass.statistics { layer.beginEvaluation() }
    for first in stride(from: 0, to: rows, by: pass.chunkRows) {
      let count = min(pass.chunkRows, rows - first)
      let x = try evaluateBlocks(
        source.advanced(first, inputs: input.inputs), rows: count, firstRow: first, pass)
      for start in stride(from: 0, to: count, by: slice) {
        try head.forward(
          x + start * width, rows: min(slice, count - start),
          into: logits.map { $0 + (first + start) * outputs } ?? pass.batch.logitGradient.base)
      }
    }
    for layer in pass.statistics { layer.commitEvaluation() }
    pass.latest = .evaluation(rows: rows)
  }

  /// What the head reads of one chunk; its routing goes to the records from `firstRow` on, or
  /// nowhere.
  private func evaluateBlocks(
    _ source: RowSource, rows: Int, firstRow: Int?, _ pass: EvaluationPass,
    afterLayer: (Int, LayerPass) -> Void = { _, _ in }
  ) throws(DynaMoEError) -> UnsafePointer<Float> {
    try withMemory(for: "an evaluation of \(rows) rows") { () throws(AllocationError) in
      try pass.reserve(rows: rows, width: width, experts: mostExperts)
    }
    let h = pass.hidden.base
    input.forward(source, rows: rows, into: h)
    for index in blocks.indices {
      try withMemory(for: "an evaluation of \(rows) rows") { () throws(AllocationError) in
        try evaluateBlock(index, h, rows: rows, firstRow: firstRow, pass)
      }
      try layers[index].checkFinite(pass.layer)
      pass.statistics[index].countEvaluation(
        pass.layer, weights: pass.routing(layer: index, firstRow: firstRow).weights)
      afterLayer(index, pass.layer)
    }
    return try withMemory(for: "an evaluation of \(rows) rows") { () throws(AllocationError) in
      try head.norm.normalise(h, rows: rows, into: pass.normalised.base, &pass.norm)
    }
  }

  /// One block over h in place.
  func evaluateBlock(
    _ index: Int, _ h: UnsafeMutablePointer<Float>, rows: Int, firstRow: Int?,
    _ pass: EvaluationPass
  ) throws(AllocationError) {
    let (active, weights) = pass.routing(layer: index, firstRow: firstRow)
    try blocks[index].evaluate(h, rows: rows, pass, active: active, weights: weights)
  }

  var mostExperts: Int { layers.reduce(0) { max($0, $1.expertCount) } }
}
