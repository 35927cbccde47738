import DynaMoEKernels

/// What ``Model`` and ``MoELayer`` have in common: parameters, optimizer, routing and files.
///
/// A call that throws leaves parameters, buffers, optimizer state, counts and statistics as they
/// were. One thread at a time may use a network; different networks are independent. Several threads
/// evaluate one ``Model`` through a ``Session`` each.
public class RoutedNetwork {
  /// The training forward that loss and backward speak of.
  enum TrainingState {
    case none
    /// waits for its backward
    case pending(rows: Int)
    /// had its backward
    case finished(rows: Int)
  }

  let storage: NetworkStorage
  let layers: [RoutedLayer]
  let trainingPasses: [LayerPass]
  let trainingRecords: [RoutingRecord]
  /// Of the network's own evaluations.
  let evaluation: EvaluationPass
  let changes = ChangeGate()
  var trainingState = TrainingState.none
  /// When the gradient variance is measured.
  var gradientMoments: GradientMoments?
  /// Training forwards so far: the key of the next one's noise.
  public internal(set) var trainingForwards = 0

  init(
    _ storage: NetworkStorage, layers: [RoutedLayer], passes: [LayerPass],
    records: [RoutingRecord], batch: BatchPass = BatchPass()
  ) {
    self.storage = storage
    self.layers = layers
    trainingPasses = passes
    trainingRecords = records
    evaluation = EvaluationPass(layers, statistics: layers.map(\.statistics), batch: batch)
    for layer in layers { layer.router.initializeBuffers(losses: storage.losses) }
  }

  var backend: Backend { storage.backend }
  var latest: LatestForward {
    get { evaluation.latest }
    set { evaluation.latest = newValue }
  }
  var moment: TrainingMoment { TrainingMoment(seed: storage.seed, step: trainingForwards) }

  // MARK: - Tensors

  /// All parameters, in the order of the file. Borrowed: valid as long as the network.
  public var parameters: [Tensor] { storage.parameters.tensors() }

  /// What is saved but not trained: thresholds, balancing biases, the state of controllers.
  public var buffers: [Tensor] { storage.buffers.tensors() }

  /// Number of ``parameters``.
  public var parameterTensorCount: Int { storage.parameters.entries.count }

  /// Number of ``buffers``.
  public var bufferTensorCount: Int { storage.buffers.entries.count }

  /// `parameters[index]` without making the list; `index` is in 0 ..< ``parameterTensorCount``.
  public func parameter(at index: Int) -> Tensor { storage.parameters.tensor(index) }

  /// `buffers[index]` without making the list; `index` is in 0 ..< ``bufferTensorCount``.
  public func buffer(at index: Int) -> Tensor { storage.buffers.tensor(index) }

  /// Copies `values` into the parameter `name`, in effect from the next call. They may be those of
  /// the tensor itself, after its memory was written to.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)`` for an unknown name, another number of values, NaN or
  ///   infinity; ``DynaMoEError/state(_:)`` of a network for evaluation only;
  ///   ``DynaMoEError/busy(_:)`` while a session evaluates.
  public func setParameter(
    _ name: String, _ values: UnsafeBufferPointer<Float>
  ) throws(DynaMoEError) {
    try requireTraining()
    try set(name, values, in: storage.parameters, "parameter")
  }

  /// Copies `values` into the buffer `name`, in effect from the next call; throws as
  /// ``setParameter(_:_:)``.
  public func setBuffer(
    _ name: String, _ values: UnsafeBufferPointer<Float>
  ) throws(DynaMoEError) {
    try set(name, values, in: storage.buffers, "buffer")
  }

  private func set(
    _ name: String, _ values: UnsafeBufferPointer<Float>, in store: TensorStore, _ noun: String
  ) throws(DynaMoEError) {
    let index = try index(of: name, in: store, noun)
    let destination = store.values(index)
    guard values.count == destination.count else {
      throw wrongCount(store.tensor(index), values.count)
    }
    guard let source = values.baseAddress else { return }
    if !backend.isFinite(source, values.count),
      let bad = values.firstIndex(where: { !$0.isFinite })
    {
      throw .argument("\(name)[\(bad)] is \(values[bad]), allowed: finite numbers")
    }
    try changes.beginChange()
    defer { changes.endChange() }
    if source != UnsafePointer(destination.baseAddress) { _ = destination.update(from: values) }
    storage.matrices.invalidate(name)
  }

  /// Number of elements of all parameters.
  public var parameterCount: Int { storage.parameters.elementCount }

  /// The resolved configuration: every default that the chosen kinds use is written out.
  public var configurationJSON: String { storage.configurationJSON }

  // MARK: - Training

  /// Optimizer steps so far.
  public var optimizerSteps: Int { storage.optimizer.steps }

  /// One step of the optimizer with the gradients as they are; they stay. Then the routers'
  /// controllers follow.
  ///
  /// - Parameter learningRate: finite and at least 0; nil: the configured one of this step.
  /// - Throws: ``DynaMoEError/argument(_:)``; ``DynaMoEError/failed(_:)`` when a gradient is not
  ///   finite; ``DynaMoEError/state(_:)`` of a network for evaluation only;
  ///   ``DynaMoEError/busy(_:)`` while a session evaluates.
  public func step(learningRate: Double? = nil) throws(DynaMoEError) {
    try requireTraining()
    let start = Profile.begin()
    defer { Profile.end(.call, start) }
    let rate = try storage.optimizer.learningRate(override: learningRate)
    let scale = try storage.optimizer.gradientScale()
    try changes.beginChange()
    defer { changes.endChange() }
    applyStep(rate, scale)
  }

