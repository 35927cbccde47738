import CDynaMoEPlatform

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

extension Activation {
  /// Whether the derivative at x can be told from act(x) as well as from x.
  public var hasDerivativeOfValue: Bool { self == .relu }
}

/// What is done to each freshly computed part of c while it is in cache. All arrays are [rows,
/// columns of c].
public enum Epilogue {
  case none
  /// into = act(c).
  case activation(Activation, into: UnsafeMutablePointer<Float>)
  /// into = act(gate)·c.
  case gated(Activation, gate: UnsafePointer<Float>, into: UnsafeMutablePointer<Float>)
}

/// How a gradient goes back through an activation while it is in cache. All arrays are [rows,
/// columns of the gradient].
public enum ActivationGradient {
  /// into = c·act'(x), x from what `of` holds: x itself, or act(x) if `hasDerivativeOfValue`; they
  /// may be the same memory.
  case plain(
    Activation, of: UnsafePointer<Float>, into: UnsafeMutablePointer<Float>)
  /// gate = c·up·act'(gate) and up = c·act(gate), from the gate before.
  case gated(Activation, gate: UnsafeMutablePointer<Float>, up: UnsafeMutablePointer<Float>)
}

/// The largest magnitude of what is written by several threads; NaN counts as larger than infinity.
public struct LargestMagnitude {
  private let word: UnsafeMutablePointer<UInt32>

  /// - Parameter word: the bits of the largest so far.
  public init(_ word: UnsafeMutablePointer<UInt32>) {
    self.word = word
  }

  public var value: Float { Float(bitPattern: dynamoe_load32(word)) }

  func add(_ magnitude: Float) {
    // The bits of numbers that are not negative are in their order.
    dynamoe_max32(word, magnitude.bitPattern)
  }
}
