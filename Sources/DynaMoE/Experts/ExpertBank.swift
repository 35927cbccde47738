import DynaMoEKernels

/// Activations of one forward through an `ExpertBank`, each overwritten by its gradient in the
/// backward.
struct ExpertActivations: ~Copyable {
  /// up(x) [P, H], where the backward needs it
  var up = Buffer<Float>()
  /// gate(x) [P, H], gated experts only
  var gate = Buffer<Float>()
  /// What `down` reads [P, H]; stays.
  var hidden = Buffer<Float>()
  /// E(x) [P, D]
  var output = Buffer<Float>()
  /// Bits of the largest magnitudes of a training forward and its backward: `hidden`, and the gradients in `up` and `gate`.
  private var magnitudes = Buffer<UInt32>()

  mutating func resetMagnitudes() throws(AllocationError) {
    try magnitudes.reserve(2)
    magnitudes.base.update(repeating: 0, count: 2)
  }

  var largestHidden: LargestMagnitude { LargestMagnitude(magnitudes.base) }
  var largestGradient: LargestMagnitude { LargestMagnitude(magnitudes.base + 1) }
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

  /// Whether the backward of a plain unit asks for what the activation was computed from.
  private var needsUp: Bool { !function.hasDerivativeOfValue }

  /// Multiply-adds for one row through one expert.
  var multiplyAddsPerRow: Double { Double(gate == nil ? 2 : 3) * Double(width) * Double(hidden) }

  /// Parameters of one expert.
  var parametersPerExpert: Double {
    let biases = !up.hasBias ? 0 : Double((gate == nil ? 1 : 2) * hidden + width)
    return multiplyAddsPerRow + biases
  }

  /// output [P, D] of x [T, D] gathered by `groups`, and in training what `backward` needs.
  func forward(
    _ x: UnsafePointer<Float>, groups: RowGroups, pairs: Int, mostPairs: Int, isTraining: Bool,
    _ activations: inout ExpertActivations
  ) throws(AllocationError) {
    if isTraining {
      try activations.up.reservePairs(pairs, most: mostPairs, stride: hidden)
      try activations.resetMagnitudes()
    }
    try activations.hidden.reservePairs(pairs, most: mostPairs, stride: hidden)
    try activations.output.reservePairs(pairs, most: mostPairs, stride: width)
    let hiddenBase = activations.hidden.base
    if let gate {
      try activations.gate.reservePairs(pairs, most: mostPairs, stride: hidden)
      let gateBase = activations.gate.base
      gate.forward(groups, x, into: gateBase)
      up.forward(
        groups, x, into: isTraining ? activations.up.base : nil,
        epilogue: .gated(function, gate: gateBase, into: hiddenBase),
        largest: isTraining ? activations.largestHidden : nil)
    } else {
      up.forward(
        groups, x, into: isTraining && needsUp ? activations.up.base : nil,
        epilogue: .activation(function, into: hiddenBase),
        largest: isTraining ? activations.largestHidden : nil)
    }
    down.forward(groups.ungathered, hiddenBase, into: activations.output.base)
  }

  /// From dL/dE(x) in `activations.output`: leaves dL/d(up(x)) and dL/d(gate(x)) in their places,
  /// and dL/dx of every pair [P, D] in `inputGradient` if that is wanted.
  func backward(
    groups: RowGroups, _ activations: borrowing ExpertActivations,
    into inputGradient: UnsafeMutablePointer<Float>?
  ) {
    let sorted = groups.ungathered
    let upGradient = activations.up.base
    down.inputGradient(
      sorted, outputGradient: activations.output.base,
      through: gate == nil
        ? .plain(
          function, of: needsUp ? upGradient : activations.hidden.base, into: upGradient)
        : .gated(function, gate: activations.gate.base, up: upGradient),
      largest: activations.largestGradient)
    guard let inputGradient else { return }
    up.inputGradient(sorted, outputGradient: upGradient, into: inputGradient)
    gate?.inputGradient(
      sorted, outputGradient: activations.gate.base, into: inputGradient, accumulate: true)
  }

  /// The gradients of weights and biases, after `backward`.
  func weightGradients(
    _ x: UnsafePointer<Float>, groups: RowGroups, _ activations: borrowing ExpertActivations,
    _ use: GradientUse
  ) {
    down.weightGradients(
      groups.ungathered, outputGradient: activations.output.base, activations.hidden.base, use)
    up.weightGradients(groups, outputGradient: activations.up.base, x, use)
    gate?.weightGradients(groups, outputGradient: activations.gate.base, x, use)
  }

  /// No |dL/dW| and |dL/dbias| of the latest `backward` is larger. `largestInput` is the largest |x|.
  func gradientBound(
    largestInput: Float, groups: RowGroups, _ activations: borrowing ExpertActivations
  ) -> Double {
    let backend = up.backend
    var rows = 0
    for group in 0..<groups.count {
      rows = max(rows, Int(groups.offsets[group + 1] - groups.offsets[group]))
    }
    let intoOutput = backend.largestMagnitude(activations.output.base, groups.rows * width)
    return max(
      DynaMoE.gradientBound(rows: rows, intoOutput, activations.largestHidden.value),
      DynaMoE.gradientBound(rows: rows, activations.largestGradient.value, largestInput))
  }

  /// Places of the weights among all parameters.
  var weightRanges: [Range<Int>] {
    [up.weightRange, down.weightRange] + (gate.map { [$0.weightRange] } ?? [])
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
