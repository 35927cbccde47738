import Testing

@testable import DynaMoE

/// One way to configure the optimizer.
struct OptimizerCase: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var settings: NetworkDescription.Optimizer

  init(_ name: String, _ settings: NetworkDescription.Optimizer) {
    testDescription = name
    self.settings = settings
  }
}

/// Optimizer steps against the formulas in double precision.
@Suite struct OptimizerTests {
  static let cases = [
    OptimizerCase("defaults", .init()),
    OptimizerCase(
      "adamw", .init(lr: 0.02, betas: [0.7, 0.9], eps: 1e-3, weightDecay: 0.2)),
    OptimizerCase("adamw, decay all", .init(lr: 0.02, weightDecay: 0.5, decayAll: true)),
    OptimizerCase("adamw, no decay", .init(lr: 0.02, weightDecay: 0)),
    OptimizerCase("adamw, clipped", .init(lr: 0.01, eps: 0.05, clip: 0.3)),
    OptimizerCase("adamw, not reached clip", .init(lr: 0.01, eps: 0.05, clip: 1e6)),
    OptimizerCase("adamw, warm-up", .init(lr: 0.02, warmup: 4)),
    OptimizerCase("adamw, cosine", .init(lr: 0.02, total: 7, floor: 0.1)),
    OptimizerCase("adamw, warm-up and cosine", .init(lr: 0.02, warmup: 3, total: 8)),
    OptimizerCase("sgd", .init(kind: "sgd", lr: 0.05)),
    OptimizerCase("sgd, L2", .init(kind: "sgd", lr: 0.05, weightDecay: 0.3)),
    OptimizerCase(
      "sgd, decay all", .init(kind: "sgd", lr: 0.05, weightDecay: 0.3, decayAll: true)),
    OptimizerCase(
      "sgd, momentum", .init(kind: "sgd", lr: 0.05, momentum: 0.9, weightDecay: 0.1)),
    OptimizerCase(
      "sgd, Nesterov",
      .init(kind: "sgd", lr: 0.05, momentum: 0.8, nesterov: true, weightDecay: 0.1, clip: 1)),
    OptimizerCase(
      "sgd, warm-up and cosine",
      .init(kind: "sgd", lr: 0.1, momentum: 0.5, warmup: 2, total: 9, floor: 0.3)),
  ]

  private func network(_ settings: NetworkDescription.Optimizer) -> GradientCase {
    GradientCase("", RouterDescription(kind: "top_any")) {
      $0.sharedExperts = 1
      $0.optimizer = settings
    }
  }

  /// Writes random gradients, which a step must use.
  private func write(_ gradients: inout SeededGenerator, _ model: Model, scale: Float)
    -> [String: [Double]]
  {
    var written: [String: [Double]] = [:]
    for tensor in model.parameters {
      let values = gradients.normals(tensor.values.count, scale: scale)
      for (i, value) in values.enumerated() { tensor.gradient![i] = value }
      written[tensor.name] = values.doubles
    }
    return written
  }

