extension Reference {
  /// y = x·rstd·weight, rstd = 1/√(mean(x²) + 1e-6).
  static func rmsNorm(_ x: P, _ n: Int, weight: P, into y: M) -> Float {
    guard n > 0 else { return 0 }
    var squares: Float = 0
    for i in 0..<n { squares += x[i] * x[i] }
    let rstd = 1 / (squares / Float(n) + NormEpsilon.rms).squareRoot()
    for i in 0..<n { y[i] = x[i] * rstd * weight[i] }
    return rstd
  }

  /// dx = rstd·(g - x̂·mean(g·x̂)), g = dy·weight, x̂ = x·rstd.
  static func rmsNormGradient(
    _ dy: P, _ x: P, _ n: Int, weight: P, rstd: Float, into dx: M, normalised: M
  ) {
    guard n > 0 else { return }
    var product: Float = 0
    for i in 0..<n {
      normalised[i] = x[i] * rstd
      product += dy[i] * weight[i] * normalised[i]
    }
    product /= Float(n)
    for i in 0..<n { dx[i] = rstd * (dy[i] * weight[i] - normalised[i] * product) }
  }
}
