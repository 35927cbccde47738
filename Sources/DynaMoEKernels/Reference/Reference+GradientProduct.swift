extension Reference {
  /// c[o, i] (+)= Σ_p a[p, o]·b[gather[p], i]
  static func gradientProduct(
    rows: Int, outputs: Int, inputs: Int, a: P, aStride: Int, b: P, bStride: Int, gather: Index?,
    accumulate: Bool, c: M, cStride: Int, scratch: UnsafeMutableRawPointer
  ) {
    for o in 0..<outputs {
      for i in 0..<inputs {
        var sum = accumulate ? c[o * cStride + i] : 0
        for p in 0..<rows {
          let row = gather.map { Int($0[p]) } ?? p
          sum += a[p * aStride + o] * b[row * bStride + i]
        }
        c[o * cStride + i] = sum
      }
    }
  }
}
