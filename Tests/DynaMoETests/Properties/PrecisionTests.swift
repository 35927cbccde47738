import Foundation
import Testing

@testable import DynaMoE

/// Networks that are loaded in bfloat16.
@Suite(.serialized) struct PrecisionTests {
  static let threshold = GradientCase("threshold", GradientTests.threshold, rows: 60) {
    $0.inputs = 9
    $0.width = 33
    $0.hidden = 70
  }
  static let cases =
    [threshold, GradientTests.tied] + RandomNetwork.wideCases + RandomNetwork.cases

  /// A network after some training, and what its file gives in both precisions.
  struct Pair {
    let full: Model
    let rounded: Model

    init(_ testCase: GradientCase) throws {
      let model = try testCase.model()
      for part: UInt64 in 10..<12 { try model.train(testCase.batch(part), testCase.goals(part)) }
      let path = temporaryPath()
      defer { try? FileManager.default.removeItem(atPath: path) }
      try model.save(to: path)
      full = try Model(contentsOf: path)
      rounded = try Model(contentsOf: path, precision: .bfloat16)
    }
  }

  /// Of everything that a network has, the matrices but for those of routers.
  static func isRounded(_ name: String) -> Bool {
    name.hasSuffix(".weight") && !name.contains("router") && !name.contains("norm")
  }

  /// As near as rounding leaves it, and not the same.
  static func isNear(_ y: [Float], _ expected: [Float]) -> Bool {
    let scale = expected.map(abs).max() ?? 0
    return y != expected && zip(y, expected).allSatisfy { abs($0 - $1) < 0.05 * scale }
  }

  // MARK: - Numbers

  @Test(arguments: cases)
  func parametersAreRounded(_ testCase: GradientCase) throws {
    let pair = try Pair(testCase)
    #expect(pair.rounded.precision == .bfloat16 && pair.full.precision == .float32)
    for (whole, tensor) in zip(pair.full.parameters, pair.rounded.parameters) {
      let isRounded = Self.isRounded(tensor.name)
      #expect(tensor.precision == (isRounded ? .bfloat16 : .float32), "\(tensor.name)")
      #expect(tensor.values.count == (isRounded ? 0 : tensor.count))
      #expect(tensor.name == whole.name && tensor.shape == whole.shape)
      #expect(tensor.count == whole.count && tensor.gradient == nil)
      let expected = whole.values.map { isRounded ? Float(nearestBFloat16(Double($0))) : $0 }
      #expect(try pair.rounded.parameterValues(tensor.name).bits == expected.bits, "\(tensor.name)")
      #expect(try pair.full.parameterValues(tensor.name).bits == Array(whole.values).bits)
    }
    #expect(pair.rounded.allBuffers == pair.full.allBuffers)
    #expect(pair.rounded.parameterCount == pair.full.parameterCount)
    #expect(pair.rounded.optimizerSteps == 2 && pair.rounded.trainingForwards == 2)
  }

  /// Beside naive products of rounded numbers in f64, with the engine's own choice of experts. Where a number lies near
  /// the middle of two of bfloat16 the two may round apart; that is rare.
  @Test(arguments: cases)
  func logitsOfRoundedProducts(_ testCase: GradientCase) throws {
    let pair = try Pair(testCase)
    let batch = testCase.batch()
    let logits = try pair.rounded.run(batch, training: false)
    for tensor in pair.full.parameters {
      try pair.full.assign(tensor.name, pair.rounded.parameterValues(tensor.name))
    }
    var reference = ReferenceNetwork(testCase.description, like: pair.full)
    reference.rounds = true
    reference.frozen = try (0..<pair.rounded.layerCount).map {
      FrozenRouting(active: try pair.rounded.lastRouting($0).active)
    }
    let expected = reference.forward(batch.reference, training: false).logits
    let scale = expected.values.map(abs).max() ?? 0
    var near = 0
    for (t, row) in stride(from: 0, to: logits.count, by: pair.rounded.outputs).enumerated() {
      let errors = (0..<pair.rounded.outputs).map {
        abs(Double(logits[row + $0]) - expected[t, $0])
      }
      let worst = errors.max() ?? 0
      #expect(worst < 0.05 * scale, "row \(t)")
      if worst < 1e-4 * scale { near += 1 }
    }
    #expect(near >= batch.rows * 3 / 4, "\(near) rows of \(batch.rows) agree")
  }

