// Long arrays: reductions and optimizer steps.

import CDynaMoEPlatform

/// Zero times anything finite is zero, times anything else NaN, and NaN stays.
public func isFinite(_ x: P, _ n: Int) -> Bool {
  let zero = Vector.zero
  return reduce(x, x, n) { x, _, s in multiplyAdd(x, zero, s) } == 0
}

public func largestMagnitude(_ x: P, _ n: Int) -> Float {
  var largest = SIMD16<UInt32>.zero
  var i = 0
  while i < n {
    let v = i + vectorCount <= n ? load(x + i) : loadPart(x + i, n - i)
    largest = dynamoe_larger_magnitude(v, largest)
    i += vectorCount
  }
  return Float(bitPattern: largest.max())
}

public func sumOfSquares(_ x: P, _ n: Int) -> Double {
  var (s0, s1) = (SIMD8<Double>.zero, SIMD8<Double>.zero)
  var i = 0
  while i < n {
    let v = i + vectorCount <= n ? load(x + i) : loadPart(x + i, n - i)
    let (low, high) = (dynamoe_lower_doubles(v), dynamoe_upper_doubles(v))
    s0 = multiplyAdd(low, low, s0)
    s1 = multiplyAdd(high, high, s1)
    i += vectorCount
  }
  let eight = s0 + s1
  let four = eight.lowHalf + eight.highHalf
  let two = four.lowHalf + four.highHalf
  return two.x + two.y
}

/// Constants of a step of AdamW in vectors.
private struct AdamW {
  let gradientScale, keep, old1, new1, old2, new2, step, correction, eps: Vector

  @inline(__always)
  func update(_ w: inout Vector, _ g: Vector, _ m: inout Vector, _ v: inout Vector) {
    let gradient = g * gradientScale
    m = multiplyAdd(old1, m, new1 * gradient)
    v = multiplyAdd(old2, v, new2 * gradient * gradient)
    w = keep * w - step * (m / multiplyAdd(dynamoe_square_root(v), correction, eps))
  }
}

/// m = β₁m + (1-β₁)g'; v = β₂v + (1-β₂)g'²; w = keep·w - stepSize·m/(√v·correction + eps), g' =
/// gradientScale·g.
public func adamw(
  _ w: M, _ g: P, _ m: M, _ v: M, _ n: Int, _ gradientScale: Float, _ keep: Float,
  _ beta1: Double, _ beta2: Double, _ stepSize: Float, _ correction: Float, _ eps: Float
) {
  let constants = AdamW(
    gradientScale: Vector(repeating: gradientScale), keep: Vector(repeating: keep),
    old1: Vector(repeating: Float(beta1)), new1: Vector(repeating: Float(1 - beta1)),
    old2: Vector(repeating: Float(beta2)), new2: Vector(repeating: Float(1 - beta2)),
    step: Vector(repeating: stepSize), correction: Vector(repeating: correction),
    eps: Vector(repeating: eps))
  var i = 0
  while i + vectorCount <= n {
    var (weight, first, second) = (load(w + i), load(m + i), load(v + i))
    constants.update(&weight, load(g + i), &first, &second)
    store(weight, w + i)
    store(first, m + i)
    store(second, v + i)
    i += vectorCount
  }
  let rest = n - i
  guard rest > 0 else { return }
  var weight = loadPart(P(w) + i, rest)
  var first = loadPart(P(m) + i, rest)
  var second = loadPart(P(v) + i, rest)
  constants.update(&weight, loadPart(g + i, rest), &first, &second)
  storePart(weight, w + i, rest)
  storePart(first, m + i, rest)
  storePart(second, v + i, rest)
}

/// g' = gradientScale·g + decay·w; buffer = momentum·buffer + g' (first: g'); w -= lr·(nesterov: g'
/// + momentum·buffer, else buffer; without buffer g').
public func sgd(
  _ w: M, _ g: P, _ buffer: M?, _ n: Int, _ gradientScale: Float, _ decay: Float,
  _ momentum: Float, _ lr: Float, _ nesterov: Bool, _ first: Bool
) {
  let (scale, decay) = (Vector(repeating: gradientScale), Vector(repeating: decay))
  let (momentum, rate) = (Vector(repeating: momentum), Vector(repeating: -lr))
  var i = 0
  while i < n {
    let count = min(vectorCount, n - i)
    let whole = count == vectorCount
    let weight = whole ? load(w + i) : loadPart(P(w) + i, count)
    let raw = whole ? load(g + i) : loadPart(g + i, count)
    let gradient = multiplyAdd(raw, scale, decay * weight)
    var step = gradient
    if let buffer {
      let old = whole ? load(buffer + i) : loadPart(P(buffer) + i, count)
      let new = first ? gradient : multiplyAdd(momentum, old, gradient)
      if whole { store(new, buffer + i) } else { storePart(new, buffer + i, count) }
      step = nesterov ? multiplyAdd(momentum, new, gradient) : new
    }
    let result = multiplyAdd(rate, step, weight)
    if whole { store(result, w + i) } else { storePart(result, w + i, count) }
    i += count
  }
}
