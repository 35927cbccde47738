import Foundation

/// Points on interleaved spirals, one class per arm: no line separates them.
struct Spirals {
  static let arms = 3

  /// Two coordinates per point, in -1...1.
  var points: [Float] = []
  /// The arm of each point.
  var labels: [Int32] = []

  init(count: Int, using random: inout some RandomNumberGenerator) {
    for index in 0..<count {
      let arm = index % Self.arms
      let radius = Float.random(in: 0.1...1, using: &random)
      let turn = 4 * radius + 2 * .pi * Float(arm) / Float(Self.arms)
      let angle = turn + Float.random(in: -0.25...0.25, using: &random)
      points += [radius * cos(angle), radius * sin(angle)]
      labels.append(Int32(arm))
    }
  }
}

extension Spirals {
  /// The points in a new order, `size` at a time; what is left over waits for the next epoch.
  func batches(
    of size: Int, using random: inout some RandomNumberGenerator
  ) -> [(points: [Float], labels: [Int32])] {
    let order = labels.indices.shuffled(using: &random)
    return stride(from: 0, through: order.count - size, by: size).map { start in
      let chosen = order[start..<start + size]
      return (chosen.flatMap { points[2 * $0...2 * $0 + 1] }, chosen.map { labels[$0] })
    }
  }
}
