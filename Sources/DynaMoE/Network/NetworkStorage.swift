import DynaMoEKernels

/// What every network owns: tensors, packed matrices and the optimizer over them.
final class NetworkStorage {
  /// What a file says that it holds.
  enum Kind: String {
    case model, layer
  }

  let kind: Kind
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
    parameters: [TensorSpecification], buffers: [TensorSpecification], isLoaded: Bool
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
    try Self.checkMemory(parameters, layers, optimizer)
    self.parameters = try TensorStore(parameters, hasGradients: true)
    self.buffers = try TensorStore(buffers, hasGradients: false)
    matrices = MatrixRegistry(backend: backend)
    self.optimizer = try Optimizer(optimizer, parameters: self.parameters, backend: backend)
    // Those of a file are about to be read.
    if !isLoaded { self.parameters.initialize(seed: seed) }
    self.buffers.initialize(seed: seed)
  }

  var backend: Backend { matrices.backend }

  /// Values, gradients, packed copies and the state of the optimizer, most of which is not touched
  /// at once; and the co-activation counts.
  private static func checkMemory(
    _ parameters: [TensorSpecification], _ layers: [ResolvedLayer],
    _ optimizer: OptimizerConfiguration
  ) throws(DynaMoEError) {
    var elements = 0
    var packed = 0.0
    for specification in parameters {
      let (sum, overflow) = elements.addingReportingOverflow(specification.count ?? Int.max)
      guard !overflow, sum < Int.max / 64 else {
        throw .memory("\(specification.name) \(specification.shape) is larger than any memory")
      }
      elements = sum
      packed += specification.packedCount
    }
    let copies = optimizer.kind == .adamw ? 4 : optimizer.momentum ?? 0 > 0 ? 3 : 2
    let counts = layers.reduce(0) { $0 + 2 * $1.experts * $1.experts }
    let bytes =
      (Double(elements * copies) + packed) * Double(MemoryLayout<Float>.stride)
      + Double(counts * MemoryLayout<Int>.stride)
    try AvailableMemory.check(
      Int(min(bytes, Double(Int.max / 2))),
      for: "a network of \(elements) parameters with gradients and optimizer")
  }
}
