extension Reference {
  /// g' = gradientScale·g; w ← keep·w; m = β₁m + (1-β₁)g'; v = β₂v + (1-β₂)g'²; w -=
  /// stepSize·m/(√v·correction + eps)
  static func adamw(
    _ w: M, _ g: P, _ m: M, _ v: M, _ n: Int, gradientScale: Float, keep: Float, beta1: Double,
    beta2: Double, stepSize: Float, correction: Float, eps: Float
  ) {
    let (old1, new1) = (Float(beta1), Float(1 - beta1))
    let (old2, new2) = (Float(beta2), Float(1 - beta2))
    for i in 0..<n {
      let gradient = g[i] * gradientScale
      m[i] = old1 * m[i] + new1 * gradient
      v[i] = old2 * v[i] + new2 * gradient * gradient
      w[i] = keep * w[i] - stepSize * (m[i] / (v[i].squareRoot() * correction + eps))
    }
  }

  /// g' = gradientScale·g + decay·w; buffer = momentum·buffer + g' (first: g'); w -= lr·(nesterov:
  /// g' + momentum·buffer, else buffer; without buffer g').
  static func sgd(
    _ w: M, _ g: P, _ buffer: M?, _ n: Int, gradientScale: Float, decay: Float, momentum: Float,
    lr: Float, nesterov: Bool, first: Bool
  ) {
    for i in 0..<n {
      let gradient = g[i] * gradientScale + decay * w[i]
      var step = gradient
      if let buffer {
        buffer[i] = first ? gradient : momentum * buffer[i] + gradient
        step = nesterov ? gradient + momentum * buffer[i] : buffer[i]
      }
      w[i] -= lr * step
    }
  }
}