  @Test(arguments: cases)
  func tenSteps(_ optimizer: OptimizerCase) throws {
    let testCase = network(optimizer.settings)
    let model = try testCase.model()
    var reference = ReferenceOptimizer(
      optimizer.settings, parameters: model.allParameters.mapValues(\.doubles))
    var random = SeededGenerator(2)
    for step in 1...10 {
      model.zeroGradients()
      try model.run(testCase.batch(), training: true)
      try model.runBackward(testCase.goals())
      let gradients = write(&random, model, scale: step == 3 ? 0.001 : 0.3)
      let override = step == 6 ? 0.003 : nil
      try model.step(learningRate: override)
      reference.step(gradients, learningRate: override)
      #expect(model.optimizerSteps == step)
      for (name, values) in reference.parameters {
        #expect(
          mismatch(
            "\(name), step \(step)", try model.values(name), values, absolute: 2e-6,
            relative: 2e-6) == nil)
      }
    }
  }

  @Test(arguments: cases)
  func learningRates(_ optimizer: OptimizerCase) throws {
    let configuration = try ModelConfiguration(json: network(optimizer.settings).description.json)
    for step in [1, 2, 3, 4, 5, 7, 8, 9, 20, 1_000_000] {
      let expected = ReferenceOptimizer.learningRate(optimizer.settings, step: step)
      let found = configuration.optimizer.learningRate(step: step)
      #expect(abs(found - expected) <= 1e-12, "step \(step): \(found), \(expected)")
    }
  }

  /// With gradients of zero a step decays exactly the weights, and not those of norms.
  @Test(arguments: ["adamw", "sgd"], [false, true])
  func decayedParameters(_ kind: String, _ all: Bool) throws {
    let model = try network(
      .init(kind: kind, lr: 0.1, weightDecay: 0.5, decayAll: all)
    ).model()
    let before = model.allParameters
    try model.step(learningRate: nil)
    var decayed: Set<String> = []
    for (name, values) in before {
      let after = try model.values(name)
      if after == values { continue }
      decayed.insert(name)
      #expect(
        mismatch(name, after, values.map { 0.95 * Double($0) }, absolute: 1e-7, relative: 1e-6)
          == nil)
    }
    let expected =
      all
      ? Set(before.keys)
      : [
        "input.weight", "head.weight",
        "layers.0.router.weight", "layers.0.experts.up.weight", "layers.0.experts.down.weight",
        "layers.0.shared.up.weight", "layers.0.shared.down.weight",
        "layers.1.router.weight", "layers.1.experts.up.weight", "layers.1.experts.down.weight",
        "layers.1.shared.up.weight", "layers.1.shared.down.weight",
      ]
    #expect(decayed == expected)
  }

  /// An expert that no row used is stepped like the rest: decay, and what momentum remains.
  @Test func unusedExperts() throws {
    let testCase = GradientCase("", RouterDescription(kind: "top_k", k: 1)) {
      $0.experts = [3]
      $0.width = 2
      $0.norm = "none"
      $0.hidden = 4
      $0.optimizer = .init(lr: 0.01, weightDecay: 0.4)
    }
    let model = try testCase.model()
    // All rows choose expert 1: its scores are largest whatever the sign of x.
    try model.assign("input.weight", [Float](repeating: 0, count: 10))
    try model.assign("input.bias", [1, 1])
    try model.assign("layers.0.router.weight", [-1, -1, 2, 2, -1, -1])
    var reference = ReferenceOptimizer(
      testCase.description.optimizer!, parameters: model.allParameters.mapValues(\.doubles))
    for step in 0..<3 as Range<UInt64> {
      model.zeroGradients()
      try model.run(testCase.batch(step), training: true)
      #expect(
        try model.lastRouting(0).active
          == Array(repeating: [false, true, false], count: 8).flatMap { $0 })
      try model.runBackward(testCase.goals(step))
      for name in ["up.weight", "up.bias", "down.weight", "down.bias"] {
        let gradient = try model.gradient("layers.0.experts.\(name)")
        let size = gradient.count / 3
        #expect(
          gradient[..<size].allSatisfy { $0 == 0 } && gradient[(2 * size)...].allSatisfy { $0 == 0 }
        )
        #expect(gradient[size..<2 * size].contains { $0 != 0 })
      }
      // A gradient from elsewhere, so that the unused experts have momentum in later steps.
      if step == 0 {
        let tensor = try #require(
          model.parameters.first { $0.name == "layers.0.experts.up.weight" })
        for i in 0..<8 { tensor.gradient![i] = 0.5 }
      }
      reference.step(model.allGradients.mapValues(\.doubles))
      try model.step(learningRate: nil)
    }
    for (name, values) in reference.parameters where name.contains("experts") {
      #expect(mismatch(name, try model.values(name), values, absolute: 2e-6) == nil)
    }
  }

  /// What follows each step besides the parameters: λ, p and the balancing bias.
  @Test func controllersFollowTheCounts() throws {
    let testCase = GradientCase("", RouterDescription(kind: "dense")) {
      $0.experts = [6, 6, 6]
      $0.losses = .init(sparsity: 0.01)
      $0.router = [
        RouterDescription(kind: "relu", targetActive: 2),
        RouterDescription(kind: "top_p", maxActive: 5, targetActive: 2, p: 0.5),
        RouterDescription(kind: "top_k", balanceRate: 0.03, k: 2),
      ]
    }
    let model = try Model(testCase.description, seed: 4)
    var strength = 0.01
    var p = 0.5
    var error = 0.0
    var bias = [Double](repeating: 0, count: 6)
    for step: UInt64 in 0..<6 {
      // Counts go over all training forwards since the last step, whatever came between.
      var counts = Array(repeating: [Int](repeating: 0, count: 6), count: 3)
      model.zeroGradients()
      for part in 0..<(1 + step % 2) {
        try model.run(testCase.batch(step * 2 + part), training: true)
        for l in 0..<3 {
          let active = try model.lastRouting(l).active
          for (i, flag) in active.enumerated() where flag { counts[l][i % 6] += 1 }
        }
        try model.runBackward(testCase.goals(step))
        try model.run(testCase.batch(99), training: false)
      }
      try model.step(learningRate: nil)
      let rows = Double(8 * (1 + step % 2))
      strength = Double(counts[0].reduce(0, +)) > 2 * rows ? strength * 1.2 : strength / 1.2
      let now = (2 - Double(counts[1].reduce(0, +)) / rows) / 6
      p = min(1, max(0, p + 0.1 * (now - error) + 0.05 * now))
      error = now
      let mean = Double(counts[2].reduce(0, +)) / 6
      for e in 0..<6 {
        let difference = mean - Double(counts[2][e])
        bias[e] += difference == 0 ? 0 : difference > 0 ? 0.03 : -0.03
      }
      let shift = bias.reduce(0, +) / 6
      bias = bias.map { $0 - shift }
      let buffers = model.allBuffers
      #expect(
        mismatch("λ", [buffers["layers.0.router.control"]![0]], [strength], absolute: 1e-7) == nil)
      #expect(
        mismatch(
          "p", Array(buffers["layers.1.router.control"]![0...1]), [p, error], absolute: 1e-6)
          == nil)
      #expect(mismatch("bias", buffers["layers.2.router.bias"]!, bias, absolute: 1e-6) == nil)
    }
  }

  @Test func embeddingsDecay() throws {
    let testCase = GradientCase(
      "", .tokens(GradientTests.threshold) { $0.optimizer = .init(lr: 0.1, weightDecay: 0.5) })
    let model = try testCase.model()
    let before = try model.values("embedding.weight").map { 0.95 * Double($0) }
    try model.step(learningRate: nil)
    #expect(
      mismatch("embedding", try model.values("embedding.weight"), before, absolute: 1e-6) == nil)
  }

  /// p stays in 0 … 1 however far the target is; λ and p count their updates.
  @Test(arguments: [(0.99, 4.0, 1 as Float), (0.01, 0.1, 0)])
  func pStaysAProbability(_ p: Double, _ target: Double, _ end: Float) throws {
    let layer = try MoELayer(
      LayerDescription(
        RouterDescription(
          kind: "top_p", minActive: 1, maxActive: target > 1 ? 1 : nil, targetActive: target, p: p))
    )
    let x = [Float](repeating: 0.5, count: 12)
    for step in 1...4 {
      try layer.run(x, rows: 2, training: true)
      try layer.step(learningRate: 0)
      let control = try layer.values("router.control")
      #expect(control[2] == Float(step))
      #expect((0...1).contains(control[0]))
      if step >= 2 { #expect(control[0] == end) }
    }
  }

  @Test func reluCountsItsUpdates() throws {
    let layer = try MoELayer(
      LayerDescription(RouterDescription(kind: "relu", targetActive: 2)))
    for step in 1...3 {
      try layer.run([Float](repeating: 0.5, count: 12), rows: 2, training: true)
      try layer.step(learningRate: 0)
      #expect(try layer.values("router.control")[2] == Float(step))
    }
  }

  /// An expert with just the mean load keeps its bias, but for the centring.
  @Test func balancingLeavesAMetLoad() throws {
    let layer = try MoELayer(
      LayerDescription(RouterDescription(kind: "top_k", balanceRate: 0.03, k: 1)) {
        $0.width = 1
        $0.experts = 3
      })
    try layer.assign("router.weight", [1, -1, 0])
    try layer.assignBuffer("router.bias", [0, 0, 0.1])
    // Loads 2, 0 and 1 of three rows.
    try layer.run([1, 1, 0], rows: 3, training: true)
    try layer.step(learningRate: 0)
    #expect(
      mismatch(
        "bias", try layer.values("router.bias"), [-0.1 / 3 - 0.03, -0.1 / 3 + 0.03, 0.2 / 3])
        == nil)
  }
}
