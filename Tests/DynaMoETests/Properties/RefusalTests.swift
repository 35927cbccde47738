import Foundation
import Testing

@testable import DynaMoE

/// A call that must be refused.
struct RefusedCall: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var call: @Sendable (Model) throws -> Void

  init(_ name: String, _ call: @escaping @Sendable (Model) throws -> Void) {
    testDescription = name
    self.call = call
  }
}

/// Refused calls name the culprit and leave everything as it was.
@Suite struct RefusalTests {
  static let features = GradientCase(
    "features",
    RouterDescription(kind: "threshold", noise: 0.1, balanceRate: 0.1, targetActive: 1.6))
  static let regression = GradientCase("regression", GradientTests.threshold) {
    $0.task = "regression"
  }
  static let tokens = GradientTests.tied

  private static let x = [Float](repeating: 0.25, count: 40)
  private static func changed(_ index: Int, _ value: Float) -> [Float] {
    var values = x
    values[index] = value
    return values
  }

  static let inputs =
    [true, false].flatMap { training in
      [
        ("one value short", Batch.features(Array(x.dropLast()), rows: 8)),
        ("one value more", .features(x + [1], rows: 8)), ("no values", .features([], rows: 8)),
        ("NaN", .features(changed(17, .nan), rows: 8)),
        ("infinity", .features(changed(39, .infinity), rows: 8)),
        ("-infinity", .features(changed(0, -.infinity), rows: 8)),
        ("negative rows", .features(x, rows: -8)), ("many rows", .features(x, rows: .max)),
        ("fewest rows", .features(x, rows: .min)),
        ("wrapping rows", .features(x, rows: Int.max / 5 + 1)), ("tokens", .tokens([1, 2])),
      ].map { name, batch in
        RefusedCall("\(name), training \(training)") { model in
          try batch.withInput { try model.forward($0, training: training, into: nil) }
        }
      }
    } + [
      RefusedCall("too small an output") { model in
        var logits = [Float](repeating: 0, count: 23)
        try logits.withUnsafeMutableBufferPointer { logits in
          try Batch.features(x, rows: 8).withInput {
            try model.forward($0, training: true, into: logits)
          }
        }
      },
      RefusedCall("no rows in training") { try $0.run(.features([], rows: 0), training: true) },
    ]

  static let targets = [
    ("too few", Goals.classes([0, 1, 2])), ("too many", .classes(Array(repeating: 0, count: 9))),
    ("none", .classes([])), ("class 3 of 3", .classes([0, 0, 0, 3, 0, 0, 0, 0])),
    ("class -2", .classes([0, 0, 0, -2, 0, 0, 0, 0])),
    ("largest class", .classes([0, 0, 0, .max, 0, 0, 0, 0])),
    ("smallest class", .classes([0, 0, 0, .min, 0, 0, 0, 0])),
    ("values", .values([Float](repeating: 0, count: 24))),
  ].flatMap { name, goals in
    [
      RefusedCall("loss: \(name)") { _ = try $0.losses(goals) },
      RefusedCall("backward: \(name)") { try $0.runBackward(goals) },
      RefusedCall("trainBatch: \(name)") { try $0.train(features.batch(), goals) },
      RefusedCall("evaluate: \(name)") { _ = try $0.assess(features.batch(), goals) },
    ]
  }

