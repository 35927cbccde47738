import DynaMoEKernels

/// What a training forward through a model keeps besides its blocks, and the memory of its loss.
final class BatchPass {
  /// The rows, when their owner may take them back before the backward.
  var features = Buffer<Float>()
  var ids = Buffer<Int32>()
  /// What the first map read: those copies, or memory that is only lent until the end of a call.
  var source: RowSource?
  /// h after the last block [T, D], and its norm.
  var hidden = Buffer<Float>()
  var normalised = Buffer<Float>()
  var norm = NormPass()
  /// [T, C] of a forward whose loss comes later, else of one slice of rows.
  var logits = Buffer<Float>()
  /// dL/dlogits of a slice, and the losses of its rows.
  var logitGradient = Buffer<Float>()
  var rowLoss = Buffer<RowLoss>()
  /// dL/dh, alternately [T, D].
  var gradient = Buffer<Float>()
  var otherGradient = Buffer<Float>()
}

extension Model {
  // MARK: - Step by step

  /// logits [T, C] of a batch.
  ///
  /// With `training`: keeps what backward needs, draws noise, moves the stored thresholds; T ≥ 1;
  /// `logits` may be nil. It replaces a forward that still waits for its backward. Without: a row's
  /// result has the same bits whatever the batch it is in, and nothing changes but the statistics.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)``, ``DynaMoEError/memory(_:)``,
  ///   ``DynaMoEError/failed(_:)`` when a logit is not finite; with `training`
  ///   ``DynaMoEError/state(_:)`` of a network for evaluation only.
  public func forward(
    _ input: Input, training: Bool, into logits: UnsafeMutableBufferPointer<Float>?
  ) throws(DynaMoEError) {
    if training { try requireTraining() }
    let start = Profile.begin()
    defer { Profile.end(.call, start) }
    let rows = input.rows
    let source = training ? try checkTrainingInput(input) : try checkInput(input)
    if let logits { try checkRoom("logits", logits.count, rows: rows, columns: outputs) }
    guard training else {
      try evaluationForward(source, rows: rows, into: logits?.baseAddress, evaluation)
      return
    }
    guard let source else { return }
    try changes.beginChange()
    defer { changes.endChange() }
    trainingState = .none
    latest = .none
    try withMemory(for: "a training forward of \(rows) rows") { () throws(AllocationError) in
      try batch.logits.reserve(rows * outputs)
    }
    let kept = try keep(source, rows: rows)
    let x = try forwardBlocks(kept, rows: rows)
    let slice = head.sliceRows
    for first in stride(from: 0, to: rows, by: slice) {
      try head.forward(
        x + first * width, rows: min(slice, rows - first),
        into: batch.logits.base + first * outputs)
    }
    logits?.baseAddress?.update(from: batch.logits.base, count: rows * outputs)
    commitTrainingForward(rows: rows)
    trainingState = .pending(rows: rows)
  }

  /// Task loss and weighted auxiliary losses of the latest training forward. Changes nothing.
  ///
  /// - Throws: ``DynaMoEError/state(_:)`` without a training forward since the last backward.
  public func loss(_ targets: Targets) throws(DynaMoEError) -> Losses {
    let rows = try requirePending()
    try checkTargets(targets, rows: rows)
    var task = TaskLoss(targets, rows: rows, outputs: outputs)
    try reserveSlice(rows)
    let slice = head.sliceRows
    for first in stride(from: 0, to: rows, by: slice) {
      task.add(
        batch.logits.base + first * outputs, first: first, count: min(slice, rows - first),
        gradient: batch.logitGradient.base, rowLoss: batch.rowLoss.base, backend: backend)
    }
    return try checked(losses(task: task.mean, accuracy: task.accuracy, rows: rows))
  }

