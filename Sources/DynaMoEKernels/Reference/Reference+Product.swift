extension Reference {
  /// c[r, j] = bias[j] + Σ_k a[gather[r], k]·W[firstColumn + j, k]
  static func product(
    rows: Int, columns: Int, inner: Int, a: P, gather: Index?, weights: P, firstColumn: Int,
    bias: P?, c: M, cStride: Int, ahead: Ahead, aheadCount: Int, scratch: UnsafeMutableRawPointer
  ) {
    for r in 0..<rows {
      let row = a + (gather.map { Int($0[r]) } ?? r) * inner
      for j in 0..<columns {
        let weight = weights + (firstColumn + j) * inner
        var sum = bias?[j] ?? 0
        for k in 0..<inner { sum += row[k] * weight[k] }
        c[r * cStride + j] = sum
      }
    }
  }
}
