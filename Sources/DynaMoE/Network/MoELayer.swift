import DynaMoEKernels

/// A single layer to drive by hand: y = Σ w·E(x) over the active experts, plus the shared ones. No
/// norm, no residual.
///
///     let layer = try MoELayer(LayerConfiguration(width: 64, experts: 8, router: .topK(2)))
///
/// T rows, D width. Parameter names have no `layers.0.`. The auxiliary losses of the configuration
/// count, though there is no task.
public final class MoELayer: RoutedNetwork {
  /// As it was given.
  public let configuration: LayerConfiguration

  private let layer: RoutedLayer
  private let pass: LayerPass
  private let record: RoutingRecord
  private let scratch = LayerScratch()
  private var input = Buffer<Float>()

  /// A layer with weights drawn from `seed`: the same seed and configuration give the same bits.
  public convenience init(
    _ configuration: LayerConfiguration, seed: UInt64 = 0
  ) throws(DynaMoEError) {
    try self.init(configuration, configuration.resolved().0, seed: seed, origin: .seed)
  }

  private init(
    _ configuration: LayerConfiguration, _ resolved: ResolvedLayer, seed: UInt64,
    origin: NetworkStorage.Origin
  ) throws(DynaMoEError) {
    let storage = try NetworkStorage(
      kind: .layer, configurationJSON: configuration.json, losses: configuration.losses,
      optimizer: configuration.optimizer, seed: seed, layers: [resolved],
      parameters: Self.parameters(configuration, resolved),
      buffers: TensorNames.layerBuffers(resolved, prefix: ""), origin: origin)
    self.configuration = configuration
    layer = try RoutedLayer(
      resolved, index: 0, width: configuration.width, sharedExperts: configuration.sharedExperts,
      activation: configuration.activation, prefix: "", parameters: storage.parameters,
      buffers: storage.buffers, matrices: storage.matrices)
    pass = LayerPass()
    record = RoutingRecord(experts: resolved.experts)
    super.init(storage, layers: [layer], passes: [pass], records: [record])
    storage.optimizer.separate(layer.weightRanges)
  }

  /// The layer of a file that ``RoutedNetwork/save(to:)`` wrote.
  ///
  /// - Parameters:
  ///   - path: of a safetensors file.
  ///   - precision: ``Precision/bfloat16``: for evaluation only, as of a ``Model``.
  /// - Throws: ``DynaMoEError/file(_:)``, ``DynaMoEError/format(_:)`` for truncated, damaged and
  ///   foreign files, also for the file of a model.
  public convenience init(
    contentsOf path: String, precision: Precision = .float32
  ) throws(DynaMoEError) {
    let file = try NetworkFile(path: path, kind: .layer)
    let configuration = try file.parsed { (json) throws(DynaMoEError) in
      try LayerConfiguration(json: json)
    }
    let resolved = try configuration.resolved().0
    try file.check(
      Self.parameters(configuration, resolved) + TensorNames.layerBuffers(resolved, prefix: ""))
    try self.init(configuration, resolved, seed: file.seed, origin: .file(precision))
    try file.load(into: self)
  }

  private static func parameters(
    _ configuration: LayerConfiguration, _ layer: ResolvedLayer
  ) -> [TensorSpecification] {
    TensorNames.layerParameters(
      layer, width: configuration.width, sharedExperts: configuration.sharedExperts,
      activation: configuration.activation, bias: configuration.bias, prefix: "")
  }

  private var width: Int { configuration.width }

  // MARK: - Forward