  /// Adds the gradients of the total loss of the latest training forward to the gradients.
  ///
  /// - Parameters:
  ///   - targets: of the rows of that forward.
  ///   - inputGradient: [T, inputs], overwritten with dL/dx; nil for token ids.
  /// - Throws: ``DynaMoEError/state(_:)`` without a training forward since the last backward; after
  ///   any error the forward still waits.
  public func backward(
    _ targets: Targets, inputGradient: UnsafeMutableBufferPointer<Float>? = nil
  ) throws(DynaMoEError) {
    let start = Profile.begin()
    defer { Profile.end(.call, start) }
    let rows = try requirePending()
    try checkTargets(targets, rows: rows)
    try checkInputGradient(inputGradient, rows: rows)
    try changes.beginChange()
    defer { changes.endChange() }
    try reserveSlice(rows)
    try reserveBackward(rows)
    gradientMoments?.begin(backend)
    var task = TaskLoss(targets, rows: rows, outputs: outputs)
    let slice = head.sliceRows
    for first in stride(from: 0, to: rows, by: slice) {
      let count = min(slice, rows - first)
      task.add(
        batch.logits.base + first * outputs, first: first, count: count,
        gradient: batch.logitGradient.base, rowLoss: batch.rowLoss.base, backend: backend)
      backwardHead(batch.logitGradient.base, first: first, count: count)
    }
    backwardAll(rows: rows, inputGradient: inputGradient?.baseAddress)
  }

  /// Adds the gradients of a loss of your own to the gradients, from its dL/dlogits; those of the
  /// weighted auxiliary losses are added too.
  ///
  /// - Parameters:
  ///   - outputGradient: dL/dlogits [T, C] of the rows of the latest training forward, finite.
  ///   - inputGradient: [T, inputs], overwritten with dL/dx; nil for token ids.
  /// - Throws: as ``backward(_:inputGradient:)``.
  public func backward(
    outputGradient: UnsafeBufferPointer<Float>,
    inputGradient: UnsafeMutableBufferPointer<Float>? = nil
  ) throws(DynaMoEError) {
    let start = Profile.begin()
    defer { Profile.end(.call, start) }
    let rows = try requirePending()
    let base = try checkGradient(outputGradient, rows: rows, columns: outputs, backend: backend)
    try checkInputGradient(inputGradient, rows: rows)
    try changes.beginChange()
    defer { changes.endChange() }
    try reserveBackward(rows)
    gradientMoments?.begin(backend)
    let slice = head.sliceRows
    for first in stride(from: 0, to: rows, by: slice) {
      backwardHead(base + first * outputs, first: first, count: min(slice, rows - first))
    }
    backwardAll(rows: rows, inputGradient: inputGradient?.baseAddress)
  }

  private func backwardAll(rows: Int, inputGradient: UnsafeMutablePointer<Float>?) {
    let gradient = backwardBlocks(rows: rows, inputGradient: inputGradient)
    weightGradients(rows: rows, outputGradient: gradient, .add)
    gradientMoments?.end(backend)
    trainingState = .finished(rows: rows)
  }

  // MARK: - At once

  /// Gradients from zero, forward, loss, backward and step in one call. Leaves the gradients
  /// unspecified.
  ///
  /// After the largest T so far no memory is allocated.
  ///
  /// - Parameters:
  ///   - input: T ≥ 1 rows.
  ///   - targets: one per row.
  ///   - sampleWeight: [T], at least 0 and not all 0: the task's loss is then Σwℓ/Σw; routing
  ///     ignores it.
  /// - Returns: the losses of the batch before the step.
  /// - Throws: ``DynaMoEError/argument(_:)``, ``DynaMoEError/memory(_:)``,
  ///   ``DynaMoEError/failed(_:)`` when logits, loss or a gradient are not finite; then nothing was
  ///   changed. ``DynaMoEError/state(_:)`` of a network for evaluation only.
  @discardableResult
  public func trainBatch(
    _ input: Input, _ targets: Targets, sampleWeight: UnsafeBufferPointer<Float>? = nil
  ) throws(DynaMoEError) -> Losses {
    try requireTraining()
    let start = Profile.begin()
    defer { Profile.end(.call, start) }
    let rows = input.rows
    let source = try checkTrainingInput(input)
    try checkTargets(targets, rows: rows)
    try checkSampleWeight(sampleWeight, rows: rows)
    let rate = try storage.optimizer.learningRate(override: nil)
    try changes.beginChange()
    defer { changes.endChange() }
    trainingState = .none
    latest = .none
    try reserveSlice(rows)
    batch.source = source
    let x = try forwardBlocks(source, rows: rows)
    try reserveBackward(rows)
    var task = TaskLoss(targets, rows: rows, outputs: outputs, sampleWeight: sampleWeight)
    let slice = head.sliceRows
    let separates = canSeparate(rows: rows)
    for first in stride(from: 0, to: rows, by: slice) {
      let count = min(slice, rows - first)
      let logits = batch.logitGradient.base
      try head.forward(x + first * width, rows: count, into: logits)
      task.add(
        logits, first: first, count: count, gradient: logits, rowLoss: batch.rowLoss.base,
        backend: backend)
      guard task.mean.isFinite else { throw nonFiniteLoss() }
      if first == 0 {
        storage.optimizer.zeroOtherGradients()
        if !separates { storage.optimizer.zeroSeparateGradients() }
        gradientMoments?.reset()
        gradientMoments?.begin(backend)
      }
      if separates && head.separateRange != nil {
        head.backward(rows: count, outputGradient: logits, into: batch.gradient.base)
      } else {
        backwardHead(logits, first: first, count: count)
      }
    }
    let losses = try checked(losses(task: task.mean, accuracy: task.accuracy, rows: rows))
    let gradient = backwardBlocks(rows: rows, inputGradient: nil)
    let fits = separates && Optimizer.allows(gradientBound(rows: rows, outputGradient: gradient))
    if separates && !fits { storage.optimizer.zeroSeparateGradients() }
    try step(rate, separately: fits) { use in
      if separates && head.separateRange != nil { headWeightGradients(rows: rows, use) }
      weightGradients(rows: rows, outputGradient: gradient, use)
    } commit: {
      commitTrainingForward(rows: rows)
      trainingState = .finished(rows: rows)
    }
    return losses
  }

