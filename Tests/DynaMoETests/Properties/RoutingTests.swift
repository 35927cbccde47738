import Testing

@testable import DynaMoE

/// What must hold for every routing of every configuration.
@Suite struct RoutingTests {
  @Test(arguments: RandomNetwork.cases, [true, false])
  func agreesWithTheReference(_ testCase: GradientCase, training: Bool) throws {
    let model = try testCase.model()
    let batch = testCase.batch()
    var reference = ReferenceNetwork(testCase.description, like: model)
    let logits = try model.run(batch, training: training)
    reference.frozen = try testCase.description.experts.indices.map {
      FrozenRouting(active: try model.lastRouting($0).active)
    }
    let run = reference.forward(batch.reference, training: training)
    #expect(mismatch("logits", logits, run.logits.values) == nil)
    for l in run.layers.indices {
      expectRouting(try model.lastRouting(l), run.layers[l].routing, layer: l)
    }
  }

  @Test func mostRowsAreCompared() throws {
    var compared = 0
    var all = 0
    for testCase in RandomNetwork.cases {
      let model = try testCase.model()
      try model.run(testCase.batch(), training: true)
      let run = ReferenceNetwork(testCase.description, like: model).forward(
        testCase.batch().reference, training: true)
      for layer in run.layers {
        all += layer.routing.margin.count
        compared += layer.routing.margin.count { $0 > 1e-5 }
      }
    }
    let least = kernelsKeepBits ? 0.9 : 0.7
    #expect(Double(compared) > least * Double(all), "\(compared) of \(all) rows")
  }

