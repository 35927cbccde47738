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
}

/// How a gradient goes back through an activation while it is in cache, overwriting what the
/// activation was computed from. All arrays are [rows, columns of the gradient].
public enum ActivationGradient {
  /// x = c·act'(x).
  case plain(Activation, UnsafeMutablePointer<Float>)
  /// gate = c·up·act'(gate) and up = c·act(gate), from the gate before.
  case gated(Activation, gate: UnsafeMutablePointer<Float>, up: UnsafeMutablePointer<Float>)
}
