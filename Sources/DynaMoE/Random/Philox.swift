/// The counter-based generator Philox 4×32-10: 128 random bits as a function of a 64-bit key and a
/// 128-bit counter.
///
/// No state: any block can be drawn in any order on any thread, and is the same. Source: Salmon,
/// Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, §3.3 and table 2.
struct Philox: Sendable {
  private let key0: UInt32
  private let key1: UInt32

  /// The low half of `key` is the first key word.
  init(key: UInt64) {
    key0 = UInt32(truncatingIfNeeded: key)
    key1 = UInt32(truncatingIfNeeded: key >> 32)
  }

  /// The block of the counter `(c0, c1, c2, c3)`.
  @inline(__always)
  func block(_ c0: UInt32, _ c1: UInt32, _ c2: UInt32, _ c3: UInt32) -> SIMD4<UInt32> {
    var (x0, x1, x2, x3) = (c0, c1, c2, c3)
    var (k0, k1) = (key0, key1)
    for _ in 0..<10 {
      let left = UInt64(x0) &* 0xD251_1F53
      let right = UInt64(x2) &* 0xCD9E_8D57
      let next0 = UInt32(truncatingIfNeeded: right >> 32) ^ x1 ^ k0
      let next2 = UInt32(truncatingIfNeeded: left >> 32) ^ x3 ^ k1
      x1 = UInt32(truncatingIfNeeded: right)
      x3 = UInt32(truncatingIfNeeded: left)
      x0 = next0
      x2 = next2
      k0 = k0 &+ 0x9E37_79B9
      k1 = k1 &+ 0xBB67_AE85
    }
    return SIMD4(x0, x1, x2, x3)
  }
}