  /// The part of a step that cannot fail.
  func applyStep(_ learningRate: Double, _ gradientScale: Float) {
    storage.optimizer.apply(learningRate: learningRate, gradientScale: gradientScale)
    storage.matrices.invalidateAll()
    controlRouters()
  }

  /// Whether the step of the matrices may follow at once on each gradient: no other gradient counts
  /// for them, and nobody measures it.
  var canSeparate: Bool { storage.optimizer.isSeparable && gradientMoments == nil }

  /// The gradients of the matrices, which a backward has left out, and the step of all parameters.
  ///
  /// - Parameters:
  ///   - separately: each matrix makes its step with its gradient, which is known not to fail; else the gradients are added up.
  ///   - commit: what changes besides once nothing can fail any more.
  func step(
    _ learningRate: Double, separately: Bool, gradients: (GradientUse) -> Void,
    commit: () -> Void = {}
  ) throws(DynaMoEError) {
    let optimizer = storage.optimizer
    guard separately else {
      gradients(.add)
      gradientMoments?.end(backend)
      let scale = try optimizer.gradientScale()
      commit()
      applyStep(learningRate, scale)
      return
    }
    try optimizer.checkOtherGradients()
    commit()
    storage.matrices.invalidateAll()
    gradients(.step(optimizer.beginSeparateStep(learningRate: learningRate)))
    optimizer.finishSeparateStep(learningRate: learningRate)
    controlRouters()
  }

  /// What the routers' controllers do after a step.
  func controlRouters() {
    for layer in layers { layer.router.control(afterStepWith: storage.losses) }
  }

  /// Sets all gradients to 0, if there are any; a pending backward stays valid.
  public func zeroGradients() {
    backend.fill(storage.parameters.gradientBase, with: 0, count: storage.parameters.extent)
    gradientMoments?.reset()
  }

  /// The rows of the training forward that waits for its backward, if one does.
  public var pendingRows: Int? {
    if case .pending(let rows) = trainingState { rows } else { nil }
  }

  func requirePending() throws(DynaMoEError) -> Int {
    try requireTraining()
    guard let rows = pendingRows else {
      throw .state(
        "there is no training forward that waits for its backward: call forward with training on first"
      )
    }
    return rows
  }

  /// Statistics, thresholds and counts after a training forward that succeeded.
  func commitTrainingForward(rows: Int) {
    for index in layers.indices {
      layers[index].commit(trainingPasses[index], trainingRecords[index], rows: rows)
    }
    trainingForwards += 1
    latest = .training(rows: rows)
  }

  // MARK: - Auxiliary losses

  /// balance, z, entropy and sparsity of each layer in the latest training forward, without
  /// coefficients: [L · 4].
  ///
  /// - Throws: ``DynaMoEError/state(_:)`` before any training forward.
  public func auxiliaryLosses() throws(DynaMoEError) -> [Double] {
    let rows = try requireTrainingForward()
    return layers.indices.flatMap { index in
      let losses = auxiliaryLosses(layer: index, rows: rows)
      return [losses.balance, losses.z, losses.entropy, losses.sparsity]
    }
  }

  /// The rows of the latest training forward, whether it had its backward or not.
  func requireTrainingForward() throws(DynaMoEError) -> Int {
    try requireTraining()
    switch trainingState {
    case .none: throw .state("there are no auxiliary losses before a training forward")
    case .pending(let rows), .finished(let rows): return rows
    }
  }

  private func auxiliaryLosses(layer index: Int, rows: Int) -> AuxiliaryLosses {
    AuxiliaryLosses(
      router: layers[index].router, pass: trainingPasses[index].routing,
      offsets: trainingPasses[index].dispatch.offsets, weights: trainingRecords[index].weights,
      rows: rows)
  }

  /// The task's loss and the weighted auxiliary ones of the latest training forward.
  func losses(task: Double, accuracy: Double?, rows: Int) -> Losses {
    let coefficients = storage.losses
    var sum = Losses(task: task, balance: 0, z: 0, entropy: 0, sparsity: 0, accuracy: accuracy)
    for index in layers.indices {
      let sparsity = trainingPasses[index].sparsity
      guard
        coefficients.balance != 0 || coefficients.z != 0 || coefficients.entropy != 0
          || sparsity != 0
      else { continue }
      let losses = auxiliaryLosses(layer: index, rows: rows)
      sum.balance += coefficients.balance * losses.balance
      sum.z += coefficients.z * losses.z
      sum.entropy += coefficients.entropy * losses.entropy
      sum.sparsity += sparsity * losses.sparsity
    }
    return sum
  }

  /// Forward, per row, 2 per multiply-add, at the mean K so far (before any row: at what the
  /// routers aim at).
  public var flopsPerRow: Double { flopsPerRow(meanActive: layers.map(\.meanActive)) }

  /// At a given mean K of each layer.
  func flopsPerRow(meanActive: [Double]) -> Double { layerFlopsPerRow(meanActive: meanActive) }

  // MARK: - Files

  /// What a file keeps besides what training needs.
  var metadata: [String: String] { [:] }

  /// Writes parameters, buffers, configuration, optimizer and random state as one safetensors file.
  ///
  /// It is written beside `path` and renamed: an interrupted save leaves the old file whole.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)``, ``DynaMoEError/file(_:)``; ``DynaMoEError/failed(_:)``
  ///   when a parameter is not finite; ``DynaMoEError/state(_:)`` of a network for evaluation only.
  public func save(to path: String) throws(DynaMoEError) {
    try requireTraining()
    try NetworkFile.write(self, to: path)
  }
}
