import Testing

@testable import DynaMoE

/// Stored thresholds: what a training forward and an evaluation do with them.
@Suite struct ThresholdTests {
  static let kinds = ["threshold", "expert_threshold"]

  private func layer(
    _ kind: String, noise: Double? = nil, target: Double = 2, minActive: Int? = 0
  ) throws -> (LayerDescription, MoELayer) {
    let description = LayerDescription(
      RouterDescription(
        kind: kind, noise: noise, minActive: minActive, targetActive: target, momentum: 0.8)
    ) {
      $0.width = 9
      $0.experts = 8
    }
    let layer = try MoELayer(description)
    try layer.randomiseParameters(seed: 6)
    return (description, layer)
  }

  private func name(_ kind: String) -> String {
    kind == "threshold" ? "router.threshold" : "router.expert_thresholds"
  }

  /// Thresholds of the clean scores of a batch.
  private func clean(_ description: LayerDescription, _ layer: MoELayer, _ x: [Float], rows: Int)
    -> [Double]
  {
    let router = ReferenceRouter(
      settings: RouterSettings(description.router, experts: 8),
      weight: Matrix(8, 9, layer.allParameters["router.weight"]!.doubles), gates: [],
      bias: Array(repeating: 0, count: 8), stored: [], control: nil)
    return router.route(Matrix(rows, 9, x.doubles), training: true, frozen: FrozenRouting())
      .cleanThresholds
  }

  @Test(arguments: kinds)
  func allActiveBeforeTraining(_ kind: String) throws {
    let (_, layer) = try layer(kind)
    var random = SeededGenerator(1)
    try layer.run(random.normals(90), rows: 10, training: false)
    #expect(try layer.lastRouting(0).active.allSatisfy { $0 })
    #expect(try layer.values(name(kind)).allSatisfy { $0 == 0 })
    #expect(try layer.values("router.control") == [0, 0, 0, 0])
  }

  /// The batch quantile makes the mean number of active experts what was asked for.
  @Test(arguments: kinds, [0.5, 1.0, 2.0, 3.5, 8.0])
  func trainingMeetsTheTarget(_ kind: String, _ target: Double) throws {
    let (_, layer) = try layer(kind, noise: 0.05, target: target)
    var random = SeededGenerator(2)
    let rows = 400
    try layer.run(random.normals(rows * 9), rows: rows, training: true)
    let active = try layer.lastRouting(0).active
    let mean = Double(active.count { $0 }) / Double(rows)
    // Of an expert's scores the lowest is never above the quantile at 0.
    #expect(abs(mean - target) <= 8.0 / Double(rows) * 2)
    if kind == "expert_threshold" {
      for e in 0..<8 {
        let own = (0..<rows).count { active[$0 * 8 + e] }
        #expect(abs(Double(own) - Double(rows) * target / 8) <= 2, "expert \(e)")
      }
    }
  }

