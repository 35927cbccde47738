// Normalisations of one row and their gradients; the caller gives eps.

/// y = (x - mean)·rstd·weight + bias.
public func layerNorm(
  _ x: P, _ n: Int, _ weight: P, _ bias: P, _ y: M, _ eps: Float
) -> (Float, Float) {
  guard n > 0 else { return (0, 0) }
  let mean = reduce(x, x, n) { x, _, s in s + x } / Float(n)
  let m = Vector(repeating: mean)
  let squares = reduce(x, x, n, filler: mean) { x, _, s in multiplyAdd(x - m, x - m, s) }
  let rstd = 1 / (squares / Float(n) + eps).squareRoot()
  let r = Vector(repeating: rstd)
  var i = 0
  while i + vectorCount <= n {
    store(multiplyAdd((load(x + i) - m) * r, load(weight + i), load(bias + i)), y + i)
    i += vectorCount
  }
  if i < n {
    let (v, w) = ((loadPart(x + i, n - i) - m) * r, loadPart(weight + i, n - i))
    storePart(multiplyAdd(v, w, loadPart(bias + i, n - i)), y + i, n - i)
  }
  return (mean, rstd)
}

/// normalised = (x - mean)·rstd; dx = rstd·(g - mean(g) - normalised·mean(g·normalised)), g =
/// dy·weight.
public func layerNormGradient(
  _ dy: P, _ x: P, _ n: Int, _ weight: P, _ mean: Float, _ rstd: Float, _ dx: M, _ normalised: M
) {
  guard n > 0 else { return }
  let (m, r) = (Vector(repeating: mean), Vector(repeating: rstd))
  map(x, normalised, n) { ($0 - m) * r }
  let average = reduce(dy, weight, n) { multiplyAdd($0, $1, $2) } / Float(n)
  normGradient(dy, n, weight, rstd, average, dx, normalised)
}

/// y = x·rstd·weight.
public func rmsNorm(_ x: P, _ n: Int, _ weight: P, _ y: M, _ eps: Float) -> Float {
  guard n > 0 else { return 0 }
  let squares = reduce(x, x, n) { multiplyAdd($0, $1, $2) }
  let rstd = 1 / (squares / Float(n) + eps).squareRoot()
  let r = Vector(repeating: rstd)
  map(x, weight, y, n) { $0 * r * $1 }
  return rstd
}

/// normalised = x·rstd; dx = rstd·(g - normalised·mean(g·normalised)), g = dy·weight.
public func rmsNormGradient(
  _ dy: P, _ x: P, _ n: Int, _ weight: P, _ rstd: Float, _ dx: M, _ normalised: M
) {
  guard n > 0 else { return }
  let r = Vector(repeating: rstd)
  map(x, normalised, n) { $0 * r }
  normGradient(dy, n, weight, rstd, 0, dx, normalised)
}

/// dx = rstd·(g - average - normalised·mean(g·normalised)), g = dy·weight.
@inline(__always)
private func normGradient(
  _ dy: P, _ n: Int, _ weight: P, _ rstd: Float, _ average: Float, _ dx: M, _ normalised: M
) {
  var products = Vector.zero
  var i = 0
  while i + vectorCount <= n {
    products = multiplyAdd(load(dy + i) * load(weight + i), load(normalised + i), products)
    i += vectorCount
  }
  if i < n {
    products = multiplyAdd(
      loadPart(dy + i, n - i) * loadPart(weight + i, n - i), loadPart(P(normalised) + i, n - i),
      products)
  }
  let (a, r) = (Vector(repeating: average), Vector(repeating: rstd))
  let slope = Vector(repeating: -(sum(products) / Float(n)))
  i = 0
  while i + vectorCount <= n {
    let g = multiplyAdd(load(dy + i), load(weight + i), -a)
    store(r * multiplyAdd(load(normalised + i), slope, g), dx + i)
    i += vectorCount
  }
  if i < n {
    let g = multiplyAdd(loadPart(dy + i, n - i), loadPart(weight + i, n - i), -a)
    storePart(r * multiplyAdd(loadPart(P(normalised) + i, n - i), slope, g), dx + i, n - i)
  }
}
