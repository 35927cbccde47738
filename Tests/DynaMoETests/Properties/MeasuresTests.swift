import Foundation
import Testing

@testable import DynaMoE

/// The statistics that are off until asked for: participation and gradient variance.
@Suite struct MeasuresTests {
  private func layer(width: Int = 6) throws -> MoELayer {
    try MoELayer(
      LayerDescription(RouterDescription(kind: "threshold", targetActive: 2)) { $0.width = width })
  }

  /// (tr C)²/tr C², naively and in double precision.
  private func participation(_ rows: [[Float]]) -> Double {
    let width = rows[0].count
    let means = (0..<width).map { i in rows.reduce(0) { $0 + Double($1[i]) } / Double(rows.count) }
    var trace = 0.0
    var squares = 0.0
    for i in 0..<width {
      for j in 0..<width {
        let sum = rows.reduce(0.0) {
          $0 + (Double($1[i]) - means[i]) * (Double($1[j]) - means[j])
        }
        let covariance = sum / Double(rows.count)
        if i == j { trace += covariance }
        squares += covariance * covariance
      }
    }
    return squares > 0 ? trace * trace / squares : 0
  }

  @Test(arguments: [Float(0), 300])
  func participationOfSeveralForwards(_ offset: Float) throws {
    let layer = try layer()
    try layer.measure(.participation)
    var random = SeededGenerator(4)
    var all: [[Float]] = []
    for (part, rows) in [9, 1, 30, 4].enumerated() {
      let x = random.normals(rows * 6).enumerated().map { offset + $1 * Float(1 + $0 % 3) }
      try layer.run(x, rows: rows, training: part % 2 == 0)
      all += (0..<rows).map { Array(x[$0 * 6..<($0 + 1) * 6]) }
    }
    let found = try #require(try layer.routingStatistics(layer: 0).participation)
    let expected = participation(all)
    #expect(abs(found - expected) < 1e-3 * expected, "\(found) instead of \(expected)")
    layer.resetRoutingStatistics()
    #expect(try layer.routingStatistics(layer: 0).participation == 0)
  }

  @Test func participationOfKnownRows() throws {
    let layer = try layer(width: 4)
    try layer.measure(.participation)
    try layer.run([Float](repeating: 2.5, count: 40), rows: 10, training: false)
    #expect(try layer.routingStatistics(layer: 0).participation == 0)
    layer.resetRoutingStatistics()
    // One direction only, then all four alike.
    try layer.run([1, 2, 3, 4, -1, -2, -3, -4], rows: 2, training: false)
    var found = try #require(try layer.routingStatistics(layer: 0).participation)
    #expect(abs(found - 1) < 1e-6)
    layer.resetRoutingStatistics()
    var axes = [Float](repeating: 0, count: 32)
    for i in 0..<4 {
      axes[i * 5] = 1
      axes[16 + i * 5] = -1
    }
    try layer.run(axes, rows: 8, training: false)
    found = try #require(try layer.routingStatistics(layer: 0).participation)
    #expect(abs(found - 4) < 1e-6)
  }

  /// More rows than one chunk of an evaluation has, in a network without norms, whose blocks overwrite their input.
  @Test func participationAcrossChunks() throws {
    let testCase = GradientCase("", RouterDescription(kind: "top_k", k: 1), rows: 5000) {
      $0.norm = "none"
    }
    let model = try testCase.model()
    let twin = try testCase.model()
    for network in [model, twin] { try network.measure(.participation) }
    try model.run(testCase.batch(), training: false)
    try twin.run(testCase.batch(), training: true)
    for l in 0..<model.layerCount {
      let chunks = try #require(try model.routingStatistics(layer: l).participation)
      let whole = try #require(try twin.routingStatistics(layer: l).participation)
      #expect(abs(chunks - whole) < 1e-4 * whole)
    }
  }

  @Test func varianceOverMicroBatches() throws {
    let testCase = GradientCase("", GradientTests.threshold)
    let model = try testCase.model()
    try model.measure(.gradientVariance)
    #expect(throws: DynaMoEError.self) { try model.gradientVariance() }
    var gradients: [[[Float]]] = []
    for part: UInt64 in 0..<5 {
      let single = try testCase.model()
      try single.run(testCase.batch(part), training: true)
      try single.runBackward(testCase.goals(part))
      gradients.append(single.parameters.map { Array($0.gradient!) })
      try model.run(testCase.batch(part), training: true)
      try model.runBackward(testCase.goals(part))
      let found = try model.gradientVariance()
      for (index, tensor) in model.parameters.enumerated() {
        let count = Double(gradients.count)
        var sum = 0.0
        for i in 0..<tensor.values.count {
          let values = gradients.map { Double($0[index][i]) }
          let mean = values.reduce(0, +) / count
          sum += values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count
        }
        let expected = sum / Double(tensor.values.count)
        #expect(abs(found[index] - expected) <= 1e-9 + 1e-3 * expected, "\(tensor.name)")
        if part > 0 { #expect(found.contains { $0 > 0 }) }
      }
    }
    model.zeroGradients()
    #expect(throws: DynaMoEError.self) { try model.gradientVariance() }
    try model.train(testCase.batch(), testCase.goals())
    #expect(try model.gradientVariance().allSatisfy { $0 == 0 })
  }

  /// On or off: the same bits.
  @Test func changesNoResult() throws {
    let testCase = GradientCase("", GradientTests.threshold)
    let model = try testCase.model()
    let twin = try testCase.model()
    try model.measure([.participation, .gradientVariance])
    #expect(model.measures == [.participation, .gradientVariance])
    for network in [model, twin] {
      for part: UInt64 in 0..<3 {
        try network.train(testCase.batch(part), testCase.goals(part))
        network.zeroGradients()
        try network.run(testCase.batch(part), training: true)
        try network.runBackward(testCase.goals(part))
        try network.step(learningRate: nil)
      }
    }
    #expect(try Snapshot(model, statistics: false) == Snapshot(twin, statistics: false))
    try model.measure([])
    #expect(model.measures == [])
    #expect(try model.routingStatistics(layer: 0).participation == nil)
    #expect(
      try String(describing: model.routingStatistics(layer: 1))
        == String(describing: twin.routingStatistics(layer: 1)))
    #expect(throws: DynaMoEError.self) { try model.measure(Measures(rawValue: 4)) }
  }

  @Test func refusedForwardsAreNotMeasured() throws {
    let testCase = GradientCase("", GradientTests.threshold)
    let model = try testCase.model()
    try model.measure(.participation)
    try model.run(testCase.batch(), training: false)
    let before = try model.routingStatistics(layer: 1).participation
    try model.assign("head.weight", [Float](repeating: 3e38, count: 18))
    #expect(throws: DynaMoEError.self) { try model.run(testCase.batch(1), training: false) }
    #expect(throws: DynaMoEError.self) { try model.run(testCase.batch(1), training: true) }
    #expect(try model.routingStatistics(layer: 1).participation == before)
  }
}