  /// Whether the step of the matrices may follow at once on each gradient, that of the head too.
  private func canSeparate(rows: Int) -> Bool {
    canSeparate && (head.separateRange == nil || rows <= head.sliceRows)
  }

  // MARK: - Parts

  /// From the rows to what the head reads [T, D].
  private func forwardBlocks(
    _ source: RowSource, rows: Int
  ) throws(DynaMoEError) -> UnsafePointer<Float> {
    let count = rows * width
    let x = try withMemory(for: "a training forward of \(rows) rows") {
      () throws(AllocationError) in
      for pass in passes { try pass.input.reserve(count) }
      try batch.hidden.reserve(count)
      input.forward(source, rows: rows, into: passes[0].input.base)
      for index in blocks.indices {
        let next =
          index + 1 < blocks.count ? passes[index + 1].input.base : batch.hidden.base
        try blocks[index].forward(rows: rows, training: moment, into: next, passes[index])
      }
      try batch.normalised.reserve(count)
      return try head.norm.normalise(
        batch.hidden.base, rows: rows, into: batch.normalised.base, &batch.norm)
    }
    for index in blocks.indices { try layers[index].checkFinite(trainingPasses[index]) }
    return x
  }

  /// What the head read in the latest forward.
  private var headInput: UnsafePointer<Float> {
    UnsafePointer(head.norm == nil ? batch.hidden.base : batch.normalised.base)
  }

  /// dL/d(head's input) of some rows, into `batch.gradient`, and the head's own gradients.
  private func backwardHead(_ outputGradient: UnsafePointer<Float>, first: Int, count: Int) {
    head.backward(
      rows: count, outputGradient: outputGradient, into: batch.gradient.base + first * width)
    head.weightGradients(
      headInput + first * width, rows: count, outputGradient: outputGradient)
  }

  /// The head's own gradients, of the only slice of rows.
  private func headWeightGradients(rows: Int, _ use: GradientUse) {
    head.weightGradients(
      headInput, rows: rows, outputGradient: batch.logitGradient.base, use)
  }

  /// From dL/d(head's input) in `batch.gradient` to the first map, but for the gradients of experts
  /// and input projection. Returns dL/d(result of the first map).
  private func backwardBlocks(
    rows: Int, inputGradient: UnsafeMutablePointer<Float>?
  ) -> UnsafePointer<Float> {
    var gradient = batch.gradient.base
    var other = batch.otherGradient.base
    if let norm = head.norm {
      norm.backward(
        batch.hidden.base, rows: rows, outputGradient: gradient, batch.norm,
        normalised: scratch.normalised.base, into: other)
      swap(&gradient, &other)
    }
    for index in blocks.indices.reversed() {
      blocks[index].backward(
        rows: rows, outputGradient: gradient, losses: storage.losses, passes[index], scratch,
        into: other)
      swap(&gradient, &other)
    }
    if let source = batch.source {
      input.backward(source, rows: rows, outputGradient: gradient, into: inputGradient)
    }
    return UnsafePointer(gradient)
  }

