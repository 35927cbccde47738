/// Starting values of parameters. A value depends only on (seed, parameter name, index): not on the
/// order in which parameters are filled, on their number, or on threads.
enum Initialization {
  /// U(-bound, bound), both ends excluded, on a grid of 2²⁴ values.
  static func uniform(
    seed: UInt64, name: String, bound: Float, into values: UnsafeMutableBufferPointer<Float>
  ) {
    fill(seed: seed, name: name, into: values) { block in
      SIMD4(
        symmetric(block[0], bound), symmetric(block[1], bound), symmetric(block[2], bound),
        symmetric(block[3], bound))
    }
  }

  /// N(0, scale²).
  static func normal(
    seed: UInt64, name: String, scale: Float, into values: UnsafeMutableBufferPointer<Float>
  ) {
    fill(seed: seed, name: name, into: values) { block in
      SIMD4<Float>(standardNormals(block) * Double(scale))
    }
  }

  /// A word's upper 24 bits k as `bound·(2k + 1 - 2²⁴)/2²⁴`. The odd numerator is exact in single
  /// precision and the product stays below `bound` also after rounding.
  @inline(__always)
  static func symmetric(_ word: UInt32, _ bound: Float) -> Float {
    Float(Int32(bitPattern: word >> 8) * 2 + 1 - 0x100_0000) * 0x1p-24 * bound
  }

  @inline(__always)
  private static func fill(
    seed: UInt64, name: String, into values: UnsafeMutableBufferPointer<Float>,
    _ transform: (SIMD4<UInt32>) -> SIMD4<Float>
  ) {
    let generator = Philox(key: seed)
    let hash = nameHash(name)
    let (low, high) = (UInt32(truncatingIfNeeded: hash), UInt32(truncatingIfNeeded: hash >> 32))
    var index = 0
    while index < values.count {
      let number = UInt64(index / 4)
      let four = transform(
        generator.block(
          UInt32(truncatingIfNeeded: number), UInt32(truncatingIfNeeded: number >> 32), low, high))
      for lane in 0..<min(4, values.count - index) { values[index + lane] = four[lane] }
      index += 4
    }
  }

  /// FNV-1a, 64 bits, of the UTF-8 bytes (Fowler, Noll, Vo; RFC 9923): part of the meaning of a
  /// seed, never to change.
  static func nameHash(_ name: String) -> UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
    return hash
  }
}
