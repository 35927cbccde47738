// Exponential and what is built on it, by polynomials fitted for this project (minimax by linear
// programming at Chebyshev points).

import CDynaMoEPlatform

/// exp(x), error below 1.5 units in the last place for x in -87 ... 88; below -87: 0, above 88:
/// exp(88). NaN stays NaN.
///
/// 2^n·exp(r) with x = n·ln 2 + r and |r| ≤ ln 2 / 2; ln 2 in two parts, of which n times the first
/// is exact.
@inline(__always)
func exponential(_ x: Vector) -> Vector {
  let low = Vector(repeating: -87)
  let high = Vector(repeating: 88)
  // A comparison with NaN is false, so NaN stays.
  let bounded = dynamoe_larger(low, dynamoe_smaller(high, x))
  // Adding 1.5·2²³ rounds to a whole number and leaves it in the low bits.
  let magic = Vector(repeating: 12_582_912)
  let shifted = multiplyAdd(bounded, Vector(repeating: 1.442_695_04), magic)
  let n = shifted - magic
  let r = multiplyAdd(
    n, Vector(repeating: -1.428_606_82e-6),
    multiplyAdd(n, Vector(repeating: -0.693_145_752), bounded))
  var p = Vector(repeating: 0.001_381_526_584_7)
  p = multiplyAdd(p, r, Vector(repeating: 0.008_368_865_586_8))
  p = multiplyAdd(p, r, Vector(repeating: 0.041_668_381_541_97))
  p = multiplyAdd(p, r, Vector(repeating: 0.166_665_196_418_76))
  p = multiplyAdd(p, r, Vector(repeating: 0.499_999_940_395_4))
  p = multiplyAdd(p * r, r, r) + 1
  return dynamoe_where_less(x, low, .zero, dynamoe_scale_by_power(p, shifted))
}

/// 1/(1 + exp(-x)), and one minus that without cancellation.
@inline(__always)
func logistic(_ x: Vector) -> (value: Vector, rest: Vector) {
  let e = exponential(-x)
  let value = 1 / (1 + e)
  return (value, e * value)
}

/// Φ(x), the normal distribution function, and exp(-x²/2).
///
/// Φ(-t) = exp(-t²/2)·Q(u), u = 1/(1 + 0.27 t), t ≥ 0, with Q of degree 9, relative error of Q
/// 2.3e-8.
@inline(__always)
func normalCumulative(_ x: Vector) -> (value: Vector, density: Vector) {
  let t = dynamoe_larger(-x, x)
  let density = exponential(x * x * -0.5)
  let u = 1 / multiplyAdd(t, Vector(repeating: 0.27), Vector(repeating: 1))
  var q = Vector(repeating: 0.028_809_843_584_9)
  q = multiplyAdd(q, u, Vector(repeating: -0.125_723_347_067_8))
  q = multiplyAdd(q, u, Vector(repeating: 0.168_146_714_568_1))
  q = multiplyAdd(q, u, Vector(repeating: -0.067_251_607_775_7))
  q = multiplyAdd(q, u, Vector(repeating: 0.106_405_749_917_0))
  q = multiplyAdd(q, u, Vector(repeating: 0.072_687_096_893_8))
  q = multiplyAdd(q, u, Vector(repeating: 0.101_637_884_974_5))
  q = multiplyAdd(q, u, Vector(repeating: 0.107_568_636_536_6))
  q = multiplyAdd(q, u, Vector(repeating: 0.107_719_041_407_1))
  let tail = q * u * density
  return (dynamoe_where_less(x, .zero, tail, 1 - tail), density)
}

/// y = exp(x).
public func exponential(_ x: P, _ y: M, _ n: Int) {
  map(x, y, n) { exponential($0) }
}
