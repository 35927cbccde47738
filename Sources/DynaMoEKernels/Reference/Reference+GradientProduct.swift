extension Reference {
  /// c[o, i] = Σ_p a[p, o]·b[gather[p], i]; sums[o] += Σ_p a[p, o]
  static func gradientProduct(
    rows: Int, outputs: Int, inputs: Int, a: P, aStride: Int, b: P, bStride: Int, gather: Index?,
    c: M, cStride: Int, sums: M?, ahead: Ahead, aheadCount: Int, scratch: UnsafeMutableRawPointer
  ) {
    if let sums {
      columnSums(
        rows: rows, columns: outputs, a: a, b: nil, stride: aStride, accumulate: true,
        sums: sums)
    }
    for o in 0..<outputs {
      for i in 0..<inputs {
        var sum: Float = 0
        for p in 0..<rows {
          let row = gather.map { Int($0[p]) } ?? p
          sum += a[p * aStride + o] * b[row * bStride + i]
        }
        c[o * cStride + i] = sum
      }
    }
  }
}
