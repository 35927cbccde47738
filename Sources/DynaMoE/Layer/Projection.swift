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
  /// Of the first weight among all parameters.
  private let parameterOffset: Int
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
    parameterOffset = values - parameters.base
    bias = biasName.flatMap { parameters.pointer($0) }.map { UnsafePointer($0) }
    biasGradient = biasName.flatMap { parameters.gradientPointer($0) }
  }

  var hasBias: Bool { bias != nil }

  /// Places of the weights among all parameters.
  var weightRange: Range<Int> {
    parameterOffset..<parameterOffset + matrices.count * matrices.outputs * matrices.inputs
  }

  func forward(
    _ groups: RowGroups, _ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>?,
    epilogue: Epilogue = .none, largest: LargestMagnitude? = nil
  ) {
    if let rounded {
      backend.product(groups, x, rounded, bias: bias, into: y, epilogue: epilogue)
    } else {
      backend.product(
        groups, x, matrices, bias: bias, into: y, epilogue: epilogue, largest: largest)
    }
  }

  /// dL/dW and dL/dbias.
  func weightGradients(
    _ groups: RowGroups, outputGradient dy: UnsafePointer<Float>, _ x: UnsafePointer<Float>,
    _ use: GradientUse = .add
  ) {
    switch use {
    case .add:
      backend.gradientProduct(
        groups, dy, outputs: matrices.outputs, x, inputs: matrices.inputs, into: weightGradient,
        bias: biasGradient, accumulate: true)
    case .step(let step):
      backend.gradientStep(
        groups, dy, x, matrices, bias: biasGradient, step.advanced(by: parameterOffset))
    }
  }

  /// dL/dx of grouped rows.
  func inputGradient(
    _ groups: RowGroups, outputGradient dy: UnsafePointer<Float>,
    into dx: UnsafeMutablePointer<Float>, accumulate: Bool = false
  ) {
    backend.transposedProduct(groups, dy, matrices, into: dx, accumulate: accumulate)
  }

  /// dL/dx of grouped rows, sent on through the activation that x came from.
  func inputGradient(
    _ groups: RowGroups, outputGradient dy: UnsafePointer<Float>,
    through activation: ActivationGradient, largest: LargestMagnitude
  ) {
    backend.transposedProduct(groups, dy, matrices, through: activation, largest: largest)
  }
}

/// No |Σ a·b| and |Σ a| over `rows` rows is larger, given the largest |a| and |b|; never NaN.
func gradientBound(rows: Int, _ a: Float, _ b: Float) -> Double {
  let bound = Double(rows) * Double(a) * max(1, Double(b))
  return bound.isNaN ? .infinity : bound
}

/// What becomes of the gradients of matrices.
enum GradientUse {
  /// They are added to those of the network.
  case add
  /// The optimizer makes its step, given for all parameters, with them at once; only those of biases
  /// are kept, which stand for 0 before.
  case step(ParameterStep)
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
