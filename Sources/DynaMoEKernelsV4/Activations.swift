// Activations and their derivatives. `kind`: 0 relu, 1 gelu, 2 gelu by tanh, 3 silu.

import CDynaMoEPlatform

/// A function of one variable and its derivative.
protocol UnaryFunction {
  static func value(_ x: Vector) -> Vector
  static func derivative(_ x: Vector) -> Vector
}

enum Relu: UnaryFunction {
  @inline(__always)
  static func value(_ x: Vector) -> Vector { dynamoe_larger(.zero, x) }

  @inline(__always)
  static func derivative(_ x: Vector) -> Vector {
    dynamoe_where_less(.zero, x, Vector(repeating: 1), .zero)
  }
}

enum Gelu: UnaryFunction {
  @inline(__always)
  static func value(_ x: Vector) -> Vector { x * normalCumulative(x).value }

  @inline(__always)
  static func derivative(_ x: Vector) -> Vector {
    let (value, density) = normalCumulative(x)
    // 1/√(2π)
    return multiplyAdd(x * density, Vector(repeating: 0.398_942_28), value)
  }
}

/// x/2·(1 + tanh(y)) = x·logistic(2y), y = √(2/π)·(x + 0.044715 x³).
enum GeluTanh: UnaryFunction {
  @inline(__always)
  private static func doubledArgument(_ x: Vector) -> Vector {
    // 2√(2/π) and the same times 0.044715
    x * multiplyAdd(x * x, Vector(repeating: 0.071_354_816_3), Vector(repeating: 1.595_769_12))
  }

  @inline(__always)
  static func value(_ x: Vector) -> Vector { x * logistic(doubledArgument(x)).value }

  @inline(__always)
  static func derivative(_ x: Vector) -> Vector {
    // Beyond ±30 the derivative is 0 or 1 and x² may overflow.
    let limit = Vector(repeating: 30)
    let z = dynamoe_larger(-limit, dynamoe_smaller(limit, x))
    let (s, rest) = logistic(doubledArgument(z))
    let slope = multiplyAdd(
      z * z, Vector(repeating: 0.214_064_449), Vector(repeating: 1.595_769_12))
    return multiplyAdd(z * s * rest, slope, s)
  }
}

enum Silu: UnaryFunction {
  @inline(__always)
  static func value(_ x: Vector) -> Vector { x * logistic(x).value }

  @inline(__always)
  static func derivative(_ x: Vector) -> Vector {
    let (s, rest) = logistic(x)
    return multiplyAdd(x * s, rest, s)
  }
}

/// into = act(x).
public func activation(kind: Int, x: P, into: M, n: Int) {
  switch kind {
  case 0: map(x, into, n) { Relu.value($0) }
  case 1: map(x, into, n) { Gelu.value($0) }
  case 2: map(x, into, n) { GeluTanh.value($0) }
  default: map(x, into, n) { Silu.value($0) }
  }
}

/// into = act(gate)·x.
public func gated(kind: Int, gate: P, x: P, into: M, n: Int) {
  switch kind {
  case 0: map(gate, x, into, n) { Relu.value($0) * $1 }
  case 1: map(gate, x, into, n) { Gelu.value($0) * $1 }
  case 2: map(gate, x, into, n) { GeluTanh.value($0) * $1 }
  default: map(gate, x, into, n) { Silu.value($0) * $1 }
  }
}

/// into = c·act'(x).
public func activationGradient(kind: Int, c: P, x: P, into: M, n: Int) {
  switch kind {
  case 0: map(x, c, into, n) { $1 * Relu.derivative($0) }
  case 1: map(x, c, into, n) { $1 * Gelu.derivative($0) }
  case 2: map(x, c, into, n) { $1 * GeluTanh.derivative($0) }
  default: map(x, c, into, n) { $1 * Silu.derivative($0) }
  }
}

/// gate = c·up·act'(gate) and up = c·act(gate), from the gate before.
public func gatedGradient(kind: Int, c: P, gate: M, up: M, n: Int) {
  switch kind {
  case 0: gatedGradient(Relu.self, c, gate, up, n)
  case 1: gatedGradient(Gelu.self, c, gate, up, n)
  case 2: gatedGradient(GeluTanh.self, c, gate, up, n)
  default: gatedGradient(Silu.self, c, gate, up, n)
  }
}

@inline(__always)
private func gatedGradient<F: UnaryFunction>(_: F.Type, _ c: P, _ gate: M, _ up: M, _ n: Int) {
  var i = 0
  while i < n {
    let count = min(vectorCount, n - i)
    let whole = count == vectorCount
    let g = whole ? load(gate + i) : loadPart(P(gate) + i, count)
    let u = whole ? load(up + i) : loadPart(P(up) + i, count)
    let incoming = whole ? load(c + i) : loadPart(c + i, count)
    let gateResult = incoming * u * F.derivative(g)
    let result = incoming * F.value(g)
    if whole {
      store(gateResult, gate + i)
      store(result, up + i)
    } else {
      storePart(gateResult, gate + i, count)
      storePart(result, up + i, count)
    }
    i += count
  }
}
