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

/// The experts of a layer, routed or shared: `E(x) = down(act(up(x)))`, or gated `down(act(gate(x))
/// ⊙ up(x))`.
///
/// Shapes: up and gate `[N, H, D]`, down `[N, D, H]`; P pairs sorted by expert. Work is
/// proportional to P.
final class ExpertBank {
  let count: Int
  let width: Int
  let hidden: Int
  private let function: DynaMoEKernels.Activation
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
    self.function = activation.function

    func projection(
      _ name: String, outputs: Int, inputs: Int
    ) throws(DynaMoEError) -> Projection {
      try Projection(
        weight: prefix + name + ".weight", bias: prefix + name + ".bias", count: count,
        outputs: outputs, inputs: inputs, parameters: parameters, matrices: matrices)
    }
    up = try projection("up", outputs: hidden, inputs: width)
    gate = activation.isGated ? try projection("gate", outputs: hidden, inputs: width) : nil
    down = try projection("down", outputs: width, inputs: hidden)
  }

  /// Multiply-adds for one row through one expert.
  var multiplyAddsPerRow: Double { Double(gate == nil ? 2 : 3) * Double(width) * Double(hidden) }

  /// Parameters of one expert.
  var parametersPerExpert: Double {
    let biases = !up.hasBias ? 0 : Double((gate == nil ? 1 : 2) * hidden + width)
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
      let gateBase = activations.gate.base
      gate.forward(groups, x, into: gateBase)
      up.forward(
        groups, x, into: activations.up.base,
        epilogue: .gated(function, gate: gateBase, into: hiddenBase))
    } else {
      up.forward(
        groups, x, into: activations.up.base, epilogue: .activation(function, into: hiddenBase))
    }
    down.forward(groups.ungathered, hiddenBase, into: activations.output.base)
  }

  /// Room for `backward`.
  func reserve(
    _ scratch: inout ExpertScratch, pairs: Int, mostPairs: Int
  ) throws(AllocationError) {
    try scratch.pairs.reservePairs(pairs, most: mostPairs, stride: width)
    try scratch.hidden.reservePairs(pairs, most: mostPairs, stride: hidden)
    if gate != nil { try scratch.gate.reservePairs(pairs, most: mostPairs, stride: hidden) }
  }

  /// Reads dL/dE(x) in `scratch.pairs`, adds to the gradients of the weights, and leaves dL/dx of
  /// every pair there.
  func backward(
    _ x: UnsafePointer<Float>, groups: RowGroups, _ activations: borrowing ExpertActivations,
    scratch: borrowing ExpertScratch
  ) {
    let sorted = groups.ungathered
    let gradient = scratch.pairs.base
    let hiddenGradient = scratch.hidden.base
    down.addGradients(sorted, outputGradient: gradient, activations.hidden.base)
    let epilogue: Epilogue =
      gate == nil
      ? .activationGradient(function, preactivation: activations.up.base)
      : .gatedGradient(
        function, gate: activations.gate.base, up: activations.up.base,
        gateGradient: scratch.gate.base)
    down.inputGradient(sorted, outputGradient: gradient, into: hiddenGradient, epilogue: epilogue)
    up.addGradients(groups, outputGradient: hiddenGradient, x)
    up.inputGradient(sorted, outputGradient: hiddenGradient, into: gradient)
    if let gate {
      let gateGradient = scratch.gate.base
      gate.addGradients(groups, outputGradient: gateGradient, x)
      gate.inputGradient(sorted, outputGradient: gateGradient, into: gradient, accumulate: true)
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
