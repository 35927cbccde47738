import Foundation
import Testing

@testable import DynaMoE

/// Routing statistics against counts taken from the routing of every forward.
@Suite struct StatisticsTests {
  /// What the statistics of one layer must be.
  private struct Tally {
    var experts: Int
    var rows = 0
    var kHistogram: [Int]
    var expertRows: [Int]
    var weightSums: [Double]
    var entropySum = 0.0
    var limited = 0
    var coactivation: [[Int]]

    init(experts: Int) {
      self.experts = experts
      kHistogram = Array(repeating: 0, count: experts + 1)
      expertRows = Array(repeating: 0, count: experts)
      weightSums = Array(repeating: 0, count: experts)
      coactivation = Array(repeating: expertRows, count: experts)
    }

    mutating func add(_ active: [Bool], _ weights: [Float], _ reference: ReferenceRouting) {
      for t in 0..<reference.z.rows {
        rows += 1
        let members = (0..<experts).filter { active[t * experts + $0] }
        kHistogram[members.count] += 1
        for e in members {
          expertRows[e] += 1
          weightSums[e] += Double(weights[t * experts + e])
          for other in members { coactivation[e][other] += 1 }
        }
        limited += reference.limited[t] ? 1 : 0
        for s in reference.lossScores.row(t) where s > 0 { entropySum -= s * log(s) }
      }
    }
  }

