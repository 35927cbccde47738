import DynaMoEKernels

/// The file of a network: its tensors by name, and in the metadata configuration, seed and counts.
struct NetworkFile {
  private enum Key {
    static let format = "format"
    static let version = "version"
    static let kind = "kind"
    static let configuration = "config"
    static let seed = "seed"
    static let optimizerSteps = "optimizer_steps"
    static let trainingForwards = "training_forwards"
  }
  private static let format = "dynamoe"
  private static let version = "1"

  let configuration: String
  let seed: UInt64
  private let file: SafetensorsReader
  private let optimizerSteps: Int
  private let trainingForwards: Int

  // MARK: - Writing

  static func write(_ network: RoutedNetwork, to path: String) throws(DynaMoEError) {
    let storage = network.storage
    var tensors: [(name: String, shape: [Int], values: UnsafeBufferPointer<Float>)] = []
    for tensor in network.parameters + network.buffers {
      tensors.append((tensor.name, tensor.shape, tensor.values))
    }
    for state in storage.optimizer.stateTensors {
      tensors.append((state.name, state.shape, UnsafeBufferPointer(state.values)))
    }
    for tensor in tensors where !isFinite(tensor.values, network.backend) {
      throw .failed("\(tensor.name) is not finite: not saved to \(path)")
    }
    var metadata = network.metadata
    let own = [
      Key.format: format, Key.version: version, Key.kind: storage.kind.rawValue,
      Key.configuration: storage.configurationJSON, Key.seed: String(storage.seed),
      Key.optimizerSteps: String(storage.optimizer.steps),
      Key.trainingForwards: String(network.trainingForwards),
    ]
    metadata.merge(own) { _, own in own }
    try writeSafetensors(path: path, metadata: metadata, tensors: tensors)
  }

  private static func isFinite(_ values: UnsafeBufferPointer<Float>, _ backend: Backend) -> Bool {
    values.baseAddress.map { backend.isFinite($0, values.count) } ?? true
  }

  // MARK: - Reading

  init(path: String, kind: NetworkStorage.Kind) throws(DynaMoEError) {
    let file = try SafetensorsReader(path: path)
    func text(_ key: String) throws(DynaMoEError) -> String {
      guard let text = file.metadata[key] else {
        throw .format("\(path): not a file of this library: its metadata has no \(quoted(key))")
      }
      return text
    }
    func number(_ key: String) throws(DynaMoEError) -> Int {
      let text = try text(key)
      guard let number = Int(text), 0...Limit.steps ~= number else {
        throw .format(
          "\(path): \(key) in the metadata is \(quoted(text)), allowed: 0 to \(Limit.steps)")
      }
      return number
    }
    let format = try text(Key.format)
    guard format == Self.format else {
      throw .format("\(path): not a file of this library: its format is \(quoted(format))")
    }
    let version = try text(Key.version)
    guard version == Self.version else {
      throw .format(
        "\(path): version \(quoted(version)) of the format, this library reads \(Self.version)")
    }
    let found = try text(Key.kind)
    guard found == kind.rawValue else {
      throw .format("\(path): holds a \(quoted(found)), not a \(kind.rawValue)")
    }
    configuration = try text(Key.configuration)
    let seedText = try text(Key.seed)
    guard let seed = UInt64(seedText) else {
      throw .format("\(path): seed in the metadata is \(quoted(seedText)), allowed: a number")
    }
    self.seed = seed
    optimizerSteps = try number(Key.optimizerSteps)
    trainingForwards = try number(Key.trainingForwards)
    self.file = file
  }

  /// What `parse` makes of the configuration; its error names the file.
  func parsed<Configuration>(
    _ parse: (String) throws(DynaMoEError) -> Configuration
  ) throws(DynaMoEError) -> Configuration {
    do throws(DynaMoEError) {
      return try parse(configuration)
    } catch {
      throw .format("\(file.path): configuration: \(error)")
    }
  }

