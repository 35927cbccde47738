import Testing

@testable import DynaMoE

/// The ways to a gradient other than one backward from targets, and the strength of the check.
@Suite struct BackwardTests {
  static let mixed = GradientCase(
    "two kinds with auxiliary losses", RouterDescription(kind: "dense")
  ) {
    $0.router = [
      RouterDescription(kind: "threshold", targetActive: 1.6),
      RouterDescription(kind: "top_k", k: 2),
    ]
    $0.losses = .init(balance: 0.3, z: 0.1, entropy: 0.2)
    $0.sharedExperts = 1
  }

  /// A gradient that is one per cent too large, or wrong in one element, does not pass.
  @Test(arguments: [mixed, GradientTests.scaledTopAny, GradientTests.tied])
  func comparisonNoticesOnePerCent(_ testCase: GradientCase) throws {
    let comparison = try testCase.compare(testCase.model())
    #expect(comparison.mismatches == [])
    for (name, values) in comparison.found {
      let largest = try #require(values.indices.max { abs(values[$0]) < abs(values[$1]) })
      try #require(abs(values[largest]) > 1e-3, "\(name) has a gradient to speak of")
      var scaled = comparison
      scaled.found[name] = values.map { $0 * 1.01 }
      #expect(scaled.mismatches.count == 1, "\(name) is one per cent too large")
      var single = comparison
      single.found[name]?[largest] *= 1.01
      #expect(single.mismatches.count == 1, "\(name)[\(largest)] is one per cent too large")
      single.found[name]?[largest] = 0
      #expect(single.mismatches.count == 1, "\(name)[\(largest)] is missing")
    }
  }

