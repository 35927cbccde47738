/// The training noise ε ~ N(0, 1) on the scores of one layer in one training forward.
///
/// ε depends only on (seed, step, layer, row, expert): a row's values are the same whatever other
/// rows, experts or threads there are.
struct RoutingNoise: Sendable {
  private let generator: Philox

  /// `step` counts training forwards so far.
  init(seed: UInt64, step: UInt64, layer: Int) {
    // A key of its own per forward and layer leaves the counter to row and expert, and keeps the
    // noise apart from the starting values, which use the seed itself as the key.
    let block = Philox(key: ~seed).block(
      UInt32(truncatingIfNeeded: step), UInt32(truncatingIfNeeded: step >> 32),
      UInt32(truncatingIfNeeded: layer), 0x4E4F_4953)
    generator = Philox(key: UInt64(block[0]) | UInt64(block[1]) << 32)
  }

  /// Writes ε of `row` for the experts 0 ..< `experts` into `values` [experts].
  func fill(row: Int, experts: Int, into values: UnsafeMutablePointer<Float>) {
    let low = UInt32(truncatingIfNeeded: row)
    let high = UInt32(truncatingIfNeeded: row >> 32)
    var expert = 0
    while expert < experts {
      let block = generator.block(UInt32(truncatingIfNeeded: expert / 4), low, high, 0)
      let four = SIMD4<Float>(standardNormals(block))
      for lane in 0..<min(4, experts - expert) { values[expert + lane] = four[lane] }
      expert += 4
    }
  }
}
