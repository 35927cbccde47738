import Testing

@testable import DynaMoE

/// `backwardStep` of a layer is `zeroGradients`, `backward` and `step`.
@Suite struct LayerStepTests {
  private static let width = 35

  private static func layer(_ seed: UInt64) throws -> MoELayer {
    var random = SeededGenerator(seed &+ 77)
    let kind = RandomNetwork.kinds[Int(seed) % RandomNetwork.kinds.count]
    let description = LayerDescription(RandomNetwork.router(kind, &random)) {
      $0.width = width
      $0.experts = 1 + random.integer(0..<7)
      $0.hidden = 1 + random.integer(0..<70)
      $0.sharedExperts = random.integer(0..<3)
      $0.activation = ["relu", "gelu", "swiglu"][random.integer(0..<3)]
      $0.bias = random.integer(0..<2) == 0
      $0.losses = .init(balance: 0.1, z: 0.01)
      $0.optimizer =
        [
          .init(lr: 0.01),
          .init(lr: 0.01, clip: 0.05),
          .init(kind: "sgd", lr: 0.1, momentum: 0.8, nesterov: true),
          .init(kind: "sgd", lr: 0.1, weightDecay: 0.1),
        ][random.integer(0..<4)]
    }
    return try MoELayer(description, seed: seed)
  }

  /// What a step leaves behind, but for the gradients.
  private func snapshot(_ layer: MoELayer) throws -> Snapshot {
    var snapshot = try Snapshot(layer)
    snapshot.gradients = [:]
    return snapshot
  }

  private func stepByStep(
    _ layer: MoELayer, _ gradient: [Float], learningRate: Double? = nil
  ) throws -> [Float] {
    layer.zeroGradients()
    let dx = try layer.backward(gradient)
    try layer.step(learningRate: learningRate)
    return dx
  }

  @Test(
    .enabled(if: kernelsKeepBits, "OpenBLAS promises no bits"),
    arguments: 0..<40 as Range<UInt64>)
  func sameBits(_ seed: UInt64) throws {
    let (atOnce, parts) = (try Self.layer(seed), try Self.layer(seed))
    var random = SeededGenerator(seed)
    for step in 0..<3 {
      let rows = 1 + random.integer(0..<90)
      let (x, gradient) = (random.normals(rows * Self.width), random.normals(rows * Self.width))
      let rate = step == 1 ? 0.003 : nil
      // What an earlier backward left does not count.
      for layer in [atOnce, parts] { _ = try layer.forward(x, training: true) }
      _ = try atOnce.backward(gradient)
      _ = try parts.backward(gradient)
      #expect(
        try atOnce.forward(x, training: true).bits == parts.forward(x, training: true).bits)
      let dx = try atOnce.backwardStep(gradient, learningRate: rate)
      #expect(try dx.bits == stepByStep(parts, gradient, learningRate: rate).bits)
      #expect(try snapshot(atOnce) == snapshot(parts))
      #expect(atOnce.pendingRows == nil)
    }
  }

  @Test(.enabled(if: kernelsKeepBits, "OpenBLAS promises no bits"))
  func measuredGradients() throws {
    let (atOnce, parts) = (try Self.layer(3), try Self.layer(3))
    var random = SeededGenerator(1)
    for layer in [atOnce, parts] { try layer.measure([.gradientVariance]) }
    for _ in 0..<2 {
      let (x, gradient) = (random.normals(9 * Self.width), random.normals(9 * Self.width))
      for layer in [atOnce, parts] { _ = try layer.forward(x, training: true) }
      _ = try atOnce.backwardStep(gradient)
      _ = try stepByStep(parts, gradient)
      #expect(try atOnce.gradientVariance() == parts.gradientVariance())
      #expect(try snapshot(atOnce) == snapshot(parts))
    }
  }

  /// Gradients near the largest that a step allows, whose bound lies beyond, and larger ones.
  @Test(
    .enabled(if: kernelsKeepBits, "OpenBLAS promises no bits"), arguments: [2e16, 1e19] as [Float])
  func largeGradients(_ size: Float) throws {
    let (atOnce, parts) = (try Self.layer(7), try Self.layer(7))
    var random = SeededGenerator(2)
    let x = random.normals(9 * Self.width)
    let gradient = random.normals(9 * Self.width).map { $0 * size }
    for layer in [atOnce, parts] { _ = try layer.forward(x, training: true) }
    guard size > 1e18 else {
      #expect(try atOnce.backwardStep(gradient).bits == stepByStep(parts, gradient).bits)
      #expect(try snapshot(atOnce) == snapshot(parts))
      return
    }
    let before = try snapshot(atOnce)
    let error = #expect(throws: DynaMoEError.self) { try atOnce.backwardStep(gradient) }
    #expect("\(error as Any)".contains("the gradient of"))
    #expect(try snapshot(atOnce) == before)
    #expect(throws: DynaMoEError.self) { try atOnce.backwardStep(gradient) }
    #expect(try atOnce.losses().total.isFinite)
    _ = try atOnce.forward(x, training: true)
    _ = try atOnce.backwardStep(x)
  }

  /// The router of one expert and no biases: only gradients of matrices can be too large.
  @Test func largeGradientsOfMatrices() throws {
    let layer = try MoELayer(
      LayerDescription(RouterDescription(kind: "dense")) {
        $0.width = Self.width
        $0.experts = 1
        $0.bias = false
      }, seed: 1)
    var random = SeededGenerator(3)
    let x = random.normals(9 * Self.width)
    _ = try layer.forward(x, training: true)
    let before = try snapshot(layer)
    #expect(throws: DynaMoEError.self) { try layer.backwardStep(x.map { $0 * 1e20 }) }
    #expect(try snapshot(layer) == before)
  }

  @Test func refusals() throws {
    let layer = try Self.layer(1)
    let x = [Float](repeating: 1, count: 2 * Self.width)
    #expect(throws: DynaMoEError.self) { try layer.backwardStep([]) }
    _ = try layer.forward(x, training: true)
    let before = try Snapshot(layer)
    for call: () throws -> Void in [
      { _ = try layer.backwardStep(Array(x.dropLast())) },
      { _ = try layer.backwardStep(x.map { _ in .nan }) },
      { _ = try layer.backwardStep(x, learningRate: -1) },
      { _ = try layer.backwardStep(x, learningRate: .infinity) },
    ] {
      #expect(throws: DynaMoEError.self) { try call() }
      #expect(try Snapshot(layer) == before)
      #expect(layer.pendingRows == 2)
    }
  }
}