  @Test func gradientsAccumulateUntilZeroed() throws {
    let testCase = Self.mixed
    let model = try testCase.model()
    let first = try testCase.compare(model, part: 0)
    #expect(first.mismatches == [])
    let second = try testCase.compare(model, part: 1)
    #expect(
      GradientComparison.accumulated(first.without("x"), second.without("x")).mismatches == [])
    model.zeroGradients()
    #expect(model.allGradients.values.allSatisfy { $0.allSatisfy { $0 == 0 } })
    #expect(try testCase.compare(model, part: 2).mismatches == [])
  }

  @Test(arguments: [
    mixed, GradientTests.reluWithSparsity,
    GradientCase("tokens", .tokens(RouterDescription(kind: "relu")) { $0.tiedEmbedding = true }),
  ])
  func fromAnOutputGradient(_ testCase: GradientCase) throws {
    let model = try testCase.model()
    let batch = testCase.batch()
    var random = SeededGenerator(3)
    let outputGradient = random.normals(testCase.rows * model.outputs)
    var reference = ReferenceNetwork(testCase.description, like: model)
    try model.run(batch, training: true)
    try reference.freeze(model, batch.reference)
    let input = try model.runBackward(
      outputGradient: outputGradient, inputCount: testCase.inputCount)
    let expected = ReferenceGradients(
      reference, batch.reference, withInput: testCase.inputCount != nil
    ) { run in
      let losses = ReferenceLosses(layers: run.layers, testCase.description.losses)
      return zip(run.logits.values, outputGradient).reduce(losses.total) {
        $0 + $1.0 * Double($1.1)
      }
    }
    var comparison = GradientComparison(
      found: model.allGradients, expected: expected.parameters)
    if testCase.inputCount != nil {
      comparison.found["x"] = input
      comparison.expected["x"] = expected.input
    }
    #expect(comparison.mismatches == [])
  }

  /// One plain SGD step with learning rate 1 moves each parameter by its gradient.
  @Test(arguments: ["classification", "regression"])
  func sampleWeights(_ task: String) throws {
    let testCase = GradientCase(task, GradientTests.threshold, ignored: [2]) {
      $0.task = task
      $0.losses = .init(balance: 0.3)
      $0.optimizer = .init(kind: "sgd", lr: 1)
    }
    let weights: [Float] = [0.5, 2, 3, 0, 1, 0.25, 4, 1]
    let model = try testCase.model()
    let batch = testCase.batch()
    let goals = testCase.goals()
    let before = model.allParameters
    var reference = ReferenceNetwork(testCase.description, like: model)
    let losses = try model.train(batch, goals, sampleWeight: weights)
    try reference.freeze(model, batch.reference)
    let objective = { (run: ReferenceRun) in
      ReferenceLosses(run, goals, testCase.description, sampleWeight: weights)
    }
    expectLosses(losses, objective(reference.forward(batch.reference, training: true)))
    let expected = ReferenceGradients(reference, batch.reference, withInput: false) {
      objective($0).total
    }
    let after = model.allParameters
    let found = before.reduce(into: [String: [Float]]()) { result, item in
      result[item.key] = zip(item.value, after[item.key]!).map { $0 - $1 }
    }
    #expect(
      GradientComparison(found: found, expected: expected.parameters).mismatches == [])
  }

  @Test func trainingABatchIsTheSameAsItsParts() throws {
    let testCase = Self.mixed
    let whole = try testCase.model()
    let parts = try testCase.model()
    for step: UInt64 in 0..<3 {
      let batch = testCase.batch(step)
      let goals = testCase.goals(step)
      let losses = try whole.train(batch, goals)
      parts.zeroGradients()
      try parts.run(batch, training: true)
      #expect(try parts.losses(goals).total == losses.total)
      try parts.runBackward(goals)
      try parts.step(learningRate: nil)
    }
    #expect(whole.allParameters.mapValues(\.bits) == parts.allParameters.mapValues(\.bits))
    #expect(whole.allBuffers.mapValues(\.bits) == parts.allBuffers.mapValues(\.bits))
  }

  @Test(arguments: ["threshold", "percentile", "top_k", "relu", "top_any"])
  func singleLayer(_ kind: String) throws {
    var router = RouterDescription(kind: kind)
    if kind == "threshold" || kind == "relu" { router.targetActive = 1.6 }
    if kind == "top_k" { router.k = 2 }
    let description = LayerDescription(router) {
      $0.activation = "swiglu"
      $0.sharedExperts = 1
      $0.losses = .init(balance: 0.3, z: 0.1, entropy: 0.2, sparsity: 0.03)
    }
    let layer = try MoELayer(description)
    try layer.randomiseParameters(seed: 4)
    var random = SeededGenerator(8)
    try expectAgreement(description, layer, random.normals(9 * description.width))
  }

  /// Under `expert_threshold` an expert can be the only one of a row whose score of it is near 0: the sum of scores is then
  /// raised, and a constant.
  @Test func raisedSumOfScores() throws {
    let description = LayerDescription(
      RouterDescription(kind: "expert_threshold", gate: "normalized", targetActive: 1)
    ) {
      $0.width = 1
      $0.experts = 2
    }
    let layer = try MoELayer(description)
    try layer.randomiseParameters(seed: 4)
    try layer.assign("router.weight", [20, 0])
    try expectAgreement(description, layer, [1, 1.01, 1.02])
    let weights = try layer.lastRouting(0).weights
    #expect(abs(weights[1] - 2.06e-3) < 1e-5, "the score is 2.06e-9, divided by 1e-6")
  }

  /// Rows and vectors of experts that are shorter than 1e-8 count as that long, a constant.
  @Test func raisedNorms() throws {
    let description = LayerDescription(RouterDescription(kind: "top_any", scale: 1.5))
    let layer = try MoELayer(description)
    try layer.randomiseParameters(seed: 4)
    var weight = try layer.values("router.weight")
    for i in 0..<description.width { weight[i] *= 2e-9 }
    try layer.assign("router.weight", weight)
    try layer.assign("router.gates", [-2, -2, -2, -2])
    var random = SeededGenerator(8)
    var x = random.normals(7 * description.width, scale: 2e-9)
    for i in 0..<description.width { x[i] = 0 }
    try expectAgreement(description, layer, x, step: 1e-10)
  }

  /// Forward, losses and gradients of a single layer against the reference.
  private func expectAgreement(
    _ description: LayerDescription, _ layer: MoELayer, _ x: [Float], step: Double = 1e-6
  ) throws {
    let rows = x.count / description.width
    var random = SeededGenerator(9)
    let outputGradient = random.normals(x.count)
    let reference = ReferenceLayer(settings: LayerSettings(description), prefix: "")
    let parameters = layer.allParameters.mapValues(\.doubles)
    let buffers = layer.allBuffers.mapValues(\.doubles)

    let y = try layer.run(x, rows: rows, training: true)
    var frozen = FrozenRouting(active: try layer.lastRouting(0).active)
    func run(_ parameters: [String: [Double]], _ x: [Double]) -> ReferenceLayerRun {
      reference.run(
        Matrix(rows, description.width, x), parameters: parameters, buffers: buffers,
        training: true, frozen: frozen)
    }
    let first = run(parameters, x.doubles)
    frozen.straightThroughOrigin = first.routing.excess
    #expect(mismatch("y", y, first.output.values) == nil)
    expectRouting(try layer.lastRouting(0), first.routing, layer: 0)
    expectLosses(try layer.losses(), ReferenceLosses(layers: [first], description.losses))

    func objective(_ run: ReferenceLayerRun) -> Double {
      let losses = ReferenceLosses(layers: [run], description.losses)
      return zip(run.output.values, outputGradient).reduce(losses.total) {
        $0 + $1.0 * Double($1.1)
      }
    }
    let inputGradient = try layer.runBackward(outputGradient)
    var comparison = GradientComparison(found: layer.allGradients, expected: [:])
    for (name, values) in parameters {
      comparison.expected[name] = centralDifferences(
        values, step: name == "router.weight" ? step : 1e-6
      ) { point in
        var varied = parameters
        varied[name] = point
        return objective(run(varied, x.doubles))
      }
    }
    comparison.found["x"] = inputGradient
    comparison.expected["x"] = centralDifferences(x.doubles, step: step) {
      objective(run(parameters, $0))
    }
    #expect(comparison.mismatches == [])
  }
}
