/// The upper half of an f32: 8 bits of exponent, 8 of precision.
enum BFloat16 {
  /// The bits of x rounded to the nearest, halves to even; numbers below the normal range become 0 of their sign, and
  /// above 3.3961e38 infinite.
  static func bits(_ x: Float) -> UInt16 {
    let bits = x.bitPattern
    let magnitude = bits & 0x7fff_ffff
    if magnitude < 0x0080_0000 { return UInt16(truncatingIfNeeded: bits >> 16) & 0x8000 }
    if magnitude > 0x7f80_0000 { return UInt16(truncatingIfNeeded: bits >> 16) | 0x0040 }
    return UInt16(truncatingIfNeeded: (bits &+ 0x7fff &+ ((bits >> 16) & 1)) >> 16)
  }

  static func value(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }

  static func rounded(_ x: Float) -> Float { value(bits(x)) }

  /// a·b + c of bfloat16 a and b, rounded once to f32; below the normal range, before and after, 0.
  static func multiplyAdd(_ a: Float, _ b: Float, _ c: Float) -> Float {
    // Exact, or as far from the middle of two f32 as the exact sum is.
    let sum = Double(flushed(a)) * Double(flushed(b)) + Double(flushed(c))
    // What counts is the size after rounding as if there were no least exponent.
    if abs(Float(sum * 0x1p64)) < 0x1p-62 { return sum.sign == .minus ? -0.0 : 0 }
    return Float(sum)
  }

  private static func flushed(_ x: Float) -> Float {
    x.isSubnormal ? (x.sign == .minus ? -0.0 : 0) : x
  }
}
