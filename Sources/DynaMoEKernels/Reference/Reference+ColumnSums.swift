extension Reference {
  /// sums[j] (+)= Σ_t a[t, j]·b[t, j]
  static func columnSums(
    rows: Int, columns: Int, a: P, b: P?, stride: Int, accumulate: Bool, sums: M
  ) {
    for j in 0..<columns {
      var sum = accumulate ? sums[j] : 0
      for t in 0..<rows {
        let value = a[t * stride + j]
        sum += b.map { value * $0[t * stride + j] } ?? value
      }
      sums[j] = sum
    }
  }
}
