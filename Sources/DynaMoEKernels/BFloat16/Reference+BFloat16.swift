extension Reference {
  /// c[r, j] = bias[j] + Σ_k a[gather[r], k]·W[firstColumn + j, k], a rounded; of every pair of k the second first.
  static func bfloat16Product(
    rows: Int, columns: Int, inner: Int, a: P, gather: Index?, weights: UnsafePointer<UInt32>,
    firstColumn: Int, bias: P?, c: M, cStride: Int, scratch: UnsafeMutableRawPointer,
    scratchBytes: Int
  ) {
    let pairs = (inner + 1) / 2
    let width = BFloat16Kernels.panelColumns
    for r in 0..<rows {
      let row = a + (gather.map { Int($0[r]) } ?? r) * inner
      for j in 0..<columns {
        let column = firstColumn + j
        let panel = weights + column / width * width * pairs + column % width
        var sum = bias?[j] ?? 0
        for pair in 0..<pairs {
          let (first, second) = (2 * pair, 2 * pair + 1)
          let word = panel[pair * width]
          let (low, high) = (UInt16(truncatingIfNeeded: word), UInt16(word >> 16))
          sum = BFloat16.multiplyAdd(
            second < inner ? BFloat16.rounded(row[second]) : 0, BFloat16.value(high), sum)
          sum = BFloat16.multiplyAdd(BFloat16.rounded(row[first]), BFloat16.value(low), sum)
        }
        c[r * cStride + j] = sum
      }
    }
  }
}

extension BFloat16Kernels {
  /// Whether the kernels give the bits of `reference` where instructions of the kind could differ: in the order of the
  /// two products, in what is rounded when, and in how numbers below the normal range are treated.
  static func agreesWithReference(_ kernels: BFloat16Kernels) -> Bool {
    let (rows, columns, inner) = (9, 64, 34)
    var random = Probe()
    let a = (0..<rows * inner).map { random.next($0 / inner) }
    let words = (0..<columns * ((inner + 1) / 2)).map { index in
      UInt32(BFloat16.bits(random.next(index))) | UInt32(BFloat16.bits(random.next(index))) << 16
    }
    func product(_ kernels: BFloat16Kernels) -> [UInt32] {
      var c = [Float](repeating: 0, count: rows * columns)
      let scratch = UnsafeMutableRawPointer.allocate(byteCount: 1 << 16, alignment: 64)
      defer { scratch.deallocate() }
      kernels.productTile(
        rows, columns, inner, a, nil, words, 0, nil, &c, columns, scratch, 1 << 16)
      return c.map { $0.isNaN ? .max : $0.bitPattern }
    }
    return product(kernels) == product(reference)
  }

  /// Numbers of three kinds, whose products and sums round and cancel: near 1, at the lower end of the normal range when
  /// multiplied with each other, and of both sizes.
  private struct Probe {
    private var state: UInt32 = 1
    private static let exponents: [[UInt32]] = [
      [124, 126, 127, 128], [56, 62, 63, 64], [52, 64, 116, 139],
    ]

    mutating func next(_ kind: Int) -> Float {
      state = state &* 1_664_525 &+ 1_013_904_223
      let exponent = Self.exponents[kind % 3][Int(state >> 30)]
      return Float(
        bitPattern: (state << 8) & 0x8000_0000 | exponent << 23 | (state >> 3) & 0x007f_ffff)
    }
  }
}
