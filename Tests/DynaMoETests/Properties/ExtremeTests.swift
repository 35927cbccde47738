import Foundation
import Testing

@testable import DynaMoE

/// Values at the edge of single precision: an error, or the right result, never a state that stays broken.
@Suite struct ExtremeTests {
  private func layer(_ kind: String, minActive: Int? = nil) throws -> MoELayer {
    try MoELayer(
      LayerDescription(
        RouterDescription(
          kind: kind, minActive: minActive,
          targetActive: kind == "threshold" || kind == "expert_threshold" ? 1 : nil)
      ) { $0.width = 4 })
  }

  /// The scores are not numbers, but no expert is active and so the output is 0.
  @Test(arguments: ["threshold", "expert_threshold", "percentile"])
  func scoresThatAreNotNumbers(_ kind: String) throws {
    let layer = try layer(kind, minActive: 0)
    let shape = try #require(layer.parameters.first { $0.name == "router.weight" }).shape
    try layer.assign(
      "router.weight", (0..<shape[0] * shape[1]).map { $0 % 2 == 0 ? 10 : -10 })
    let before = try Snapshot(layer)
    let x = [Float](repeating: 3e38, count: 8).enumerated().map { $0 % 3 == 0 ? -$1 : $1 }
    for training in [true, false] {
      let error = #expect(throws: DynaMoEError.self) {
        try layer.run(x, rows: 2, training: training)
      }
      if let error, case .failed = error {} else { Issue.record("\(error as Any)") }
      #expect(try Snapshot(layer) == before)
    }
    if kind != "percentile" {
      #expect(throws: DynaMoEError.self) {
        try x.withUnsafeBufferPointer { try layer.calibrate($0, rows: 2, targetActive: 1) }
      }
      #expect(try Snapshot(layer) == before)
    }
  }

  /// λ of a target out of reach stays within bounds, and comes back from them.
  @Test(arguments: [0.5, 4.0])
  func coefficientOfSparsity(_ target: Double) throws {
    let layer = try MoELayer(
      LayerDescription(RouterDescription(kind: "relu", targetActive: target)) {
        $0.width = 4
        $0.experts = 4
      })
    let name = "router.control"
    try layer.assignBuffer(name, target < 1 ? [9e5, 0, 5, 0] : [1.1e-30, 0, 5, 0])
    var random = SeededGenerator(1)
    func step() throws {
      layer.zeroGradients()
      try layer.run(random.normals(40), rows: 10, training: true)
      try layer.step(learningRate: 0)
    }
    for _ in 0..<5 { try step() }
    #expect(try layer.values(name)[0] == (target < 1 ? 1e6 : 1e-30))
  }

  @Test(arguments: ["adamw", "sgd"])
  func gradientsWhoseSquaresOverflow(_ kind: String) throws {
    let testCase = GradientCase("", GradientTests.threshold) {
      $0.optimizer = .init(kind: kind, lr: 0.01)
    }
    let model = try testCase.model()
    let tensor = try #require(model.parameters.last)
    tensor.gradient![0] = 2e19
    let before = try Snapshot(model)
    let error = #expect(throws: DynaMoEError.self) { try model.step(learningRate: nil) }
    #expect("\(error as Any)".contains(tensor.name))
    #expect(try Snapshot(model) == before)
    tensor.gradient![0] = 9e17
    try model.step(learningRate: nil)
    #expect(model.parameters.allSatisfy { $0.values.allSatisfy(\.isFinite) })
    #expect(throws: DynaMoEError.self) { try model.step(learningRate: 1e7) }
  }

  /// Cross-entropy keeps its digits where the model is sure: -log p = log(1 + Σ e^(z - z_target)).
  @Test(arguments: [0.0, 3, 10, 13, 15, 30, -10, -100])
  func lossOfSureRows(_ margin: Double) throws {
    let model = try Model(
      ModelConfiguration(
        task: .classification, inputs: 1, outputs: 2, width: 1, experts: [1], router: .dense,
        norm: .none))
    for tensor in model.parameters {
      try model.assign(tensor.name, [Float](repeating: 0, count: tensor.values.count))
    }
    try model.assign("head.bias", [Float(margin), 0])
    try model.run(.features([0], rows: 1), training: true)
    let found = try model.losses(.classes([0])).task
    let expected = log1p(exp(-margin))
    #expect(abs(found - expected) <= 1e-6 * expected, "\(found) instead of \(expected)")
  }

  /// Routing entropy at any temperature, against double precision.
  @Test(arguments: [1, 0.1, 1e-3, 1e-6, 1e-30])
  func entropyAtSmallTemperatures(_ temperature: Double) throws {
    let layer = try MoELayer(
      LayerDescription(RouterDescription(kind: "top_k", temperature: temperature, k: 1)) {
        $0.width = 3
        $0.experts = 3
      })
    try layer.assign("router.weight", [1, 0, 0, 0, 1, 0, 0, 0, 1])
    let rows: [[Float]] = [[0.5, 0.25, -1], [1, 1, 1], [2, 2, -3], [0.001, 0.0012, 0.0011]]
    var expected = 0.0
    for row in rows {
      for s in referenceSoftmax(row.map { Double($0) / temperature }) where s > 0 {
        expected -= s * log(s) / Double(rows.count)
      }
    }
    try layer.run(rows.flatMap { $0 }, rows: rows.count, training: false)
    let found = try layer.routingStatistics(layer: 0).entropy
    #expect(abs(found - expected) < 1e-5, "\(found) instead of \(expected)")
  }

  /// Before any training every expert is active, also one whose score is 0 in single precision.
  @Test(arguments: ["threshold", "expert_threshold"])
  func coldThresholds(_ kind: String) throws {
    let layer = try MoELayer(
      LayerDescription(RouterDescription(kind: kind, temperature: 1e-3, targetActive: 1)) {
        $0.width = 2
        $0.experts = 2
      })
    try layer.assign("router.weight", [1, 0, 0, 1])
    try layer.run([1, -1], rows: 1, training: false)
    #expect(try layer.lastRouting(0).active == [true, true])
  }

  /// The losses of a forward keep the coefficient that it was made with.
  @Test func lossesAfterAStep() throws {
    let layer = try MoELayer(
      LayerDescription(RouterDescription(kind: "relu", targetActive: 1)) {
        $0.losses = .init(sparsity: 0.1)
      })
    var random = SeededGenerator(1)
    try layer.run(random.normals(60), rows: 10, training: true)
    let before = try layer.losses()
    #expect(before.sparsity > 0)
    try layer.step(learningRate: nil)
    #expect(try layer.losses() == before)
  }

  /// A list of routers with a target each takes memory for the layers, not for their square.
  @Test func manyRoutersWithTargets() throws {
    let layers = 20_000
    let configuration = ModelConfiguration(
      task: .classification, inputs: 1, outputs: 2, width: 1,
      experts: .list([Int](repeating: 1, count: layers)),
      routers: [RouterConfiguration](repeating: .threshold(targetActive: 1), count: layers))
    try configuration.validate()
  }
}
