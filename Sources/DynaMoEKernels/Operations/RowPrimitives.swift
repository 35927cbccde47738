/// Single-threaded operations on one row; the caller divides the rows among threads. Same bits on
/// v3 and v4.
extension Backend {
  /// Σ a[i]·b[i].
  public func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ n: Int) -> Float {
    table.dot(a, b, n)
  }

  /// y += x.
  public func add(_ x: UnsafePointer<Float>, to y: UnsafeMutablePointer<Float>, _ n: Int) {
    table.add(x, y, n)
  }

  /// y += s·x.
  public func addScaled(
    _ x: UnsafePointer<Float>, by s: Float, to y: UnsafeMutablePointer<Float>, _ n: Int
  ) {
    table.addScaled(x, s, y, n)
  }

  /// y = s·x; x may be y.
  public func scale(
    _ x: UnsafePointer<Float>, by s: Float, into y: UnsafeMutablePointer<Float>, _ n: Int
  ) {
    table.scale(x, s, y, n)
  }

  /// s = softmax(inverseTemperature·z), in place allowed.
  ///
  /// - Returns: logsumexp(inverseTemperature·z); -∞ if n is 0.
  public func softmax(
    _ z: UnsafePointer<Float>, _ n: Int, inverseTemperature: Float,
    into s: UnsafeMutablePointer<Float>
  ) -> Float {
    table.softmax(z, n, inverseTemperature, s)
  }

  /// y = (x - mean)·rstd·weight + bias with the biased variance and eps 1e-5 (Ba et al., arXiv
  /// 1607.06450 §3); x may be y.
  public func layerNorm(
    _ x: UnsafePointer<Float>, _ n: Int, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>,
    into y: UnsafeMutablePointer<Float>
  ) -> (mean: Float, rstd: Float) {
    table.layerNorm(x, n, weight, bias, y)
  }

  /// dx = rstd·(g - mean(g) - x̂·mean(g·x̂)) with g = dy·weight; x̂ = (x - mean)·rstd is written to
  /// `normalised`, so that the caller can sum dy·x̂ for the weight and dy for the bias. dx may be
  /// dy.
  public func layerNormGradient(
    _ dy: UnsafePointer<Float>, _ x: UnsafePointer<Float>, _ n: Int, weight: UnsafePointer<Float>,
    mean: Float, rstd: Float, into dx: UnsafeMutablePointer<Float>,
    normalised: UnsafeMutablePointer<Float>
  ) {
    table.layerNormGradient(dy, x, n, weight, mean, rstd, dx, normalised)
  }

  /// y = x·rstd·weight, rstd = 1/√(mean(x²) + 1e-6) (Zhang and Sennrich, arXiv 1910.07467 §4); x
  /// may be y.
  ///
  /// - Returns: rstd.
  public func rmsNorm(
    _ x: UnsafePointer<Float>, _ n: Int, weight: UnsafePointer<Float>,
    into y: UnsafeMutablePointer<Float>
  ) -> Float {
    table.rmsNorm(x, n, weight, y)
  }

  /// dx = rstd·(g - x̂·mean(g·x̂)) with g = dy·weight; x̂ = x·rstd is written to `normalised`. dx
  /// may be dy.
  public func rmsNormGradient(
    _ dy: UnsafePointer<Float>, _ x: UnsafePointer<Float>, _ n: Int, weight: UnsafePointer<Float>,
    rstd: Float, into dx: UnsafeMutablePointer<Float>, normalised: UnsafeMutablePointer<Float>
  ) {
    table.rmsNormGradient(dy, x, n, weight, rstd, dx, normalised)
  }
}
