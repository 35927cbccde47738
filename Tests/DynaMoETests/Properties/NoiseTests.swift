import Testing

@testable import DynaMoE

/// Training noise: u = s + noise · ε, with ε that depends on seed, step, layer, row and expert alone.
@Suite struct NoiseTests {
  static let experts = 8
  static let width = 5

  /// ε of the training forward number `step`, learnt from gate weights that are the noisy scores.
  private func noise(
    seed: UInt64 = 1, step: Int = 0, rows: Int = 500, scale: Double = 1
  ) throws -> [Double] {
    let description = LayerDescription(
      RouterDescription(kind: "dense", gate: "raw", noise: scale)
    ) {
      $0.width = Self.width
      $0.experts = Self.experts
    }
    let layer = try MoELayer(description, seed: seed)
    // Scores of exactly 1/8.
    try layer.assign(
      "router.weight", [Float](repeating: 0, count: Self.experts * Self.width))
    let x = [Float](repeating: 0.5, count: rows * Self.width)
    for _ in 0...step { try layer.run(x, rows: rows, training: true) }
    return try layer.lastRouting(0).weights.map { (Double($0) - 0.125) / scale }
  }

  @Test func isStandardNormal() throws {
    let values = try noise() + noise(step: 1) + noise(step: 2)
    let count = Double(values.count)
    func moment(_ power: Int) -> Double {
      values.reduce(0) { sum, value in
        sum + (0..<power).reduce(1) { product, _ in product * value } / count
      }
    }
    // 12,000 values: four standard errors.
    #expect(abs(moment(1)) < 0.037)
    #expect(abs(moment(2) - 1) < 0.052)
    #expect(abs(moment(3)) < 0.15)
    #expect(abs(moment(4) - 3) < 0.36)
    let beyond = Double(values.count { abs($0) > 1.959964 }) / count
    #expect(abs(beyond - 0.05) < 0.009)
    for lag in [1, Self.experts, 4000] {
      let product = zip(values, values.dropFirst(lag)).reduce(0) { $0 + $1.0 * $1.1 } / count
      #expect(abs(product) < 0.045, "correlation over \(lag)")
    }
  }

  @Test func followsSeedAndStep() throws {
    let first = try noise()
    #expect(try noise() == first)
    #expect(try noise(seed: 2) != first)
    #expect(try noise(step: 1) != first)
    let shorter = try noise(rows: 20)
    #expect(shorter == Array(first.prefix(20 * Self.experts)), "rows do not shift one another")
    let smaller = try noise(scale: 0.25)
    #expect(zip(smaller, first).allSatisfy { abs($0 - $1) < 1e-6 })
  }

  /// The generator's ε times the setting, no more and no less.
  @Test(arguments: [0.25, 0.7])
  func isScaledByTheSetting(_ scale: Double) throws {
    for step in [0, 2] {
      let found = try noise(seed: 3, step: step, rows: 40, scale: scale)
      let generator = RoutingNoise(seed: 3, step: UInt64(step), layer: 0)
      var expected = [Float](repeating: 0, count: Self.experts)
      for row in 0..<40 {
        expected.withUnsafeMutableBufferPointer {
          generator.fill(row: row, experts: Self.experts, into: $0.baseAddress!)
        }
        for (e, value) in expected.enumerated() {
          #expect(abs(found[row * Self.experts + e] - Double(value)) < 1e-5)
        }
      }
    }
  }

  @Test func differsBetweenLayers() throws {
    let description = NetworkDescription(
      RouterDescription(kind: "dense", gate: "raw", noise: 1)
    ) {
      $0.experts = [4, 4]
    }
    let model = try Model(description)
    for l in 0..<2 {
      try model.assign("layers.\(l).router.weight", [Float](repeating: 0, count: 24))
    }
    let batch = Batch.features([Float](repeating: 1, count: 50), rows: 10)
    try model.run(batch, training: true)
    let first = try model.lastRouting(0).weights
    let second = try model.lastRouting(1).weights
    #expect(zip(first, second).count { $0 == $1 } == 0)
    // The same step counted by evaluations too would shift the noise.
    let twin = try Model(description)
    for l in 0..<2 {
      try twin.assign("layers.\(l).router.weight", [Float](repeating: 0, count: 24))
    }
    try twin.run(batch, training: false)
    #expect(try twin.lastRouting(0).weights.allSatisfy { $0 == 0.25 })
    try twin.run(batch, training: true)
    #expect(try twin.lastRouting(1).weights == second)
  }

  /// Kinds that take no noise: training and evaluation are one.
  @Test(arguments: ["top_any", "relu"])
  func noneWhereItHasNoPlace(_ kind: String) throws {
    let testCase = GradientCase(kind, RouterDescription(kind: kind))
    let model = try testCase.model()
    let training = try model.run(testCase.batch(), training: true)
    #expect(try model.run(testCase.batch(), training: false).bits == training.bits)
    #expect(throws: DynaMoEError.self) {
      try Model(NetworkDescription(RouterDescription(kind: kind, noise: 0.1)))
    }
  }
}