  /// Hands out the words of the data; an error names the file.
  func named(_ use: (DataNames) throws(DynaMoEError) -> Void) throws(DynaMoEError) {
    do throws(DynaMoEError) {
      try use(DataNames(metadata: file.metadata))
    } catch {
      throw .format("\(file.path): \(error)")
    }
  }

  /// Refuses a file without all of `specifications`, before a network of that size is made.
  func check(_ specifications: [TensorSpecification]) throws(DynaMoEError) {
    for specification in specifications {
      guard let entry = file.tensors[specification.name] else {
        throw .format("\(file.path): tensor \(quoted(specification.name)) is missing")
      }
      guard entry.shape == specification.shape else {
        throw .format(
          "\(file.path): tensor \(quoted(specification.name)) must have shape \(specification.shape); got \(entry.shape)"
        )
      }
    }
  }

  /// Fills a network just made from the configuration.
  func load(into network: RoutedNetwork) throws(DynaMoEError) {
    let storage = network.storage
    storage.optimizer.steps = optimizerSteps
    network.trainingForwards = trainingForwards
    try refuseUnknown(storage)
    let part = try withMemory(for: "reading \(file.path)") { () throws(AllocationError) in
      try Buffer<Float>(uninitialized: storage.precision == .float32 ? 0 : Self.partCount)
    }
    for store in [storage.parameters, storage.buffers] {
      for (index, entry) in store.entries.enumerated() {
        let (name, shape) = (entry.specification.name, entry.specification.shape)
        if let matrices = storage.matrices.rounded(name) {
          try read(name, shape, into: matrices, storage.backend, part: part.base)
        } else {
          try read(name, shape, into: store.values(index))
        }
      }
    }
    if storage.precision == .float32 {
      for state in storage.optimizer.stateTensors {
        try read(state.name, state.shape, into: state.values)
      }
    }
    storage.matrices.invalidateAll()
  }

  private func refuseUnknown(_ storage: NetworkStorage) throws(DynaMoEError) {
    var known = Set(storage.optimizer.stateTensors.map(\.name))
    for store in [storage.parameters, storage.buffers] {
      for entry in store.entries { known.insert(entry.specification.name) }
    }
    if let unknown = file.names.first(where: { !known.contains($0) }) {
      throw .format("\(file.path): unknown tensor \(quoted(unknown))")
    }
  }

  private func read(
    _ name: String, _ shape: [Int], into values: UnsafeMutableBufferPointer<Float>
  ) throws(DynaMoEError) {
    try file.read(name, shape: shape, into: values)
    if let bad = values.firstIndex(where: { !$0.isFinite }) {
      throw notAllowed(name, values[bad], bad, "finite numbers")
    }
  }

  /// Elements that are read at a time into matrices that are rounded.
  private static let partCount = 1 << 19

  /// By way of `part`, so that no copy in f32 is ever there.
  private func read(
    _ name: String, _ shape: [Int], into matrices: BFloat16Matrices, _ backend: Backend,
    part: UnsafeMutablePointer<Float>
  ) throws(DynaMoEError) {
    var first = 0
    while first < matrices.elements {
      let values = UnsafeMutableBufferPointer(
        start: part, count: min(Self.partCount, matrices.elements - first))
      try file.read(name, shape: shape, from: first, into: values)
      let source = UnsafeBufferPointer(values)
      if let bad = BFloat16Matrices.firstNotFinite(source) {
        throw notAllowed(
          name, source[bad], first + bad, "numbers that are finite in bfloat16, up to 3.39e38")
      }
      backend.pool.forRanges(source.count, grain: 1 << 16) { range in
        matrices.store(.init(rebasing: source[range]), from: first + range.lowerBound)
      }
      first += source.count
    }
  }

  private func notAllowed(
    _ name: String, _ value: Float, _ index: Int, _ allowed: String
  ) -> DynaMoEError {
    .format("\(file.path): \(quoted(name)) has \(value) at \(index), allowed: \(allowed)")
  }
}
