import Glibc

extension Reference {
  static func exponential(_ x: P, _ y: M, _ n: Int) {
    for i in 0..<n { y[i] = exp(x[i]) }
  }

  /// s = exp(factor·z - logsumexp(factor·z)); returns the logsumexp.
  static func softmax(_ z: P, _ n: Int, factor: Float, into s: M) -> Float {
    guard n > 0 else { return -.infinity }
    var maximum = -Float.infinity
    for i in 0..<n { maximum = max(maximum, z[i] * factor) }
    var sum: Float = 0
    for i in 0..<n {
      s[i] = exp(z[i] * factor - maximum)
      sum += s[i]
    }
    for i in 0..<n { s[i] /= sum }
    return maximum + Float(log(Double(sum)))
  }
}
