import DynaMoEKernels

/// Activations of one forward through an `ExpertBank`, kept for its backward.
struct ExpertActivations: ~Copyable {
  /// up(x) [P, H]
  var up = Buffer<Float>()
  /// gate(x) [P, H], gated experts only
  var gate = Buffer<Float>()
  /// what `down` reads [P, H]
  var hidden = Buffer<Float>()
  /// E(x) [P, D]
  var output = Buffer<Float>()
}

/// Memory of a backward, shared by all layers of a network.
struct ExpertScratch: ~Copyable {
  /// dL/dE(x) on the way in, dL/dx on the way out, [P, D]
  var pairs = Buffer<Float>()
  var hidden = Buffer<Float>()
  var gate = Buffer<Float>()
}

/// The experts of a layer, routed or shared: `E(x) = down(act(up(x)))`, or gated `down(act(gate(x)) ⊙ up(x))`.
///
/// Shapes: up and gate `[N, H, D]`, down `[N, D, H]`; P pairs sorted by expert. Work is proportional to P.
final class ExpertBank {
  private struct Projection {
    let matrices: MatrixGroup
    let bias: UnsafePointer<Float>?
    let weightGradient: UnsafeMutablePointer<Float>
    let biasGradient: UnsafeMutablePointer<Float>?
  }

  let count: Int
  let width: Int
  let hidden: Int
  private let function: DynaMoEKernels.Activation
  private let backend: Backend
  private let up: Projection
  private let gate: Projection?
  private let down: Projection

  init(
    prefix: String, count: Int, width: Int, hidden: Int, activation: Activation,
    parameters: TensorStore, matrices: MatrixRegistry
  ) throws(DynaMoEError) {
    self.count = count
    self.width = width
    self.hidden = hidden
    self.backend = matrices.backend
    self.function = activation.function

    func projection(
      _ name: String, outputs: Int, inputs: Int
    ) throws(DynaMoEError) -> Projection {
      let weight = prefix + name + ".weight"
      let bias = prefix + name + ".bias"
      return Projection(
        matrices: try matrices.add(
          weight, in: parameters, count: count, outputs: outputs, inputs: inputs),
        bias: parameters.pointer(bias).map { UnsafePointer($0) },
        weightGradient: parameters.gradientPointer(weight)!,
        biasGradient: parameters.gradientPointer(bias))
    }
    up = try projection("up", outputs: hidden, inputs: width)
    gate = activation.isGated ? try projection("gate", outputs: hidden, inputs: width) : nil
    down = try projection("down", outputs: width, inputs: hidden)
  }

  /// Multiply-adds for one row through one expert.
  var multiplyAddsPerRow: Double { Double(gate == nil ? 2 : 3) * Double(width) * Double(hidden) }

  /// Parameters of one expert.
  var parametersPerExpert: Double {
    let biases = up.bias == nil ? 0 : Double((gate == nil ? 1 : 2) * hidden + width)
    return multiplyAddsPerRow + biases
  }

  /// output [P, D] of x [T, D] gathered by `groups`.
  func forward(
    _ x: UnsafePointer<Float>, groups: RowGroups, pairs: Int, mostPairs: Int,
    _ activations: inout ExpertActivations
  ) throws(AllocationError) {
    try activations.up.reservePairs(pairs, most: mostPairs, stride: hidden)
    try activations.hidden.reservePairs(pairs, most: mostPairs, stride: hidden)
    try activations.output.reservePairs(pairs, most: mostPairs, stride: width)
    let hiddenBase = activations.hidden.base
    if let gate {
      try activations.gate.reservePairs(pairs, most: mostPairs, stride: hidden)
      backend.product(
        groups, x, gate.matrices, bias: gate.bias, into: activations.gate.base, epilogue: .none)
      backend.product(
        groups, x, up.matrices, bias: up.bias, into: activations.up.base,
        epilogue: .gated(function, gate: activations.gate.base, into: hiddenBase))
    } else {
      backend.product(
        groups, x, up.matrices, bias: up.bias, into: activations.up.base,
        epilogue: .activation(function, into: hiddenBase))
    }
    var sorted = groups
    sorted.gather = nil
    backend.product(
      sorted, hiddenBase, down.matrices, bias: down.bias, into: activations.output.base,
      epilogue: .none)
  }

  /// Reads dL/dE(x) in `scratch.pairs`, adds to the gradients of the weights, and leaves dL/dx of every pair there.
  func backward(
    _ x: UnsafePointer<Float>, groups: RowGroups, pairs: Int, mostPairs: Int,
    _ activations: borrowing ExpertActivations, scratch: inout ExpertScratch
  ) throws(AllocationError) {
    try scratch.hidden.reservePairs(pairs, most: mostPairs, stride: hidden)
    if gate != nil { try scratch.gate.reservePairs(pairs, most: mostPairs, stride: hidden) }
    var sorted = groups
    sorted.gather = nil
    let gradient = scratch.pairs.base
    let hiddenGradient = scratch.hidden.base
    backend.gradientProduct(
      sorted, gradient, outputs: width, activations.hidden.base, inputs: hidden,
      into: down.weightGradient, bias: down.biasGradient, accumulate: true)
    let epilogue: Epilogue =
      gate == nil
      ? .activationGradient(function, preactivation: activations.up.base)
      : .gatedGradient(
        function, gate: activations.gate.base, up: activations.up.base,
        gateGradient: scratch.gate.base)
    backend.transposedProduct(
      sorted, gradient, down.matrices, into: hiddenGradient, accumulate: false, epilogue: epilogue)
    backend.gradientProduct(
      groups, hiddenGradient, outputs: hidden, x, inputs: width,
      into: up.weightGradient, bias: up.biasGradient, accumulate: true)
    backend.transposedProduct(
      sorted, hiddenGradient, up.matrices, into: gradient, accumulate: false, epilogue: .none)
    if let gate {
      backend.gradientProduct(
        groups, scratch.gate.base, outputs: hidden, x, inputs: width,
        into: gate.weightGradient, bias: gate.biasGradient, accumulate: true)
      backend.transposedProduct(
        sorted, scratch.gate.base, gate.matrices, into: gradient, accumulate: true,
        epilogue: .none)
    }
  }
}

extension Activation {
  /// The function of the unit; of a gated unit, that of its gate.
  var function: DynaMoEKernels.Activation {
    switch self {
    case .relu: .relu
    case .gelu, .geglu: .gelu
    case .geluTanh: .geluTanh
    case .silu, .swiglu: .silu
    }
  }
}
