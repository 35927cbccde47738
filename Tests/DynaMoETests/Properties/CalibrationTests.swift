import Testing

@testable import DynaMoE

/// Calibration of stored thresholds to a mean number of active experts.
@Suite struct CalibrationTests {
  private func testCase(_ kind: String, minActive: Int? = nil, maxActive: Int? = nil)
    -> GradientCase
  {
    GradientCase(
      kind,
      RouterDescription(kind: kind, minActive: minActive, maxActive: maxActive, targetActive: 3),
      rows: 600
    ) {
      $0.experts = [8, 6, 7]
      $0.width = 11
    }
  }

  @Test(
    arguments: ["threshold", "expert_threshold"],
    [[1.5, 1.5, 1.5], [1.1, 2.0, 3.7], [5.0, 4.4, 1.0], [8, 6, 7]])
  func meetsItsTargets(_ kind: String, _ targets: [Double]) throws {
    let testCase = testCase(kind)
    let model = try testCase.model()
    try model.train(testCase.batch(1), testCase.goals(1))
    let parameters = model.allParameters
    try model.adjust(testCase.batch(), targetActive: targets)
    #expect(model.allParameters == parameters)
    let evaluation = try model.assess(testCase.batch(), testCase.goals())
    for (found, target) in zip(evaluation.meanActive, targets) {
      #expect(abs(found - target) <= 0.02 * target, "\(evaluation.meanActive) for \(targets)")
    }
  }

  @Test(arguments: ["threshold", "expert_threshold"])
  func meetsThemWithinLimits(_ kind: String) throws {
    let testCase = testCase(kind, minActive: 2, maxActive: 4)
    let model = try testCase.model()
    for targets in [[2.2, 2.5, 3.0], [3.5, 3.8, 2.05]] {
      try model.adjust(testCase.batch(), targetActive: targets)
      let evaluation = try model.assess(testCase.batch(), testCase.goals())
      for (found, target) in zip(evaluation.meanActive, targets) {
        #expect(abs(found - target) <= 0.02 * target, "\(evaluation.meanActive) for \(targets)")
      }
    }
  }

  /// What is calibrated are the scores with the bias of loss-free balancing.
  @Test func withABalancingBias() throws {
    var testCase = testCase("threshold")
    for l in 0..<3 { testCase.description.router[l].balanceRate = 0.01 }
    let model = try testCase.model()
    let targets = [2.5, 1.3, 3.0]
    try model.adjust(testCase.batch(), targetActive: targets)
    let evaluation = try model.assess(testCase.batch(), testCase.goals())
    for (found, target) in zip(evaluation.meanActive, targets) {
      #expect(abs(found - target) <= 0.02 * target, "\(evaluation.meanActive) for \(targets)")
    }
  }

  /// With few rows the nearest mean is taken, be it below or above.
  @Test(arguments: ["threshold", "expert_threshold"])
  func nearestOfFewRows(_ kind: String) throws {
    for target in stride(from: 1.2, through: 3.9, by: 0.1) {
      let layer = try MoELayer(
        LayerDescription(RouterDescription(kind: kind, minActive: 0, targetActive: 1)))
      try layer.randomiseParameters(seed: 1)
      var random = SeededGenerator(5)
      let x = random.normals(3 * 6)
      try x.withUnsafeBufferPointer { try layer.calibrate($0, rows: 3, targetActive: target) }
      try layer.run(x, rows: 3, training: false)
      let mean = Double(try layer.lastRouting(0).active.count { $0 }) / 3
      #expect(abs(mean - target) <= 1.0 / 6 + 1e-9, "\(mean) for \(target)")
      // A calibration is an update: the first training forward after it does not start anew.
      #expect(try layer.values("router.control") == [0, 0, 1, 0])
    }
  }

  @Test func trainingMovesThemOn() throws {
    let testCase = testCase("threshold")
    let model = try testCase.model()
    try model.adjust(testCase.batch(), targetActive: [1.2, 1.2, 1.2])
    let calibrated = try model.values("layers.0.router.threshold")[0]
    let clean = ReferenceNetwork(testCase.description, like: model).forward(
      testCase.batch(1).reference, training: true
    ).layers[0].routing.cleanThresholds[0]
    try model.run(testCase.batch(1), training: true)
    let moved = try model.values("layers.0.router.threshold")[0]
    #expect(abs(Double(moved) - (0.9 * Double(calibrated) + 0.1 * clean)) < 1e-5)
  }

  @Test(arguments: [
    [0.9, 2, 2], [2, 2, 4.1], [2, 6.1, 2], [.nan, 2, 2], [2, 2], [2, 2, 2, 2], [0, 2, 2],
  ])
  func refusesOtherTargets(_ targets: [Double]) throws {
    let testCase = testCase("threshold", maxActive: 4)
    let model = try testCase.model()
    let before = try Snapshot(model)
    let error = #expect(throws: DynaMoEError.self) {
      try model.adjust(testCase.batch(), targetActive: targets)
    }
    #expect(try Snapshot(model) == before)
    if targets.count == 3, let error {
      let layer = try #require(targets.indices.first { !(1...4).contains(targets[$0]) })
      #expect(
        "\(error)".contains("layer \(layer)") || "\(error)".contains("layers.\(layer)"),
        "\(error)")
    }
  }

  @Test func refusesKindsWithoutThresholds() throws {
    var testCase = testCase("threshold")
    testCase.description.router[1] = RouterDescription(kind: "top_k", k: 2)
    let model = try testCase.model()
    let before = try Snapshot(model)
    let error = #expect(throws: DynaMoEError.self) {
      try model.adjust(testCase.batch(), targetActive: [2, 2, 2])
    }
    #expect(try Snapshot(model) == before)
    if let error {
      #expect("\(error)".contains("layer 1") || "\(error)".contains("layers.1"), "\(error)")
    }
  }

  @Test func singleLayer() throws {
    let layer = try MoELayer(
      LayerDescription(RouterDescription(kind: "threshold", targetActive: 1)) { $0.experts = 7 })
    try layer.randomiseParameters(seed: 1)
    var random = SeededGenerator(5)
    let x = random.normals(400 * 6)
    try x.withUnsafeBufferPointer { try layer.calibrate($0, rows: 400, targetActive: 2.5) }
    try layer.run(x, rows: 400, training: false)
    let mean = Double(try layer.lastRouting(0).active.count { $0 }) / 400
    #expect(abs(mean - 2.5) <= 0.05)
  }
}
