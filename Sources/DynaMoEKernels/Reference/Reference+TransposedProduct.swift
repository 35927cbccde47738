extension Reference {
  /// c[r, j] = Σ_k a[r, k]·W[k, j]
  static func transposedProduct(
    rows: Int, columns: Int, inner: Int, a: P, weights: P, weightStride: Int, c: M,
    cStride: Int, ahead: Ahead, aheadCount: Int, scratch: UnsafeMutableRawPointer
  ) {
    for r in 0..<rows {
      for j in 0..<columns {
        var sum: Float = 0
        for k in 0..<inner { sum += a[r * inner + k] * weights[k * weightStride + j] }
        c[r * cStride + j] = sum
      }
    }
  }
}
