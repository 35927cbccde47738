import Foundation

/// SplitMix64 (Steele, Lea, Flood 2014): the tests' own random numbers, the same in every run.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 0x1234_5678_9ABC_DEF1 }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Uniform in `range`, rounded to `Float` so that engine and reference read the same number.
  mutating func uniform(_ range: ClosedRange<Float> = -1...1) -> Float {
    let unit = Float(next() >> 40) / Float(1 << 24)
    return range.lowerBound + unit * (range.upperBound - range.lowerBound)
  }

  mutating func normal() -> Float {
    let u = (Double(next() >> 11) + 0.5) / Double(1 << 53)
    let v = (Double(next() >> 11) + 0.5) / Double(1 << 53)
    return Float((-2 * log(u)).squareRoot() * cos(2 * .pi * v))
  }

  mutating func normals(_ count: Int, scale: Float = 1) -> [Float] {
    (0..<count).map { _ in normal() * scale }
  }

  mutating func integer(_ range: Range<Int>) -> Int { Int.random(in: range, using: &self) }

  mutating func classes(_ count: Int, below limit: Int) -> [Int32] {
    (0..<count).map { _ in Int32(integer(0..<limit)) }
  }
}