  /// Matrices that are read in several parts.
  @Test func largeMatrices() throws {
    let layer = try MoELayer(
      LayerConfiguration(width: 301, experts: 3, router: .topK(2), hidden: 701), seed: 4)
    let path = temporaryPath()
    defer { try? FileManager.default.removeItem(atPath: path) }
    try layer.save(to: path)
    let rounded = try MoELayer(contentsOf: path, precision: .bfloat16)
    for tensor in layer.parameters {
      let isRounded = Self.isRounded(tensor.name)
      let expected = tensor.values.map { isRounded ? Float(nearestBFloat16(Double($0))) : $0 }
      let isEqual = try rounded.parameterValues(tensor.name).bits == expected.bits
      #expect(isEqual, "\(tensor.name)")
    }
    var random = SeededGenerator(1)
    let x = random.normals(301 * 20)
    let y = try rounded.run(x, rows: 20, training: false)
    let expected = try layer.run(x, rows: 20, training: false)
    let isNear = Self.isNear(y, expected)
    #expect(isNear)
  }

  /// A finite number that rounding makes infinite has no place in a matrix, but in the rest.
  @Test func numbersBeyondBFloat16() throws {
    let path = temporaryPath()
    defer { try? FileManager.default.removeItem(atPath: path) }
    for (name, isRefused) in [("head.weight", true), ("head.bias", false)] {
      let model = try Self.threshold.model()
      var values = try model.parameterValues(name)
      values[2] = 3.3961775e38
      try model.assign(name, values)
      try model.save(to: path)
      #expect(try Model(contentsOf: path).parameterValues(name) == values)
      guard isRefused else {
        let rounded = try Model(contentsOf: path, precision: .bfloat16)
        #expect(try rounded.parameterValues(name) == values)
        continue
      }
      let error = #expect(throws: DynaMoEError.self) {
        try Model(contentsOf: path, precision: .bfloat16)
      }
      #expect("\(error as Any)".contains("\"head.weight\" has 3.3961775e+38 at 2"))
      values[2] = 3.3961773e38
      try model.assign(name, values)
      try model.save(to: path)
      let rounded = try Model(contentsOf: path, precision: .bfloat16)
      #expect(try rounded.parameterValues(name)[2].bitPattern == 0x7f7f_0000)
    }
  }

  // MARK: - Guarantees

  @Test(.enabled(if: kernelsKeepBits, "OpenBLAS promises no bits"), arguments: cases)
  func anyBatchAndNumberOfThreads(_ testCase: GradientCase) throws {
    let model = try Pair(testCase).rounded
    let batch = testCase.batch()
    let outputs = model.outputs
    let threads = Runtime.threadCount
    defer { Runtime.threadCount = threads }
    Runtime.threadCount = 1
    let whole = try model.run(batch, training: false).bits
    for count in [2, 3] {
      Runtime.threadCount = count
      #expect(try model.run(batch, training: false).bits == whole, "\(count) threads")
    }
    var random = SeededGenerator(testCase.seed)
    for size in [1, 2, 5, 9, 33] where size <= testCase.rows {
      let chosen = Array((0..<testCase.rows).shuffled(using: &random).prefix(size))
      let expected = chosen.flatMap { whole[$0 * outputs..<($0 + 1) * outputs] }
      #expect(try model.run(batch.rows(chosen), training: false).bits == expected, "\(size) rows")
    }
  }

  // MARK: - What works

  @Test func whatDoesNotTrainWorks() throws {
    let testCase = Self.threshold
    let model = try Pair(testCase).rounded
    let (batch, goals) = (testCase.batch(), testCase.goals())
    try model.measure(.participation)
    let evaluation = try model.assess(batch, goals)
    let logits = try model.run(batch, training: false)
    var loss = 0.0
    guard case .classes(let classes) = goals else { return }
    for (t, target) in classes.enumerated() {
      let row = logits[t * model.outputs..<(t + 1) * model.outputs].map(Double.init)
      loss += (referenceLogSumExp(row[...]) - row[Int(target)]) / Double(classes.count)
    }
    #expect(abs(evaluation.loss - loss) < 1e-5)
    let statistics = try model.routingStatistics(layer: 0)
    #expect(statistics.rows == 120 && statistics.participation != nil)
    try model.adjust(batch, targetActive: [2.5, 1.5])
    model.resetRoutingStatistics()
    try model.run(batch, training: false)
    #expect(abs(try model.routingStatistics(layer: 0).meanActive - 2.5) < 0.2)
    #expect(abs(try model.routingStatistics(layer: 1).meanActive - 1.5) < 0.2)
    // Above every score: as few experts as are allowed.
    try model.assignBuffer("layers.0.router.threshold", [1])
    model.resetRoutingStatistics()
    try model.run(batch, training: false)
    #expect(try model.routingStatistics(layer: 0).meanActive < 1.1)
  }

  // MARK: - What does not

  static let refused = [
    RefusedCall("forward") { try $0.run(threshold.batch(), training: true) },
    RefusedCall("train") { try $0.train(threshold.batch(), threshold.goals()) },
    RefusedCall("loss") { _ = try $0.losses(threshold.goals()) },
    RefusedCall("backward") { try $0.runBackward(threshold.goals()) },
    RefusedCall("backward from outputs") {
      try $0.runBackward(outputGradient: [Float](repeating: 0, count: 180))
    },
    RefusedCall("step") { try $0.step() },
    RefusedCall("auxiliary losses") { _ = try $0.auxiliaryLosses() },
    RefusedCall("gradient variance") { try $0.measure([.participation, .gradientVariance]) },
    RefusedCall("matrix") { try $0.assign("head.weight", [Float](repeating: 0, count: 99)) },
    RefusedCall("bias") { try $0.assign("head.bias", [0, 0, 0]) },
    RefusedCall("save") { try $0.save(to: temporaryPath()) },
  ]

  @Test(arguments: refused)
  func trainingIsRefused(_ refused: RefusedCall) throws {
    let model = try Pair(Self.threshold).rounded
    let before = try model.run(Self.threshold.batch(), training: false).bits
    let statistics = String(describing: try model.routingStatistics(layer: 0))
    let error = #expect(throws: DynaMoEError.self) { try refused.call(model) }
    if let error, case .state(let message) = error {
      #expect(message.contains("evaluation only: loaded as bfloat16"))
    } else {
      Issue.record("\(error as Any) is no error of state")
    }
    #expect(String(describing: try model.routingStatistics(layer: 0)) == statistics)
    #expect(model.measures == [])
    model.zeroGradients()
    #expect(try model.run(Self.threshold.batch(), training: false).bits == before)
  }

  @Test func readingParameters() throws {
    let model = try Pair(Self.threshold).rounded
    #expect(throws: DynaMoEError.self) { try model.parameterValues("head.weights") }
    var values = [Float](repeating: 7, count: 98)
    values.withUnsafeMutableBufferPointer { values in
      _ = #expect(throws: DynaMoEError.self) {
        try model.copyParameter("head.weight", into: values)
      }
    }
    #expect(values.allSatisfy { $0 == 7 })
  }

  @Test func layers() throws {
    let description = LayerDescription(RouterDescription(kind: "threshold", targetActive: 2))
    let layer = try MoELayer(description)
    try layer.randomiseParameters(seed: 2)
    let path = temporaryPath()
    defer { try? FileManager.default.removeItem(atPath: path) }
    try layer.save(to: path)
    let rounded = try MoELayer(contentsOf: path, precision: .bfloat16)
    var random = SeededGenerator(1)
    let x = random.normals(48)
    let y = try rounded.run(x, rows: 8, training: false)
    let expected = try layer.run(x, rows: 8, training: false)
    let isNear = Self.isNear(y, expected)
    #expect(isNear)
    for call in [
      { try rounded.run(x, rows: 8, training: true) }, { try rounded.runBackward(x) },
      {
        _ = try rounded.losses(); return []
      },
      {
        try rounded.save(to: path); return []
      },
    ] as [() throws -> [Float]] {
      let error = #expect(throws: DynaMoEError.self) { _ = try call() }
      #expect("\(error as Any)".contains("evaluation only: loaded as bfloat16"))
    }
    try x.withUnsafeBufferPointer { try rounded.calibrate($0, rows: 8, targetActive: 1.5) }
    #expect(throws: DynaMoEError.self) { try Model(contentsOf: path, precision: .bfloat16) }
  }
}