  private func expect(_ found: RoutingStatistics, _ tally: Tally, limitedMatters: Bool) {
    let rows = Double(tally.rows)
    #expect(found.experts == tally.experts)
    #expect(found.rows == tally.rows)
    #expect(found.kHistogram == tally.kHistogram)
    #expect(found.kHistogram.reduce(0, +) == found.rows)
    let mean = tally.kHistogram.enumerated().reduce(0) { $0 + Double($1.0 * $1.1) } / rows
    let variance =
      tally.kHistogram.enumerated().reduce(0) {
        $0 + Double($1.1) * (Double($1.0) - mean) * (Double($1.0) - mean)
      } / rows
    #expect(abs(found.meanActive - mean) < 1e-9)
    #expect(abs(found.varianceActive - variance) < 1e-9)
    #expect(found.expertRows == tally.expertRows)
    for e in 0..<tally.experts {
      let used = Double(max(tally.expertRows[e], 1))
      #expect(abs(found.meanWeight[e] - tally.weightSums[e] / used) < 1e-5)
    }
    #expect(abs(found.entropy - tally.entropySum / rows) < 1e-5)
    if limitedMatters { #expect(abs(found.limitedShare - Double(tally.limited) / rows) < 1e-9) }
    #expect(found.unused == tally.expertRows.count { $0 == 0 })
    #expect(found.coactivation == Array(tally.coactivation.joined()))
    let load = tally.expertRows.map(Double.init)
    let meanLoad = load.reduce(0, +) / Double(tally.experts)
    if meanLoad > 0 {
      let spread = load.reduce(0) { $0 + ($1 - meanLoad) * ($1 - meanLoad) }
      let deviation = (spread / Double(tally.experts)).squareRoot()
      #expect(abs(found.loadImbalance - load.max()! / meanLoad) < 1e-9)
      #expect(abs(found.loadVariation - deviation / meanLoad) < 1e-9)
    }
  }

  @Test(arguments: RandomNetwork.cases + RandomNetwork.wideCases)
  func countEveryForward(_ testCase: GradientCase) throws {
    let model = try testCase.model()
    var tallies = testCase.description.experts.map(Tally.init)
    var nearest = Double.infinity
    for part: UInt64 in 0..<4 {
      let batch = testCase.batch(part)
      var reference = ReferenceNetwork(testCase.description, like: model)
      try model.run(batch, training: part % 2 == 0)
      reference.frozen = try tallies.indices.map {
        FrozenRouting(active: try model.lastRouting($0).active)
      }
      let run = reference.forward(batch.reference, training: part % 2 == 0)
      for l in tallies.indices {
        let routing = try model.lastRouting(l)
        tallies[l].add(routing.active, routing.weights, run.layers[l].routing)
        nearest = min(nearest, run.layers[l].routing.margin.min() ?? nearest)
      }
    }
    for l in tallies.indices {
      expect(
        try model.routingStatistics(layer: l), tallies[l], limitedMatters: nearest > 1e-5)
    }
  }

  /// `trainBatch` and `evaluate` count too, once.
  @Test func compoundCallsCountOnce() throws {
    let testCase = GradientCase("", GradientTests.threshold, rows: 9)
    let model = try testCase.model()
    try model.train(testCase.batch(), testCase.goals())
    #expect(try model.routingStatistics(layer: 0).rows == 9)
    _ = try model.assess(testCase.batch(), testCase.goals())
    #expect(try model.routingStatistics(layer: 1).rows == 18)
  }

  @Test func resetForgets() throws {
    let testCase = GradientCase("", GradientTests.threshold)
    let model = try testCase.model()
    let fresh = String(describing: try model.routingStatistics(layer: 1))
    try model.run(testCase.batch(), training: true)
    #expect(String(describing: try model.routingStatistics(layer: 1)) != fresh)
    model.resetRoutingStatistics()
    let statistics = try model.routingStatistics(layer: 1)
    #expect(String(describing: statistics) == fresh)
    #expect(statistics.rows == 0)
    #expect(statistics.kHistogram == [0, 0, 0, 0])
    let derived = [
      statistics.meanActive, statistics.varianceActive, statistics.entropy,
      statistics.limitedShare, statistics.loadImbalance, statistics.loadVariation,
    ]
    #expect(derived.allSatisfy { $0 == 0 }, "\(derived)")
    #expect(statistics.unused == 3)
  }

  @Test func rowsWithoutExperts() throws {
    let layer = try MoELayer(
      LayerDescription(RouterDescription(kind: "threshold", minActive: 0, targetActive: 1)))
    try layer.assign("router.weight", [Float](repeating: 0, count: 24))
    var random = SeededGenerator(1)
    try layer.run(random.normals(30), rows: 5, training: true)
    let statistics = try layer.routingStatistics(layer: 0)
    #expect(statistics.kHistogram == [5, 0, 0, 0, 0])
    #expect(statistics.unused == 4)
    #expect(statistics.meanWeight == [0, 0, 0, 0])
    #expect(statistics.limitedShare == 0)
    #expect(statistics.loadImbalance.isFinite && statistics.loadVariation.isFinite)
  }

  @Test func countsOfTheNetwork() throws {
    let testCase = GradientCase("", RouterDescription(kind: "top_k", k: 2)) {
      $0.sharedExperts = 1
    }
    let model = try testCase.model()
    let elements = model.parameters.reduce(0) { $0 + $1.values.count }
    #expect(model.parameterCount == elements)
    // An expert has 6·5 + 5 + 5·6 + 6 = 71 parameters; of 4 and 3, two each are active.
    let active = Double(elements - 71 * (2 + 1))
    #expect(abs(model.activeParameterCount - active) < 1e-6)
    // 2 per multiply-add: input 30, routers 24 + 18, (2 + 1) experts of 60 in two layers, head 18.
    let experts = 2 * 3 * 60
    let flops = Double(2 * (30 + 24 + 18 + experts + 18))
    #expect(abs(model.flopsPerRow - flops) < 1e-6)
  }

  /// Before any row the mean K is what the router aims at, then what it was.
  @Test(arguments: [
    (RouterDescription(kind: "percentile"), 2.0), (.init(kind: "percentile", percentile: 0.3), 3),
    (.init(kind: "percentile", minActive: 2, percentile: 1), 2),
    (.init(kind: "threshold", targetActive: 1.6), 1.6),
    (.init(kind: "threshold", targetActive: 0.5), 1),
    (.init(kind: "expert_threshold", minActive: 0, targetActive: 0.5), 0.5),
    (.init(kind: "top_k", k: 3), 3), (.init(kind: "top_k", maxActive: 2, k: 3), 2),
    (.init(kind: "top_p"), 5), (.init(kind: "top_p", targetActive: 2), 2),
    (.init(kind: "relu"), 5), (.init(kind: "relu", targetActive: 2.5), 2.5),
    (.init(kind: "top_any"), 5), (.init(kind: "dense", maxActive: 4), 4),
  ])
  func whatIsActive(_ router: RouterDescription, _ aim: Double) throws {
    // Multiply-adds and parameters of an expert of width 6 and hidden size 5.
    for (activation, bias, product, parameters) in [
      ("gelu", true, 60, 71), ("gelu", false, 60, 60), ("swiglu", true, 90, 106),
      ("geglu", false, 90, 90),
    ] {
      let layer = try MoELayer(
        LayerDescription(router) {
          $0.experts = 5
          $0.activation = activation
          $0.bias = bias
        })
      func expectActive(_ k: Double) {
        let idle = (5 - k) * Double(parameters)
        #expect(abs(layer.activeParameterCount - (Double(layer.parameterCount) - idle)) < 1e-6)
        #expect(abs(layer.flopsPerRow - 2 * (30 + k * Double(product))) < 1e-6)
      }
      expectActive(aim)
      var random = SeededGenerator(2)
      try layer.run(random.normals(7 * 6), rows: 7, training: true)
      expectActive(try layer.routingStatistics(layer: 0).meanActive)
    }
  }
}