  /// The gradients that `backwardBlocks` leaves out.
  private func weightGradients(
    rows: Int, outputGradient: UnsafePointer<Float>, _ use: GradientUse
  ) {
    for index in blocks.indices.reversed() { blocks[index].weightGradients(passes[index], use) }
    if let source = batch.source {
      input.weightGradients(source, rows: rows, outputGradient: outputGradient, use)
    }
  }

  /// None of them, nor of the head's own when its step is separate, is larger.
  private func gradientBound(rows: Int, outputGradient: UnsafePointer<Float>) -> Double {
    let start = Profile.begin()
    defer { Profile.end(.check, start) }
    var bound = 0.0
    if head.separateRange != nil {
      bound = DynaMoE.gradientBound(
        rows: rows, backend.largestMagnitude(batch.logitGradient.base, rows * outputs),
        backend.largestMagnitude(headInput, rows * width))
    }
    for index in blocks.indices {
      bound = max(bound, blocks[index].gradientBound(rows: rows, passes[index]))
    }
    if let source = batch.source {
      bound = max(
        bound, input.gradientBound(source, rows: rows, outputGradient: outputGradient))
    }
    return bound
  }

  /// Copies the rows: their owner may change them before the backward.
  private func keep(_ source: RowSource, rows: Int) throws(DynaMoEError) -> RowSource {
    let kept = try withMemory(for: "a copy of \(rows) rows") {
      () throws(AllocationError) -> RowSource in
      switch source {
      case .features(let x):
        let count = rows * input.inputs
        try batch.features.reserve(count)
        batch.features.base.update(from: x, count: count)
        return .features(batch.features.base)
      case .tokens(let ids):
        try batch.ids.reserve(rows)
        batch.ids.base.update(from: ids, count: rows)
        return .tokens(batch.ids.base)
      }
    }
    batch.source = kept
    return kept
  }

  private func reserveSlice(_ rows: Int) throws(DynaMoEError) {
    let slice = head.largestSlice(rows)
    try withMemory(for: "the losses of \(slice) rows") { () throws(AllocationError) in
      try batch.logitGradient.reserve(slice * outputs)
      try batch.rowLoss.reserve(slice)
    }
  }

  private func reserveBackward(_ rows: Int) throws(DynaMoEError) {
    try withMemory(for: "a backward of \(rows) rows") { () throws(AllocationError) in
      try batch.gradient.reserve(rows * width)
      try batch.otherGradient.reserve(rows * width)
      for index in blocks.indices {
        try blocks[index].reserve(scratch, rows: rows, passes[index])
      }
    }
  }

  // MARK: - Checks

  private func checked(_ losses: Losses) throws(DynaMoEError) -> Losses {
    guard losses.total.isFinite else { throw nonFiniteLoss() }
    return losses
  }

  private func nonFiniteLoss() -> DynaMoEError {
    .failed("the loss is not finite; nothing was changed")
  }

  private func checkInputGradient(
    _ inputGradient: UnsafeMutableBufferPointer<Float>?, rows: Int
  ) throws(DynaMoEError) {
    guard let inputGradient else { return }
    guard configuration.inputs != nil else {
      throw .argument("input_gradient is given to a model of token ids, allowed: none")
    }
    try checkRoom("input_gradient", inputGradient.count, rows: rows, columns: input.inputs)
  }
}

/// Refuses an array that is smaller than [rows, columns].
func checkRoom(
  _ name: String, _ count: Int, rows: Int, columns: Int
) throws(DynaMoEError) {
  guard count >= rows * columns else {
    throw .argument(
      "\(name) has room for \(count) values, allowed: at least rows * columns = \(rows) * \(columns) = \(rows * columns)"
    )
  }
}

/// dL/dy [rows, columns], of the right size and finite.
func checkGradient(
  _ gradient: UnsafeBufferPointer<Float>, rows: Int, columns: Int, backend: Backend
) throws(DynaMoEError) -> UnsafePointer<Float> {
  guard gradient.count == rows * columns, let base = gradient.baseAddress else {
    throw .argument(
      "output_gradient has \(gradient.count) values, allowed: rows * columns = \(rows) * \(columns) = \(rows * columns)"
    )
  }
  guard backend.isFinite(base, gradient.count) else {
    let bad = gradient.firstIndex { !$0.isFinite } ?? 0
    throw .argument(
      "output_gradient[\(bad / columns), \(bad % columns)] is \(gradient[bad]), allowed: finite numbers"
    )
  }
  return base
}
