import Foundation
import Testing

@testable import DynaMoE

/// The same seed and data give the same bits, for any number of threads.
@Suite(.serialized) struct DeterminismTests {
  /// Everything that a training of a few steps leaves behind.
  private func training(_ testCase: GradientCase, seed: UInt64? = nil) throws -> Snapshot {
    let model = try Model(testCase.description, seed: seed ?? testCase.seed)
    for part: UInt64 in 0..<4 {
      try model.train(testCase.batch(part), testCase.goals(part))
    }
    try model.run(testCase.batch(9), training: false)
    return try Snapshot(model)
  }

  static let cases = RandomNetwork.wideCases.map { testCase in
    var testCase = testCase
    for l in testCase.description.router.indices
    where !["top_any", "relu"].contains(testCase.description.router[l].kind) {
      testCase.description.router[l].noise = 0.1
    }
    return testCase
  }

  @Test(.enabled(if: kernelsKeepBits, "OpenBLAS promises no bits"), arguments: cases)
  func anyNumberOfThreads(_ testCase: GradientCase) throws {
    let threads = Runtime.threadCount
    defer { Runtime.threadCount = threads }
    Runtime.threadCount = 1
    let single = try training(testCase)
    for count in [2, 3] {
      Runtime.threadCount = count
      #expect(Runtime.threadCount == count)
      let several = try training(testCase)
      #expect(several.parameters == single.parameters, "\(count) threads")
      #expect(several.buffers == single.buffers, "\(count) threads")
      #expect(several.file == single.file, "\(count) threads")
      #expect(several.statistics == single.statistics, "\(count) threads")
    }
  }

  @Test(arguments: RandomNetwork.cases)
  func sameSeedSameBits(_ testCase: GradientCase) throws {
    #expect(try training(testCase) == training(testCase))
  }

  /// `trainBatch` makes the step of the matrices together with their gradients.
  @Test(arguments: RandomNetwork.cases + RandomNetwork.wideCases)
  func atOnceOrStepByStep(_ testCase: GradientCase) throws {
    let (atOnce, stepByStep) = (try testCase.model(), try testCase.model())
    for part: UInt64 in 0..<3 {
      let (batch, goals) = (testCase.batch(part), testCase.goals(part))
      let losses = try atOnce.train(batch, goals)
      stepByStep.zeroGradients()
      try stepByStep.run(batch, training: true)
      #expect(try stepByStep.losses(goals) == losses)
      try stepByStep.runBackward(goals)
      try stepByStep.step(learningRate: nil)
    }
    #expect(try withoutGradients(atOnce) == withoutGradients(stepByStep))
  }

  /// Also where the head's gradients come near to the largest that a step allows, and beyond, and
  /// those of another batch were left behind.
  @Test(arguments: [(1e16, 1), (1e15, 1000), (5e18, 1)] as [(Float, Float)])
  func atOnceWithLargeGradients(_ bias: Float, _ input: Float) throws {
    let testCase = GradientCase("", GradientTests.threshold, rows: 9) {
      $0.task = "regression"
      $0.optimizer = .init(lr: 0.1)
      $0.norm = "rms"
    }
    let (atOnce, stepByStep) = (try testCase.model(), try testCase.model())
    let (batch, goals) = (testCase.batch(), testCase.goals())
    for model in [atOnce, stepByStep] {
      let weights = try model.values("head.weight").count
      try model.assign("head.weight", [Float](repeating: 0, count: weights))
      let width = try model.values("norm.weight").count
      try model.assign("norm.weight", [Float](repeating: input, count: width))
      let biases = try model.values("head.bias").count
      try model.assign("head.bias", [Float](repeating: bias, count: biases))
      try model.run(testCase.batch(1), training: true)
      try model.runBackward(testCase.goals(1))
    }
    let before = try withoutGradients(atOnce)
    stepByStep.zeroGradients()
    try stepByStep.run(batch, training: true)
    try stepByStep.runBackward(goals)
    guard bias < 1e18 else {
      #expect(throws: DynaMoEError.self) { try stepByStep.step(learningRate: nil) }
      #expect(throws: DynaMoEError.self) { try atOnce.train(batch, goals) }
      #expect(try withoutGradients(atOnce) == before)
      return
    }
    try stepByStep.step(learningRate: nil)
    _ = try atOnce.train(batch, goals)
    #expect(try withoutGradients(atOnce) == withoutGradients(stepByStep))
  }