  /// y [T, D] of x [T, D]. With `training` as ``Model/forward(_:training:into:)``.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)``, ``DynaMoEError/memory(_:)``,
  ///   ``DynaMoEError/failed(_:)`` when a y is not finite.
  public func forward(
    _ x: UnsafeBufferPointer<Float>, rows: Int, training: Bool,
    into y: UnsafeMutableBufferPointer<Float>
  ) throws(DynaMoEError) {
    if training { try requireTraining() }
    let start = Profile.begin()
    defer { Profile.end(.call, start) }
    let source = try check(x, rows: rows)
    try checkRoom("y", y.count, rows: rows, columns: width)
    guard let source, let destination = y.baseAddress else {
      guard !training else { throw .argument("rows is 0, allowed in training: at least 1") }
      latest = .evaluation(rows: 0)
      return
    }
    guard training else {
      try evaluate(source, rows: rows, into: destination)
      return
    }
    trainingState = .none
    latest = .none
    try withMemory(for: "a training forward of \(rows) rows") { () throws(AllocationError) in
      try input.reserve(rows * width)
      input.base.update(from: source, count: rows * width)
      try record.reserve(rows: rows)
      try layer.forward(
        input.base, rows: rows, training: moment, base: nil, into: destination, pass,
        moments: layer.statistics.pendingInputMoments,
        active: record.active, weights: record.weights)
    }
    try layer.checkFinite(pass)
    try checkFinite(destination, rows: rows)
    commitTrainingForward(rows: rows)
    trainingState = .pending(rows: rows)
  }

  private func evaluate(
    _ x: UnsafePointer<Float>, rows: Int, into y: UnsafeMutablePointer<Float>
  ) throws(DynaMoEError) {
    let record = evaluation.records[0]
    latest = .none
    layer.statistics.beginEvaluation()
    try withMemory(for: "the routing of \(rows) rows") { () throws(AllocationError) in
      try record.reserve(rows: rows)
    }
    for first in stride(from: 0, to: rows, by: evaluation.chunkRows) {
      let count = min(evaluation.chunkRows, rows - first)
      let weights = record.weights + first * record.experts
      try withMemory(for: "an evaluation of \(count) rows") { () throws(AllocationError) in
        try layer.forward(
          x + first * width, rows: count, training: nil, base: nil, into: y + first * width,
          evaluation.layer, moments: layer.statistics.pendingInputMoments,
          active: record.active + first * record.experts, weights: weights)
      }
      try layer.checkFinite(evaluation.layer)
      layer.statistics.countEvaluation(evaluation.layer, weights: weights)
    }
    try checkFinite(y, rows: rows)
    layer.statistics.commitEvaluation()
    latest = .evaluation(rows: rows)
  }

  // MARK: - Loss and backward

  /// The weighted auxiliary losses of the latest training forward; `task` is 0.
  ///
  /// - Throws: ``DynaMoEError/state(_:)`` before any training forward.
  public func losses() throws(DynaMoEError) -> Losses {
    losses(task: 0, accuracy: nil, rows: try requireTrainingForward())
  }

  /// From dL/dy [T, D], to which the gradients of the weighted auxiliary losses are added: adds to
  /// the gradients.
  ///
  /// - Parameters:
  ///   - outputGradient: dL/dy [T, D] of the rows of the latest training forward, finite.
  ///   - inputGradient: [T, D], overwritten with dL/dx.
  /// - Throws: ``DynaMoEError/state(_:)`` without a training forward since the last backward; after
  ///   any error the forward still waits.
  public func backward(
    _ outputGradient: UnsafeBufferPointer<Float>,
    inputGradient: UnsafeMutableBufferPointer<Float>? = nil
  ) throws(DynaMoEError) {
    let start = Profile.begin()
    defer { Profile.end(.call, start) }
    let dy = try prepareBackward(outputGradient, inputGradient)
    backward(dy, inputGradient)
    layer.weightGradients(input.base, pass, .add)
    gradientMoments?.end(backend)
  }

