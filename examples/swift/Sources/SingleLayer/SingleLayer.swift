import DynaMoE
import Foundation
import Shared

/// Drives one layer by hand. What comes before it, what comes after it and the loss are ours: here
/// the mean squared distance of its output from a function of its input.
@main
struct SingleLayer {
  static let width = 8
  static let rows = 512
  static let steps = 400

  static func main() throws {
    var random = SeededGenerator(seed: 0)
    let x = (0..<rows * width).map { _ in Float.random(in: -1...1, using: &random) }
    let wanted = stride(from: 0, to: x.count, by: width).flatMap { target(x[$0..<$0 + width]) }

    var configuration = LayerConfiguration(
      width: width, experts: 6, router: .threshold(targetActive: 2), hidden: 32)
    configuration.optimizer.lr = 0.01
    let layer = try MoELayer(configuration, seed: 0)

    var losses: [Float] = []
    for step in 0..<steps {
      let y = try layer.forward(x, training: true)
      let (loss, gradient) = meanSquaredError(y, wanted)
      losses.append(loss)
      // Returns dLoss/dx, from where a network of one's own goes on.
      try layer.backwardStep(gradient)
      if step.isMultiple(of: 100) { print("step \(step): loss \(shown(loss))") }
    }

    try show(layer, x, wanted)
    for mean in [1.5, 1] {
      try layer.calibrate(x, targetActive: mean)
      try show(layer, x, wanted)
    }
    guard let first = losses.first, let last = losses.last, last < first / 4 else {
      throw Failure.hasNotLearnt(losses: losses)
    }
  }

  enum Failure: Error {
    case hasNotLearnt(losses: [Float])
  }

  /// Another function in each half of the space: a case for experts.
  static func target(_ x: ArraySlice<Float>) -> [Float] {
    let shifted = x.dropFirst() + x.prefix(1)
    return x[x.startIndex] > 0 ? x.map { sin(2 * $0) } : zip(x, shifted).map { $0 * $1 }
  }

  /// The mean squared distance, and its gradient by `y`.
  static func meanSquaredError(
    _ y: [Float], _ target: [Float]
  ) -> (loss: Float, gradient: [Float]) {
    let differences = zip(y, target).map { $0 - $1 }
    let count = Float(differences.count)
    return (
      differences.reduce(0) { $0 + $1 * $1 } / count, differences.map { 2 * $0 / count }
    )
  }

  /// Evaluates the layer, and prints its loss and how many experts the rows used.
  static func show(_ layer: MoELayer, _ x: [Float], _ target: [Float]) throws {
    layer.resetRoutingStatistics()
    let (loss, _) = meanSquaredError(try layer.forward(x), target)
    let statistics = try layer.routingStatistics(layer: 0)
    let mean = statistics.meanActive.formatted(.number.precision(.fractionLength(2)))
    print("mean K \(mean): loss \(shown(loss)), rows by K \(statistics.kHistogram)")
  }

  static func shown(_ loss: Float) -> String {
    loss.formatted(.number.precision(.fractionLength(4)))
  }
}
