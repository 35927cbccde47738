extension Reference {
  /// y = (x - mean)·rstd·weight + bias, rstd = 1/√(variance + 1e-5), biased variance.
  static func layerNorm(_ x: P, _ n: Int, weight: P, bias: P, into y: M) -> (Float, Float) {
    guard n > 0 else { return (0, 0) }
    var sum: Float = 0
    for i in 0..<n { sum += x[i] }
    let mean = sum / Float(n)
    var squares: Float = 0
    for i in 0..<n { squares += (x[i] - mean) * (x[i] - mean) }
    let rstd = 1 / (squares / Float(n) + NormEpsilon.layer).squareRoot()
    for i in 0..<n { y[i] = (x[i] - mean) * rstd * weight[i] + bias[i] }
    return (mean, rstd)
  }

  /// dx = rstd·(g - mean(g) - x̂·mean(g·x̂)), g = dy·weight, x̂ = (x - mean)·rstd.
  static func layerNormGradient(
    _ dy: P, _ x: P, _ n: Int, weight: P, mean: Float, rstd: Float, into dx: M, normalised: M
  ) {
    guard n > 0 else { return }
    var sum: Float = 0
    var product: Float = 0
    for i in 0..<n {
      normalised[i] = (x[i] - mean) * rstd
      sum += dy[i] * weight[i]
      product += dy[i] * weight[i] * normalised[i]
    }
    sum /= Float(n)
    product /= Float(n)
    for i in 0..<n { dx[i] = rstd * (dy[i] * weight[i] - sum - normalised[i] * product) }
  }
}