  static let others = [
    RefusedCall("trainBatch: NaN") {
      try $0.train(.features(changed(3, .nan), rows: 8), features.goals())
    },
    RefusedCall("evaluate: NaN") {
      _ = try $0.assess(.features(changed(3, .nan), rows: 8), features.goals())
    },
    RefusedCall("sample weights: too few") {
      try $0.train(features.batch(), features.goals(), sampleWeight: [1, 1])
    },
    RefusedCall("sample weights: NaN") {
      try $0.train(
        features.batch(), features.goals(), sampleWeight: [1, 1, .nan, 1, 1, 1, 1, 1])
    },
    RefusedCall("sample weights: negative") {
      try $0.train(features.batch(), features.goals(), sampleWeight: [1, 1, -1, 1, 1, 1, 1, 1])
    },
    RefusedCall("output gradient: too few") {
      try $0.runBackward(outputGradient: [Float](repeating: 1, count: 23))
    },
    RefusedCall("output gradient: NaN") {
      try $0.runBackward(outputGradient: [.nan] + [Float](repeating: 1, count: 23))
    },
    RefusedCall("input gradient: too small") {
      try $0.runBackward(features.goals(), inputCount: 39)
    },
    RefusedCall("parameter: unknown") { try $0.assign("layers.0.router.weights", [1]) },
    RefusedCall("parameter: a buffer") { try $0.assign("layers.0.router.bias", [0, 0, 0, 0]) },
    RefusedCall("parameter: too few") { try $0.assign("head.bias", [1, 2]) },
    RefusedCall("parameter: too many") { try $0.assign("head.bias", [1, 2, 3, 4]) },
    RefusedCall("parameter: NaN") { try $0.assign("head.bias", [1, .nan, 3]) },
    RefusedCall("parameter: infinity") { try $0.assign("head.bias", [1, .infinity, 3]) },
    RefusedCall("buffer: unknown") { try $0.assignBuffer("layers.2.router.bias", [1]) },
    RefusedCall("buffer: a parameter") { try $0.assignBuffer("head.bias", [1, 2, 3]) },
    RefusedCall("buffer: too few") { try $0.assignBuffer("layers.0.router.bias", [1]) },
    RefusedCall("buffer: NaN") { try $0.assignBuffer("layers.0.router.threshold", [.nan]) },
    RefusedCall("step: NaN") { try $0.step(learningRate: .nan) },
    RefusedCall("step: infinity") { try $0.step(learningRate: .infinity) },
    RefusedCall("step: negative") { try $0.step(learningRate: -0.1) },
    RefusedCall("statistics: layer 2 of 2") { _ = try $0.routingStatistics(layer: 2) },
    RefusedCall("statistics: layer -1") { _ = try $0.routingStatistics(layer: -1) },
    RefusedCall("routing: layer 2 of 2") {
      try $0.copyLastRouting(layer: 2, active: nil, weights: nil)
    },
    RefusedCall("routing: too small") { model in
      var active = [UInt8](repeating: 0, count: 31)
      try active.withUnsafeMutableBufferPointer {
        try model.copyLastRouting(layer: 0, active: $0, weights: nil)
      }
    },
    RefusedCall("calibrate: NaN") {
      try $0.adjust(.features(changed(3, .nan), rows: 8), targetActive: [2, 2])
    },
    RefusedCall("calibrate: no rows") {
      try $0.adjust(.features([], rows: 0), targetActive: [2, 2])
    },
  ]

