import DynaMoEKernels

/// A linear map, or one per group of rows: y = x · Wᵀ + bias with W `[count, outputs, inputs]`, and
/// its gradients.
struct Projection {
  let backend: Backend
  /// Empty when the weights are rounded: then nothing but `forward` does anything.
  let matrices: MatrixGroup
  private let rounded: BFloat16Matrices?
  let weight: UnsafePointer<Float>
  let bias: UnsafePointer<Float>?
  let weightGradient: UnsafeMutablePointer<Float>
  let biasGradient: UnsafeMutablePointer<Float>?

  /// `bias` may name a parameter that the network does not have.
  init(
    weight name: String, bias biasName: String? = nil, count: Int = 1, outputs: Int, inputs: Int,
    parameters: TensorStore, matrices registry: MatrixRegistry
  ) throws(DynaMoEError) {
    guard let values = parameters.pointer(name), let gradient = parameters.gradientPointer(name)
    else { throw .argument("the network has no parameter \(name)") }
    backend = registry.backend
    matrices = try registry.add(
      name, in: parameters, count: count, outputs: outputs, inputs: inputs)
    rounded = registry.rounded(name)
    weight = UnsafePointer(values)
    weightGradient = gradient
    bias = biasName.flatMap { parameters.pointer($0) }.map { UnsafePointer($0) }
    biasGradient = biasName.flatMap { parameters.gradientPointer($0) }
  }

  var hasBias: Bool { bias != nil }

  func forward(
    _ groups: RowGroups, _ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>,
    epilogue: Epilogue = .none
  ) {
    if let rounded {
      backend.product(groups, x, rounded, bias: bias, into: y, epilogue: epilogue)
    } else {
      backend.product(groups, x, matrices, bias: bias, into: y, epilogue: epilogue)
    }
  }

  /// Adds to dL/dW and dL/dbias.
  func addGradients(
    _ groups: RowGroups, outputGradient dy: UnsafePointer<Float>, _ x: UnsafePointer<Float>
  ) {
    backend.gradientProduct(
      groups, dy, outputs: matrices.outputs, x, inputs: matrices.inputs, into: weightGradient,
      bias: biasGradient, accumulate: true)
  }

  /// dL/dx of grouped rows.
  func inputGradient(
    _ groups: RowGroups, outputGradient dy: UnsafePointer<Float>,
    into dx: UnsafeMutablePointer<Float>, accumulate: Bool = false, epilogue: Epilogue = .none
  ) {
    backend.transposedProduct(
      groups, dy, matrices, into: dx, accumulate: accumulate, epilogue: epilogue)
  }
}

extension RowGroups {
  /// All rows as one group.
  static func withAll(rows: Int, _ body: (RowGroups) -> Void) {
    withUnsafeTemporaryAllocation(of: Int32.self, capacity: 2) { offsets in
      offsets[0] = 0
      offsets[1] = Int32(truncatingIfNeeded: rows)
      body(RowGroups(count: 1, offsets: UnsafePointer(offsets.baseAddress!), gather: nil))
    }
  }

  /// The same groups of rows that already lie in grouped order.
  var ungathered: RowGroups { RowGroups(count: count, offsets: offsets, gather: nil) }
}
