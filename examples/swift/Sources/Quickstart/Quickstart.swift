import DynaMoE
import Foundation
import Shared

/// Trains a dynamic mixture of experts on interleaved spirals, shows how each layer routes, and
/// saves and loads the model.
@main
struct Quickstart {
  static func main() throws {
    var random = SeededGenerator(seed: 0)
    let training = Spirals(count: 3000, using: &random)
    let test = Spirals(count: 600, using: &random)

    // Experts fall from 8 to 2 over the layers; a row uses 2 of them on average.
    let configuration = ModelConfiguration(
      task: .classification, inputs: 2, outputs: Spirals.arms, width: 24,
      experts: .schedule(Schedule(.descending, minimum: 2, maximum: 8), layers: 3),
      router: .threshold(targetActive: 2), hidden: .all(32))
    let model = try Model(configuration, seed: 0)
    print("\(model.parameterCount) parameters, experts per layer \(model.expertCounts)")

    for epoch in 1...15 {
      var loss = 0.0
      let batches = training.batches(of: 100, using: &random)
      for batch in batches {
        loss += try model.trainBatch(batch.points, classes: batch.labels).task
      }
      let evaluation = try model.evaluate(test.points, classes: test.labels)
      let accuracy = (evaluation.accuracy ?? 0).formatted(.percent.precision(.fractionLength(1)))
      let mean = (loss / Double(batches.count)).formatted(.number.precision(.fractionLength(4)))
      print("epoch \(epoch): loss \(mean), test accuracy \(accuracy)")
    }

    model.resetRoutingStatistics()
    let evaluation = try model.evaluate(test.points, classes: test.labels)
    for layer in 0..<model.layerCount { try show(model.routingStatistics(layer: layer), layer) }

    let file = FileManager.default.temporaryDirectory
      .appendingPathComponent("spirals-\(ProcessInfo.processInfo.processIdentifier).safetensors")
    defer { try? FileManager.default.removeItem(at: file) }
    try model.save(to: file.path)
    let loaded = try Model(contentsOf: file.path)
    guard try loaded.classes(of: test.points) == model.classes(of: test.points) else {
      throw Failure.loadedModelDiffers
    }
    print("saved and loaded: the same classes")
    guard let accuracy = evaluation.accuracy, accuracy > 0.9 else {
      throw Failure.hasNotLearnt(accuracy: evaluation.accuracy)
    }
  }

  enum Failure: Error {
    case loadedModelDiffers
    case hasNotLearnt(accuracy: Double?)
  }

  /// How many rows used how many experts, and how many rows used each expert.
  static func show(_ statistics: RoutingStatistics, _ layer: Int) {
    let mean = statistics.meanActive.formatted(.number.precision(.fractionLength(2)))
    print("layer \(layer): \(mean) of \(statistics.experts) experts per row")
    for (count, rows) in statistics.kHistogram.enumerated() where rows > 0 {
      let bar = String(repeating: "█", count: max(1, 40 * rows / statistics.rows))
      print("  \(count) active  \(bar) \(rows)")
    }
    print("  rows per expert \(statistics.expertRows)")
  }
}

extension Model {
  var expertCounts: [Int] { (0..<layerCount).map { expertCount(layer: $0) } }
}