  /// The first update copies, later ones follow; noise moves the selection but not what is stored.
  @Test(arguments: kinds, [nil, 0.3])
  func storedThresholdsFollowCleanScores(_ kind: String, _ noise: Double?) throws {
    let (description, layer) = try layer(kind, noise: noise)
    var random = SeededGenerator(3)
    var expected: [Double] = []
    for step in 0..<5 {
      let rows = 7 + step
      let x = random.normals(rows * 9)
      let fresh = clean(description, layer, x, rows: rows)
      expected = step == 0 ? fresh : zip(expected, fresh).map { 0.8 * $0 + 0.2 * $1 }
      try layer.run(x, rows: rows, training: true)
      #expect(
        mismatch("step \(step)", try layer.values(name(kind)), expected, absolute: 1e-6) == nil)
      #expect(try layer.values("router.control") == [0, 0, Float(step + 1), 0])
    }
  }

  /// The bias of loss-free balancing counts, the noise does not; the selection has both.
  @Test func storedThresholdOfBiasedScores() throws {
    let router = RouterDescription(
      kind: "threshold", gate: "raw", noise: 0.3, minActive: 0, balanceRate: 0.01, targetActive: 2)
    let layer = try MoELayer(LayerDescription(router))
    try layer.randomiseParameters(seed: 6)
    let bias: [Float] = [0.2, -0.1, 0.05, -0.15]
    try layer.assignBuffer("router.bias", bias)
    var random = SeededGenerator(3)
    let rows = 40
    let x = random.normals(rows * 6)
    try layer.run(x, rows: rows, training: true)
    let active = try layer.lastRouting(0).active
    let stored = try layer.values("router.threshold")[0]
    let settings = RouterSettings(router, experts: 4)
    let reference = ReferenceRouter(
      settings: settings, weight: Matrix(4, 6, try layer.values("router.weight").doubles),
      gates: [], bias: bias.doubles, stored: [], control: nil)
    let clean = reference.route(
      Matrix(rows, 6, x.doubles), training: true, frozen: FrozenRouting())
    #expect(abs(Double(stored) - clean.cleanThresholds[0]) < 1e-6)

    // The noise of the same forward, from a layer whose weights are the noisy scores.
    let twin = try MoELayer(
      LayerDescription(RouterDescription(kind: "dense", gate: "raw", noise: 0.3)))
    try twin.assign("router.weight", try layer.values("router.weight"))
    try twin.run(x, rows: rows, training: true)
    let v = zip(try twin.lastRouting(0).weights, 0...).map { $0 + bias[$1 % 4] }
    let threshold = referenceQuantile(v.doubles, 0.5)
    for (i, score) in v.enumerated() where abs(Double(score) - threshold) > 1e-5 {
      #expect(active[i] == (Double(score) > threshold), "row \(i / 4), expert \(i % 4)")
    }
  }

  @Test(arguments: kinds)
  func evaluationUsesTheStored(_ kind: String) throws {
    let (_, layer) = try layer(kind)
    let limits: [Float] = [0.05, 0.1, 0.15, 0.2, 0.12, 0.08, 0.3, 0.01]
    let stored = kind == "threshold" ? [Float(0.13)] : limits
    try layer.assignBuffer(name(kind), stored)
    try layer.assignBuffer("router.control", [0, 0, 3, 0])
    var random = SeededGenerator(4)
    let x = random.normals(20 * 9)
    try layer.run(x, rows: 20, training: false)
    let (active, weights) = try layer.lastRouting(0)
    for t in 0..<20 {
      let z = (0..<8).map { e in
        (0..<9).reduce(0.0) {
          $0 + Double(x[t * 9 + $1])
            * Double(layer.parameters.first { $0.name == "router.weight" }!.values[e * 9 + $1])
        }
      }
      for (e, s) in referenceSoftmax(z).enumerated() {
        let limit = Double(kind == "threshold" ? stored[0] : stored[e])
        if abs(s - limit) > 1e-5 { #expect(active[t * 8 + e] == (s > limit)) }
        if active[t * 8 + e] { #expect(abs(Double(weights[t * 8 + e]) - s) < 1e-5) }
      }
    }
    #expect(try layer.values(name(kind)) == stored)
  }

  /// The starting values of what is saved beside the parameters.
  @Test func freshBuffers() throws {
    let model = try Model(
      NetworkDescription(RouterDescription(kind: "dense")) {
        $0.experts = [3, 3, 3, 3, 3, 3]
        $0.losses = .init(sparsity: 0.25)
        $0.router = [
          RouterDescription(kind: "threshold", targetActive: 1),
          RouterDescription(kind: "expert_threshold", targetActive: 1),
          RouterDescription(kind: "top_p", targetActive: 2, p: 0.5),
          RouterDescription(kind: "relu", targetActive: 2),
          RouterDescription(kind: "top_k", balanceRate: 0.1, k: 1),
          RouterDescription(kind: "relu"),
        ]
      })
    #expect(
      model.allBuffers == [
        "layers.0.router.threshold": [0], "layers.0.router.control": [0, 0, 0, 0],
        "layers.1.router.expert_thresholds": [0, 0, 0],
        "layers.1.router.control": [0, 0, 0, 0], "layers.2.router.control": [0.5, 0, 0, 0],
        "layers.3.router.control": [0.25, 0, 0, 0], "layers.4.router.bias": [0, 0, 0],
      ])
  }
}
