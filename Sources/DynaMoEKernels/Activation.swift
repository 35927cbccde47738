/// Functions of one variable between two products; gated units are built from them.
public enum Activation: Int, Sendable, CaseIterable {
  /// max(0, x); its derivative at 0 counts as 0.
  case relu
  /// x·Φ(x), exact, by the error function.
  case gelu
  /// x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
  case geluTanh
  /// x/(1 + exp(-x)).
  case silu
}

/// What is done to each freshly computed part of c while it is in cache. All arrays are [rows,
/// columns of c].
public enum Epilogue {
  case none
  /// into = act(c); c stays, as the pre-activation.
  case activation(Activation, into: UnsafeMutablePointer<Float>)
  /// into = act(gate)·c; c stays.
  case gated(Activation, gate: UnsafePointer<Float>, into: UnsafeMutablePointer<Float>)
  /// c = c·act'(preactivation).
  case activationGradient(Activation, preactivation: UnsafePointer<Float>)
  /// gateGradient = c·up·act'(gate); c = c·act(gate).
  case gatedGradient(
    Activation, gate: UnsafePointer<Float>, up: UnsafePointer<Float>,
    gateGradient: UnsafeMutablePointer<Float>)
}
