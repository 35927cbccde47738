import DynaMoEKernels

/// A network: input projection or embedding, L layers h ← r·h + MoE(norm(h)), norm, head.
///
///     let model = try Model(configuration, seed: 0)
///     let losses = try model.trainBatch(x, classes: labels)
///
/// T rows, C outputs. The mathematics: <doc:Concepts>.
public final class Model: RoutedNetwork {
  /// As it was given.
  public let configuration: ModelConfiguration
  /// C: classes, or values of a regression.
  public let outputs: Int
  /// The words of its data, see ``setNames(_:)``.
  public internal(set) var names = DataNames()

  let input: InputLayer
  let blocks: [Block]
  let head: Head
  let width: Int
  let sharedExperts: Int
  let passes: [BlockPass]
  let scratch = BlockScratch()
  let batch = BatchPass()

  /// A network with weights drawn from `seed`: the same seed and configuration give the same bits.
  public convenience init(
    _ configuration: ModelConfiguration, seed: UInt64 = 0
  ) throws(DynaMoEError) {
    try self.init(configuration, configuration.resolved(), seed: seed, origin: .seed)
  }

  private init(
    _ configuration: ModelConfiguration, _ resolved: ResolvedModel, seed: UInt64,
    origin: NetworkStorage.Origin
  ) throws(DynaMoEError) {
    let storage = try NetworkStorage(
      kind: .model, configurationJSON: configuration.json, losses: configuration.losses,
      optimizer: configuration.optimizer, seed: seed, layers: resolved.layers,
      parameters: TensorNames.parameters(of: resolved),
      buffers: TensorNames.buffers(of: resolved), origin: origin)
    self.configuration = configuration
    outputs = resolved.outputs
    width = resolved.width
    sharedExperts = resolved.sharedExperts
    input = try InputLayer(resolved, parameters: storage.parameters, matrices: storage.matrices)
    head = try Head(resolved, parameters: storage.parameters, matrices: storage.matrices)
    var blocks: [Block] = []
    for index in resolved.layers.indices {
      blocks.append(
        try Block(
          resolved, index: index, parameters: storage.parameters, buffers: storage.buffers,
          matrices: storage.matrices))
    }
    self.blocks = blocks
    passes = resolved.layers.map { BlockPass(experts: $0.experts) }
    super.init(
      storage, layers: blocks.map(\.layer), passes: passes.map(\.layer),
      records: passes.map(\.record), batch: batch)
    storage.optimizer.separate(
      blocks.flatMap(\.layer.weightRanges)
        + [input.weightRange, head.separateRange].compactMap { $0 })
  }

  /// The network of a file that ``RoutedNetwork/save(to:)`` wrote. Training goes on as if it had
  /// never stopped.
  ///
  /// - Parameters:
  ///   - path: of a safetensors file.
  ///   - precision: ``Precision/bfloat16``: for evaluation only, with matrices that are rounded as
  ///     they are read; the optimizer's state stays in the file.
  /// - Throws: ``DynaMoEError/file(_:)``, ``DynaMoEError/format(_:)`` for truncated, damaged and
  ///   foreign files.
  public convenience init(
    contentsOf path: String, precision: Precision = .float32
  ) throws(DynaMoEError) {
    let file = try NetworkFile(path: path, kind: .model)
    let configuration = try file.parsed { (json) throws(DynaMoEError) in
      try ModelConfiguration(json: json)
    }
    let resolved = try configuration.resolved()
    try file.check(TensorNames.parameters(of: resolved) + TensorNames.buffers(of: resolved))
    try self.init(configuration, resolved, seed: file.seed, origin: .file(precision))
    try file.load(into: self)
    try file.named { (names) throws(DynaMoEError) in try setNames(names) }
  }

  override var metadata: [String: String] { names.metadata }

  override func flopsPerRow(meanActive: [Double]) -> Double {
    let projection = configuration.inputs.map { 2 * Double($0 * width) } ?? 0
    return projection + layerFlopsPerRow(meanActive: meanActive) + 2 * Double(width)
      * Double(outputs)
  }

  // MARK: - Checks

  func checkTargets(_ targets: Targets, rows: Int) throws(DynaMoEError) {
    switch (targets, configuration.task) {
    case (.classes(let classes), .classification), (.classes(let classes), .languageModel):
      guard classes.count == rows else {
        throw .argument("targets has \(classes.count) classes, allowed: one per row = \(rows)")
      }
      for (row, target) in classes.enumerated() where target < -1 || Int(target) >= outputs {
        throw .argument(
          "targets[\(row)] is class \(target), allowed: 0 to \(outputs - 1), or -1 for a row to ignore"
        )
      }
    case (.values(let values), .regression):
      guard values.count == rows * outputs else {
        throw .argument(
          "targets has \(values.count) values, allowed: rows * outputs = \(rows) * \(outputs) = \(rows * outputs)"
        )
      }
      guard let base = values.baseAddress, !backend.isFinite(base, values.count) else { return }
      let bad = values.firstIndex { !$0.isFinite } ?? 0
      throw .argument(
        "targets[\(bad / outputs), \(bad % outputs)] is \(values[bad]), allowed: finite numbers")
    case (.values, _):
      throw .argument("targets are values, allowed for this task: classes, one per row")
    case (.classes, _):
      throw .argument("targets are classes, allowed for a regression: values [rows, \(outputs)]")
    }
  }

  func checkSampleWeight(
    _ weights: UnsafeBufferPointer<Float>?, rows: Int
  ) throws(DynaMoEError) {
    guard let weights else { return }
    guard weights.count == rows else {
      throw .argument("sample_weight has \(weights.count) values, allowed: one per row = \(rows)")
    }
    var sum = 0.0
    for (row, weight) in weights.enumerated() {
      guard weight.isFinite, weight >= 0 else {
        throw .argument("sample_weight[\(row)] is \(weight), allowed: finite, at least 0")
      }
      sum += Double(weight)
    }
    guard sum > 0 else {
      throw .argument("sample_weight is 0 in every row, allowed: at least one above 0")
    }
  }

  /// The rows, checked.
  func checkInput(_ input: Input) throws(DynaMoEError) -> RowSource? {
    let source = try self.input.check(input)
    try checkRows(input.rows, sharedExperts: sharedExperts)
    return source
  }

  func checkTrainingInput(_ input: Input) throws(DynaMoEError) -> RowSource {
    guard let source = try checkInput(input) else {
      throw .argument("rows is 0, allowed in training: at least 1")
    }
    return source
  }
}