  /// Refuses `refused` between a forward and its backward, which must then be what it is without.
  private func expectRefusal(
    _ refused: RefusedCall, _ testCase: GradientCase,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let model = try testCase.model()
    let twin = try testCase.model()
    for network in [model, twin] {
      try network.train(testCase.batch(1), testCase.goals(1))
      network.zeroGradients()
      try network.run(testCase.batch(2), training: true)
    }
    let before = try Snapshot(model)
    let error = #expect(throws: DynaMoEError.self, sourceLocation: sourceLocation) {
      try refused.call(model)
    }
    #expect("\(error as Any)".count > 20, sourceLocation: sourceLocation)
    #expect(try Snapshot(model) == before, sourceLocation: sourceLocation)
    for network in [model, twin] {
      try network.runBackward(testCase.goals(2))
      try network.step(learningRate: nil)
      try network.train(testCase.batch(3), testCase.goals(3))
    }
    // Gradients are unspecified after `trainBatch`.
    var first = try Snapshot(model)
    var second = try Snapshot(twin)
    first.gradients = [:]
    second.gradients = [:]
    #expect(first == second, sourceLocation: sourceLocation)
  }

  @Test(arguments: inputs + targets + others)
  func leavesEverything(_ refused: RefusedCall) throws {
    try expectRefusal(refused, Self.features)
  }

  @Test(arguments: [
    RefusedCall("features") { try $0.run(.features([1, 2], rows: 2), training: true) },
    RefusedCall("id 7 of 7") { try $0.run(.tokens([1, 7]), training: true) },
    RefusedCall("id -1") { try $0.run(.tokens([1, -1]), training: false) },
    RefusedCall("largest id") { try $0.run(.tokens([.max]), training: true) },
    RefusedCall("no ids") { try $0.run(.tokens([]), training: true) },
  ])
  func leavesEverythingWithTokens(_ refused: RefusedCall) throws {
    try expectRefusal(refused, Self.tokens)
  }

  @Test(arguments: [
    RefusedCall("classes") { _ = try $0.losses(features.goals()) },
    RefusedCall("too few values") { try $0.runBackward(.values([1, 2, 3])) },
    RefusedCall("NaN") {
      try $0.runBackward(.values([.nan] + [Float](repeating: 1, count: 23)))
    },
    RefusedCall("infinity") {
      try $0.train(
        regression.batch(), .values([.infinity] + [Float](repeating: 1, count: 23)))
    },
  ])
  func leavesEverythingWithRegression(_ refused: RefusedCall) throws {
    try expectRefusal(refused, Self.regression)
  }

  @Test func callsOutOfOrder() throws {
    let testCase = Self.features
    let model = try testCase.model()
    func expectState(_ name: String, _ call: () throws -> Void) throws {
      let before = try Snapshot(model)
      let error = #expect(throws: DynaMoEError.self, "\(name)") { try call() }
      if let error, case .state = error {} else { Issue.record("\(name): \(error as Any)") }
      #expect(try Snapshot(model) == before, "\(name)")
    }
    let outputGradient = [Float](repeating: 1, count: 24)
    try expectState("loss first") { _ = try model.losses(testCase.goals()) }
    try expectState("backward first") { try model.runBackward(testCase.goals()) }
    try expectState("auxiliary losses first") { _ = try model.auxiliaryLosses() }
    try model.run(testCase.batch(), training: false)
    try expectState("loss after evaluation only") { _ = try model.losses(testCase.goals()) }
    try expectState("backward after evaluation only") {
      try model.runBackward(testCase.goals())
    }
    try expectState("output gradient after evaluation only") {
      try model.runBackward(outputGradient: outputGradient)
    }
    try model.run(testCase.batch(), training: true)
    try model.runBackward(testCase.goals())
    try expectState("second backward") { try model.runBackward(testCase.goals()) }
    try expectState("second backward from outputs") {
      try model.runBackward(outputGradient: outputGradient)
    }
    try model.run(testCase.batch(), training: true)
    try model.runBackward(outputGradient: outputGradient)
    try expectState("second backward after one from outputs") {
      try model.runBackward(testCase.goals())
    }
  }

  @Test(arguments: [
    RefusedLayerCall("one value short") {
      try $0.run([Float](repeating: 1, count: 47), rows: 8, training: true)
    },
    RefusedLayerCall("NaN") {
      try $0.run([.nan] + [Float](repeating: 1, count: 47), rows: 8, training: true)
    },
    RefusedLayerCall("many rows") { try $0.run([1], rows: .max, training: false) },
    RefusedLayerCall("gradient too short") { try $0.runBackward([1, 2]) },
    RefusedLayerCall("gradient NaN") {
      try $0.runBackward([Float](repeating: .nan, count: 48))
    },
    RefusedLayerCall("statistics of layer 1") { _ = try $0.routingStatistics(layer: 1) },
  ])
  func singleLayer(_ refused: RefusedLayerCall) throws {
    let layer = try MoELayer(
      LayerDescription(RouterDescription(kind: "threshold", targetActive: 2)))
    #expect(throws: DynaMoEError.self) { try layer.runBackward([Float](repeating: 1, count: 48)) }
    var random = SeededGenerator(1)
    try layer.run(random.normals(48), rows: 8, training: true)
    let before = try Snapshot(layer)
    #expect(throws: DynaMoEError.self) { try refused.call(layer) }
    #expect(try Snapshot(layer) == before)
    try layer.runBackward([Float](repeating: 1, count: 48))
    #expect(throws: DynaMoEError.self) { try layer.runBackward([Float](repeating: 1, count: 48)) }
  }

  /// Logits beyond float32 are an error, found before anything changes.
  @Test func arithmeticThatLeavesTheFiniteNumbers() throws {
    let testCase = GradientCase("", GradientTests.threshold)
    let model = try testCase.model()
    try model.assign("head.weight", [Float](repeating: 3e38, count: 18))
    let before = try Snapshot(model)
    #expect(throws: DynaMoEError.self) { try model.train(testCase.batch(), testCase.goals()) }
    #expect(try Snapshot(model) == before)
    for training in [true, false] {
      #expect(throws: DynaMoEError.self, "forward, training \(training)") {
        try model.run(testCase.batch(), training: training)
      }
      #expect(try Snapshot(model) == before)
    }
  }

  /// A step with a gradient that is not finite names the parameter and changes nothing.
  @Test(arguments: [nil, 1] as [Double?], [Float.nan, .infinity])
  func gradientsThatAreNotFinite(_ clip: Double?, _ value: Float) throws {
    let testCase = GradientCase("", GradientTests.threshold) { $0.optimizer = .init(clip: clip) }
    let model = try testCase.model()
    try model.run(testCase.batch(), training: true)
    try model.runBackward(testCase.goals())
    let name = "layers.1.experts.up.bias"
    try #require(model.parameters.first { $0.name == name }).gradient![3] = value
    let before = try Snapshot(model)
    let error = #expect(throws: DynaMoEError.self) { try model.step(learningRate: nil) }
    #expect("\(error as Any)".contains(name))
    #expect(try Snapshot(model) == before)
  }
}

struct RefusedLayerCall: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var call: @Sendable (MoELayer) throws -> Void

  init(_ name: String, _ call: @escaping @Sendable (MoELayer) throws -> Void) {
    testDescription = name
    self.call = call
  }
}
