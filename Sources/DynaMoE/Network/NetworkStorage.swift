import DynaMoEKernels

/// What every network owns: tensors, packed matrices and the optimizer over them.
final class NetworkStorage {
  /// What a file says that it holds.
  enum Kind: String {
    case model, layer
  }

  /// Where the values come from.
  enum Origin {
    case seed
    /// About to be read.
    case file(Precision)
  }

  let kind: Kind
  let precision: Precision
  /// The resolved configuration.
  let configurationJSON: String
  let losses: LossConfiguration
  let seed: UInt64
  let parameters: TensorStore
  let buffers: TensorStore
  let matrices: MatrixRegistry
  let optimizer: Optimizer

  init(
    kind: Kind, configurationJSON: String, losses: LossConfiguration,
    optimizer: OptimizerConfiguration, seed: UInt64, layers: [ResolvedLayer],
    parameters: [TensorSpecification], buffers: [TensorSpecification], origin: Origin
  ) throws(DynaMoEError) {
    let backend: Backend
    do throws(BackendError) {
      backend = try Backend.shared
    } catch {
      throw .backend(error.description)
    }
    self.kind = kind
    self.configurationJSON = configurationJSON
    self.losses = losses
    self.seed = seed
    precision = if case .file(let precision) = origin { precision } else { .float32 }
    try Self.checkMemory(parameters, layers, optimizer, precision)
    self.parameters = try TensorStore(parameters, hasGradients: true, precision: precision)
    self.buffers = try TensorStore(buffers, hasGradients: false)
    matrices = MatrixRegistry(backend: backend)
    self.optimizer = try Optimizer(optimizer, parameters: self.parameters, backend: backend)
    if case .seed = origin { self.parameters.initialize(seed: seed) }
    self.buffers.initialize(seed: seed)
  }

  var backend: Backend { matrices.backend }

  /// Rounded matrices; of the rest values, gradients, packed copies and the state of the optimizer, most of which is not touched
  /// at once; and the co-activation counts.
  private static func checkMemory(
    _ parameters: [TensorSpecification], _ layers: [ResolvedLayer],
    _ optimizer: OptimizerConfiguration, _ precision: Precision
  ) throws(DynaMoEError) {
    var elements = 0
    var rounded = 0
    var packed = 0.0
    for specification in parameters {
      let (sum, overflow) = elements.addingReportingOverflow(specification.count ?? Int.max)
      guard !overflow, sum < Int.max / 64 else {
        throw .memory("\(specification.name) \(specification.shape) is larger than any memory")
      }
      elements = sum
      if precision == .bfloat16, specification.isRounded {
        rounded += specification.count ?? 0
      } else {
        packed += specification.packedCount
      }
    }
    let copies = optimizer.kind == .adamw ? 4 : optimizer.momentum ?? 0 > 0 ? 3 : 2
    let counts = layers.reduce(0) { $0 + 2 * $1.experts * $1.experts }
    let bytes =
      (Double((elements - rounded) * copies) + packed) * Double(MemoryLayout<Float>.stride)
      + Double(rounded * MemoryLayout<UInt16>.stride)
      + Double(counts * MemoryLayout<Int>.stride)
    try AvailableMemory.check(
      Int(min(bytes, Double(Int.max / 2))),
      for: "a network of \(elements) parameters"
        + (precision == .float32 ? " with gradients and optimizer" : " in \(precision.rawValue)"))
  }
}
