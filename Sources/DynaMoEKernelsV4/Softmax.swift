import CDynaMoEPlatform
import Glibc

/// s = softmax(factor·z), in place allowed; returns log Σ exp(factor·z). NaN in z becomes NaN
/// everywhere.
public func softmax(_ z: P, _ n: Int, _ factor: Float, _ s: M) -> Float {
  guard n > 0 else { return -.infinity }
  let scale = Vector(repeating: factor)
  var top = Vector(repeating: -.infinity)
  var i = 0
  while i < n {
    let v = scaled(z, i, n, scale)
    top = dynamoe_larger(v, top)
    i += vectorCount
  }
  var maximum = -Float.infinity
  for lane in 0..<vectorCount where top[lane] > maximum { maximum = top[lane] }
  let m = Vector(repeating: maximum)
  var sums = Vector.zero
  i = 0
  while i < n {
    let e = exponential(scaled(z, i, n, scale) - m)
    sums += e
    if i + vectorCount <= n { store(e, s + i) } else { storePart(e, s + i, n - i) }
    i += vectorCount
  }
  let total = sum(sums)
  let share = Vector(repeating: 1 / total)
  map(P(s), s, n) { $0 * share }
  return maximum + Float(log(Double(total)))
}

/// Elements i ... i + 15 times the factor; -∞ behind the end, whose exponential is 0.
@inline(__always)
private func scaled(_ z: P, _ i: Int, _ n: Int, _ factor: Vector) -> Vector {
  if i + vectorCount <= n { return load(z + i) * factor }
  let count = n - i
  let lanes = Vector(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
  return dynamoe_where_less(
    lanes, Vector(repeating: Float(count)), loadPart(z + i, count) * factor,
    Vector(repeating: -.infinity))
}
