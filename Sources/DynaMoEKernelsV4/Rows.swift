// Arithmetic on one row.

public func dot(_ a: P, _ b: P, _ n: Int) -> Float {
  reduce(a, b, n) { multiplyAdd($0, $1, $2) }
}

/// y += x.
public func add(_ x: P, _ y: M, _ n: Int) {
  map(x, P(y), y, n) { $1 + $0 }
}

/// y += s·x.
public func addScaled(_ x: P, _ s: Float, _ y: M, _ n: Int) {
  let factor = Vector(repeating: s)
  map(x, P(y), y, n) { multiplyAdd($0, factor, $1) }
}

/// y = s·x.
public func scale(_ x: P, _ s: Float, _ y: M, _ n: Int) {
  let factor = Vector(repeating: s)
  map(x, y, n) { $0 * factor }
}

/// sums[j] (+)= Σ_t a[t, j]·b[t, j] (b nil: a[t, j]), t ascending.
public func columnSums(
  rows: Int, columns: Int, a: P, b: P?, stride: Int, accumulate: Bool, sums: M
) {
  var j = 0
  while j < columns {
    let count = min(vectorCount, columns - j)
    if count == vectorCount {
      var s = accumulate ? load(sums + j) : .zero
      if let b {
        for t in 0..<rows {
          s = multiplyAdd(load(a + t * stride + j), load(b + t * stride + j), s)
        }
      } else {
        for t in 0..<rows { s += load(a + t * stride + j) }
      }
      store(s, sums + j)
    } else {
      var s = accumulate ? loadPart(sums + j, count) : .zero
      for t in 0..<rows {
        let x = loadPart(a + t * stride + j, count)
        s = b.map { multiplyAdd(x, loadPart($0 + t * stride + j, count), s) } ?? s + x
      }
      storePart(s, sums + j, count)
    }
    j += count
  }
}