  /// ``RoutedNetwork/zeroGradients()``, ``backward(_:inputGradient:)`` and ``RoutedNetwork/step(learningRate:)`` in one call,
  /// with the same bits. Leaves the gradients unspecified, also when it fails.
  ///
  /// Without `clip`, and unless the gradient variance is measured, each part of a matrix makes its step as soon as its gradient is
  /// known: weights and the optimizer's state are read and written once.
  ///
  /// - Parameters:
  ///   - outputGradient: dL/dy [T, D] of the rows of the latest training forward, finite.
  ///   - inputGradient: [T, D], overwritten with dL/dx.
  ///   - learningRate: 0 to 1e6; nil: the configured one of this step.
  /// - Throws: as the three; ``DynaMoEError/failed(_:)`` when a gradient is not finite or above 1e18: no parameter was changed, but
  ///   the forward has had its backward.
  public func backwardStep(
    _ outputGradient: UnsafeBufferPointer<Float>,
    inputGradient: UnsafeMutableBufferPointer<Float>? = nil, learningRate: Double? = nil
  ) throws(DynaMoEError) {
    let start = Profile.begin()
    defer { Profile.end(.call, start) }
    let dy = try prepareBackward(outputGradient, inputGradient)
    let rate = try storage.optimizer.learningRate(override: learningRate)
    storage.optimizer.zeroOtherGradients()
    gradientMoments?.reset()
    backward(dy, inputGradient)
    let fits =
      canSeparate && Optimizer.allows(layer.gradientBound(input.base, rows: dy.rows, pass))
    if !fits { storage.optimizer.zeroSeparateGradients() }
    try step(rate, separately: fits) { use in
      layer.weightGradients(input.base, pass, use)
    }
  }

  /// dL/dy [T, D] of the latest training forward.
  private struct OutputGradient {
    let values: UnsafePointer<Float>
    let rows: Int
  }

  /// Everything in a backward that can fail.
  private func prepareBackward(
    _ outputGradient: UnsafeBufferPointer<Float>,
    _ inputGradient: UnsafeMutableBufferPointer<Float>?
  ) throws(DynaMoEError) -> OutputGradient {
    let rows = try requirePending()
    let dy = try checkGradient(outputGradient, rows: rows, columns: width, backend: backend)
    if let inputGradient {
      try checkRoom("input_gradient", inputGradient.count, rows: rows, columns: width)
    }
    try withMemory(for: "a backward of \(rows) rows") { () throws(AllocationError) in
      try layer.reserve(scratch, rows: rows, pass)
    }
    return OutputGradient(values: dy, rows: rows)
  }

  /// All of a backward but the gradients of the experts.
  private func backward(
    _ dy: OutputGradient, _ inputGradient: UnsafeMutableBufferPointer<Float>?
  ) {
    gradientMoments?.begin(backend)
    layer.backward(
      input.base, rows: dy.rows, outputGradient: dy.values, losses: storage.losses, pass, record,
      scratch, into: inputGradient?.baseAddress)
    trainingState = .finished(rows: dy.rows)
  }

  // MARK: - Calibration

  /// Sets the stored thresholds so that x [T, D] routes with a mean K of `targetActive`; later
  /// training moves them on.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)`` for a router without stored thresholds, a target
  ///   outside `minActive` to `min(N, maxActive)`, T = 0.
  public func calibrate(
    _ x: UnsafeBufferPointer<Float>, rows: Int, targetActive: Double
  ) throws(DynaMoEError) {
    let source = try check(x, rows: rows)
    try checkCalibration([targetActive])
    guard let source else { throw .argument("rows is 0, allowed to calibrate: at least 1") }
    try withMemory(for: "a calibration on \(rows) rows") { () throws(AllocationError) in
      let scores = try SelectionScores(rows: rows, experts: layer.expertCount)
      try scores.fill(source, rows: rows, layer.router, &evaluation.layer.routing)
      guard evaluation.layer.routing.isFinite else { return }
      try layer.router.calibrate(scores, rows: rows, targetActive: targetActive)
    }
    try layer.checkFinite(evaluation.layer)
  }

  // MARK: - Checks

  private func check(
    _ x: UnsafeBufferPointer<Float>, rows: Int
  ) throws(DynaMoEError) -> UnsafePointer<Float>? {
    let source = try checkFeatures(
      x, rows: rows, columns: width, name: "width", backend: backend)
    try checkRows(rows, sharedExperts: configuration.sharedExperts)
    return source
  }

  private func checkFinite(_ y: UnsafePointer<Float>, rows: Int) throws(DynaMoEError) {
    guard backend.isFinite(y, rows * width) else {
      throw .failed(
        "y is not finite: parameters or input have grown too large; nothing was changed")
    }
  }
}