  /// The bound of the experts' gradients knows what they are made of: large values behind the activation, or large gradients
  /// before it.
  @Test(arguments: [("relu", "up.bias"), ("gelu", "up.bias"), ("gelu", "down.weight")])
  func atOnceWithLargeExperts(_ activation: String, _ large: String) throws {
    let testCase = GradientCase("", GradientTests.threshold, rows: 9) {
      $0.task = "regression"
      $0.activation = activation
    }
    let model = try testCase.model()
    for tensor in model.parameters where tensor.name.contains("experts.") {
      let value: Float = tensor.name.hasSuffix(large) ? 1e30 : 0
      try model.assign(tensor.name, [Float](repeating: value, count: tensor.values.count))
    }
    let before = try withoutGradients(model)
    #expect(throws: DynaMoEError.self) { try model.train(testCase.batch(), testCase.goals()) }
    #expect(try withoutGradients(model) == before)
  }

  private func withoutGradients(_ model: Model) throws -> Snapshot {
    var snapshot = try Snapshot(model)
    snapshot.gradients = [:]
    return snapshot
  }

  @Test func anotherSeedOtherBits() throws {
    let testCase = Self.cases[0]
    let first = try Model(testCase.description, seed: 1).allParameters
    let second = try Model(testCase.description, seed: 2).allParameters
    for (name, values) in first where !name.contains("norm") {
      #expect(values != second[name], "\(name)")
    }
  }

  @Test func initialValues() throws {
    let model = try Model(
      .tokens(RouterDescription(kind: "top_any"), vocabulary: 300) {
        $0.width = 64
        $0.hidden = 48
        $0.activation = "swiglu"
        $0.sharedExperts = 1
        $0.tiedEmbedding = false
      }, seed: 3)
    for tensor in model.parameters {
      let values = Array(tensor.values).doubles
      let mean = values.reduce(0, +) / Double(values.count)
      let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
      if tensor.name.hasSuffix("norm.weight") {
        #expect(values.allSatisfy { $0 == 1 })
      } else if tensor.name.hasSuffix("norm.bias") || tensor.name.hasSuffix("gates") {
        #expect(values.allSatisfy { $0 == 0 })
      } else if tensor.name == "embedding.weight" {
        #expect(abs(variance.squareRoot() / 0.02 - 1) < 0.03)
        #expect(abs(mean) < 0.001)
      } else {
        let inputs = tensor.name.contains("down") ? 48.0 : 64.0
        let bound = 1 / inputs.squareRoot()
        #expect(values.allSatisfy { abs($0) <= bound * 1.000_001 }, "\(tensor.name)")
        #expect(values.contains { abs($0) > bound * 0.8 }, "\(tensor.name)")
        if values.count > 1000 {
          #expect(abs(variance / (bound * bound / 3) - 1) < 0.1, "\(tensor.name)")
          #expect(abs(mean) < 0.1 * bound, "\(tensor.name)")
        }
      }
    }
  }

  /// Evaluation changes no parameter, buffer, gradient, count or pending backward.
  @Test(arguments: RandomNetwork.cases + RandomNetwork.wideCases)
  func evaluationOnlyReads(_ testCase: GradientCase) throws {
    let model = try testCase.model()
    let twin = try testCase.model()
    for network in [model, twin] {
      try network.train(testCase.batch(1), testCase.goals(1))
      network.zeroGradients()
      try network.run(testCase.batch(2), training: true)
    }
    let before = try Snapshot(model, statistics: false)
    try model.run(testCase.batch(3), training: false)
    _ = try model.assess(testCase.batch(4), testCase.goals(4))
    try model.run(testCase.batch(4).rows([0]), training: false)
    #expect(try Snapshot(model, statistics: false) == before)
    #expect(try model.losses(testCase.goals(2)).total == twin.losses(testCase.goals(2)).total)
    #expect(try model.auxiliaryLosses() == twin.auxiliaryLosses())
    #expect(
      try model.runBackward(testCase.goals(2), inputCount: testCase.inputCount).bits
        == twin.runBackward(testCase.goals(2), inputCount: testCase.inputCount).bits)
    #expect(model.allGradients.mapValues(\.bits) == twin.allGradients.mapValues(\.bits))
    try model.step(learningRate: nil)
    try twin.step(learningRate: nil)
    #expect(try Snapshot(model, statistics: false) == Snapshot(twin, statistics: false))
  }
}