  @Test(arguments: RandomNetwork.cases, [true, false])
  func staysWithinItsLimits(_ testCase: GradientCase, training: Bool) throws {
    var testCase = testCase
    for l in testCase.description.router.indices
    where !["top_any", "relu"].contains(testCase.description.router[l].kind) {
      testCase.description.router[l].noise = 0.05
    }
    let model = try testCase.model()
    try model.run(testCase.batch(), training: training)
    for (l, n) in testCase.description.experts.enumerated() {
      let settings = RouterSettings(testCase.description.router[l], experts: n)
      let (active, weights) = try model.lastRouting(l)
      for t in 0..<testCase.rows {
        let members = (0..<n).filter { active[t * n + $0] }
        #expect(members.count >= settings.minActive && members.count <= settings.maxActive)
        for e in 0..<n where !active[t * n + e] { #expect(weights[t * n + e] == 0) }
        let row = members.map { weights[t * n + $0] }
        if members.isEmpty { continue }
        switch (settings.kind, settings.gate) {
        case ("top_any", _): #expect(row.allSatisfy { $0 == 1 / Float(row.count) })
        case ("relu", _): #expect(row.allSatisfy { $0 >= 0 })
        case (_, "softmax"):
          #expect(abs(row.reduce(0, +) - 1) < 1e-5)
          #expect(row.allSatisfy { $0 > 0 })
        // With noise a sum of scores may be near 0 or below.
        case (_, "normalized"):
          if !training { #expect(abs(row.reduce(0, +) - 1) < 1e-5) }
        default: break
        }
        if settings.kind == "top_k" {
          #expect(
            members.count == min(max(settings.k, settings.minActive), settings.maxActive))
        }
        if settings.kind == "dense" { #expect(members.count == settings.maxActive) }
      }
    }
  }

  /// With a router of zeros all scores are equal: strict rules select nothing, orders start at 0.
  @Test(arguments: [
    (RouterDescription(kind: "top_k", k: 2), [true, true, false, false, false]),
    (RouterDescription(kind: "threshold", targetActive: 2), [true, false, false, false, false]),
    (
      RouterDescription(kind: "expert_threshold", minActive: 2, targetActive: 2),
      [true, true, false, false, false]
    ),
    (RouterDescription(kind: "percentile", minActive: 3), [true, true, true, false, false]),
    (RouterDescription(kind: "top_p", p: 0.5), [true, true, true, false, false]),
    (RouterDescription(kind: "dense", maxActive: 2), [true, true, false, false, false]),
    (RouterDescription(kind: "relu", minActive: 2), [true, true, false, false, false]),
    (RouterDescription(kind: "top_any"), [true, false, false, false, false]),
    (RouterDescription(kind: "percentile", minActive: 0), [false, false, false, false, false]),
  ])
  func tiesGoToTheLowerIndex(_ router: RouterDescription, _ expected: [Bool]) throws {
    let layer = try MoELayer(LayerDescription(router) { $0.experts = 5 })
    try layer.assign("router.weight", [Float](repeating: 0, count: 5 * 6))
    var random = SeededGenerator(1)
    let rows = 3
    let y = try layer.run(random.normals(rows * 6), rows: rows, training: true)
    #expect(
      try layer.lastRouting(0).active == Array(repeating: expected, count: rows).flatMap { $0 })
    if !expected.contains(true) { #expect(y.allSatisfy { $0 == 0 }) }
  }

  /// Equal scores only among some experts: the order is by score first, then by index.
  @Test func tiesAmongSome() throws {
    let layer = try MoELayer(
      LayerDescription(RouterDescription(kind: "top_k", k: 3)) {
        $0.width = 1
        $0.experts = 6
      })
    try layer.assign("router.weight", [1, 2, 1, 2, 1, 0])
    try layer.run([1], rows: 1, training: false)
    #expect(try layer.lastRouting(0).active == [true, true, false, true, false, false])
  }

  /// More experts than are sorted by insertion, many of them equal.
  @Test(arguments: [33, 40, 64, 129])
  func orderOfManyExperts(_ experts: Int) throws {
    let weight = (0..<experts).map { Float($0 * 7 % 11) / 4 }
    let order = (0..<experts).sorted {
      weight[$0] == weight[$1] ? $0 < $1 : weight[$0] > weight[$1]
    }
    for k in [1, 5, 17, experts - 1] {
      let layer = try MoELayer(
        LayerDescription(RouterDescription(kind: "top_k", k: k)) {
          $0.width = 1
          $0.experts = experts
        })
      try layer.assign("router.weight", weight)
      try layer.run([1], rows: 1, training: false)
      let best = Set(order.prefix(k))
      #expect(try layer.lastRouting(0).active == (0..<experts).map { best.contains($0) })
    }
  }

  /// Two of four equal scores reach one half.
  @Test func reachingPIsEnough() throws {
    let layer = try MoELayer(LayerDescription(RouterDescription(kind: "top_p", p: 0.5)))
    try layer.assign("router.weight", [Float](repeating: 0, count: 4 * 6))
    try layer.run([1, 2, 3, 4, 5, 6], rows: 1, training: false)
    #expect(try layer.lastRouting(0).active == [true, true, false, false])
  }

  /// At a whole position the score that stands there does not exceed the threshold.
  @Test(arguments: [(5, 0.5, 2), (9, 0.75, 2), (11, 0.3, 7), (11, 0.9, 1), (4, 1.0, 1)])
  func percentileAtAWholePosition(_ experts: Int, _ percentile: Double, _ k: Int) throws {
    let layer = try MoELayer(
      LayerDescription(RouterDescription(kind: "percentile", percentile: percentile)) {
        $0.width = 1
        $0.experts = experts
      })
    try layer.assign("router.weight", (0..<experts).map { Float($0 * 7 % experts) / 4 })
    try layer.run([1, -1], rows: 2, training: false)
    #expect(try layer.lastRouting(0).active.count { $0 } == 2 * k)
  }

  /// The bias of loss-free balancing is added to the scores as it is: here they differ by tanh(0.201) = 0.1983.
  @Test func biasThatJustTipsTheScales() throws {
    for (bias, expected) in [(0.198 as Float, [true, false]), (0.1987, [false, true])] {
      let layer = try MoELayer(
        LayerDescription(RouterDescription(kind: "top_k", balanceRate: 0.01, k: 1)) {
          $0.width = 1
          $0.experts = 2
        })
      try layer.assign("router.weight", [0.402, 0])
      try layer.assignBuffer("router.bias", [0, bias])
      try layer.run([1], rows: 1, training: false)
      #expect(try layer.lastRouting(0).active == expected, "bias \(bias)")
    }
  }

  /// With a target the buffer says what p is.
  @Test func controlledPIsInTheBuffer() throws {
    var random = SeededGenerator(2)
    let x = random.normals(30 * 6)
    func active(_ router: RouterDescription, control: [Float]?) throws -> [Bool] {
      let layer = try MoELayer(LayerDescription(router))
      try layer.randomiseParameters(seed: 3)
      if let control { try layer.assignBuffer("router.control", control) }
      try layer.run(x, rows: 30, training: false)
      return try layer.lastRouting(0).active
    }
    let plain = try active(RouterDescription(kind: "top_p", p: 0.875), control: nil)
    let controlled = RouterDescription(kind: "top_p", targetActive: 2, p: 0.3)
    #expect(try active(controlled, control: [0.875, 0, 4, 0]) == plain)
    #expect(try active(controlled, control: nil) != plain)
  }

  @Test func largerEverythingCountsAsAll() throws {
    let layer = try MoELayer(
      LayerDescription(RouterDescription(kind: "threshold", minActive: 9, targetActive: 50)))
    var random = SeededGenerator(1)
    try layer.run(random.normals(4 * 6), rows: 4, training: true)
    #expect(try layer.lastRouting(0).active.allSatisfy { $0 })
  }
}
