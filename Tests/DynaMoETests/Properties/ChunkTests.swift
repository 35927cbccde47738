import Foundation
import Testing

@testable import DynaMoE

/// More rows than an evaluation takes at once (4096 and more), and more logits than the head computes at once (2²³), give what
/// smaller batches give.
@Suite struct ChunkTests {
  /// The second chunk's rows are unlike the first's.
  private func batch(rows: Int, columns: Int) -> Batch {
    var random = SeededGenerator(21)
    var x = random.normals(rows * columns)
    for index in (min(rows, 4096) * columns)..<x.count { x[index] = 0.5 * x[index] + 0.8 }
    return .features(x, rows: rows)
  }

  private static let rows = 4096 + 137

  private func narrow(_ task: String) -> GradientCase {
    GradientCase(task, GradientTests.threshold, rows: Self.rows) {
      $0.task = task
      $0.experts = [5, 4]
      $0.norm = "rms"
    }
  }

  /// Ranges of rows that one evaluation chunk and one slice of `most` rows hold.
  private func parts(_ rows: Int, of most: Int) -> [[Int]] {
    stride(from: 0, to: rows, by: most).map { Array($0..<min($0 + most, rows)) }
  }

  /// The first place where bits differ; arrays of millions are nothing to print.
  private func firstDifference(_ a: [Float], _ b: [Float]) -> Int? {
    guard a.count == b.count else { return min(a.count, b.count) }
    return a.indices.first { a[$0].bitPattern != b[$0].bitPattern }
  }

  private func firstDifference(_ a: [Bool], _ b: [Bool]) -> Int? {
    guard a.count == b.count else { return min(a.count, b.count) }
    return a.indices.first { a[$0] != b[$0] }
  }

  /// Counts are equal, sums as near as the order of adding allows.
  private func expectSame(_ whole: RoutingStatistics, _ parts: RoutingStatistics) {
    var rounded = parts
    rounded.entropy = whole.entropy
    rounded.meanWeight = whole.meanWeight
    #expect(whole == rounded)
    #expect(abs(whole.entropy - parts.entropy) < 1e-9)
    for (a, b) in zip(whole.meanWeight, parts.meanWeight) { #expect(abs(a - b) < 1e-9) }
  }

  // MARK: - Evaluation

  /// Many experts with few rows each are evaluated in larger chunks.
  @Test(
    .enabled(if: kernelsKeepBits, "OpenBLAS promises no bits"),
    arguments: [(8, 4096), (64, 4096), (128, 8192), (300, 16_384)])
  func rowsOfAChunk(_ experts: Int, _ rows: Int) throws {
    let layer = try MoELayer(
      LayerDescription(RouterDescription(kind: "top_k", k: 2)) {
        $0.width = 2
        $0.experts = experts
        $0.hidden = 1
      })
    #expect(layer.evaluation.chunkRows == rows)
    var random = SeededGenerator(4)
    let (count, part) = (rows + 50, 3000)
    let x = random.normals(2 * count)
    let whole = try layer.run(x, rows: count, training: false)
    let parts = try stride(from: 0, to: count, by: part).flatMap { first in
      let end = min(first + part, count)
      return try layer.run(Array(x[2 * first..<2 * end]), rows: end - first, training: false)
    }
    #expect(firstDifference(whole, parts) == nil)
  }

  @Test func forwardOfSeveralChunks() throws {
    let model = try narrow("classification").model()
    let batch = batch(rows: Self.rows, columns: 5)
    let whole = try model.run(batch, training: false)
    let routing = try (0..<2).map { try model.lastRouting($0) }
    let statistics = try (0..<2).map { try model.routingStatistics(layer: $0) }
    model.resetRoutingStatistics()
    var logits: [Float] = []
    var active: [[Bool]] = [[], []]
    var weights: [[Float]] = [[], []]
    for rows in parts(Self.rows, of: 900) {
      logits += try model.run(batch.rows(rows), training: false)
      for l in 0..<2 {
        let part = try model.lastRouting(l)
        active[l] += part.active
        weights[l] += part.weights
      }
    }
    #expect(firstDifference(whole, logits) == nil)
    for l in 0..<2 {
      #expect(firstDifference(routing[l].active, active[l]) == nil)
      #expect(firstDifference(routing[l].weights, weights[l]) == nil)
      expectSame(statistics[l], try model.routingStatistics(layer: l))
    }
  }

  @Test(arguments: ["classification", "regression"])
  func evaluationOfSeveralChunks(_ task: String) throws {
    let testCase = narrow(task)
    let model = try testCase.model()
    let batch = batch(rows: Self.rows, columns: 5)
    var goals = testCase.goals()
    if case .classes(var classes) = goals {
      for row in stride(from: 2, to: Self.rows, by: 7) { classes[row] = -1 }
      goals = .classes(classes)
    }
    try expectWhole(model, batch, goals, partsOf: 1100)
  }

  /// 2046 rows are a slice: two slices and a bit in the first chunk.
  @Test func slicesWithinChunks() throws {
    let testCase = GradientCase(
      "", RouterDescription(kind: "top_k", k: 1), rows: 4096 + 50
    ) {
      $0.outputs = 4100
      $0.width = 2
      $0.hidden = 2
      $0.experts = [2]
    }
    let model = try testCase.model()
    let batch = batch(rows: testCase.rows, columns: 5)
    let whole = try model.run(batch, training: false)
    var logits: [Float] = []
    for rows in parts(testCase.rows, of: 1500) {
      logits += try model.run(batch.rows(rows), training: false)
    }
    #expect(firstDifference(whole, logits) == nil)
    try expectWhole(model, batch, testCase.goals(), partsOf: 1500)
  }

  @Test func slicesOfARegression() throws {
    let testCase = sliced("regression")
    try expectWhole(
      testCase.model(), batch(rows: testCase.rows, columns: 5), testCase.goals(), partsOf: 90)
  }

  /// An evaluation against those of its parts, and the explained variance against the logits.
  private func expectWhole(
    _ model: Model, _ batch: Batch, _ goals: Goals, partsOf most: Int
  ) throws {
    let outputs = model.outputs
    let whole = try model.assess(batch, goals)
    var counted = 0
    var loss = 0.0
    var hits = 0.0
    var active = [Double](repeating: 0, count: model.layerCount)
    var errors = [Double](repeating: 0, count: outputs)
    for rows in parts(batch.rows, of: most) {
      let goals = goals.rows(rows, columns: outputs)
      let part = try model.assess(batch.rows(rows), goals)
      counted += part.countedRows
      loss += part.loss * Double(part.countedRows)
      hits += (part.accuracy ?? 0) * Double(part.countedRows)
      for l in active.indices { active[l] += part.meanActive[l] * Double(rows.count) }
      if case .values(let values) = goals {
        let logits = try model.run(batch.rows(rows), training: false)
        for (index, logit) in logits.enumerated() {
          let error = Double(logit) - Double(values[index])
          errors[index % outputs] += error * error
        }
      }
    }
    #expect(whole.countedRows == counted)
    #expect(abs(whole.loss - loss / Double(counted)) < 1e-9 * max(1, abs(whole.loss)))
    for l in active.indices {
      #expect(abs(whole.meanActive[l] - active[l] / Double(batch.rows)) < 1e-9)
    }
    guard case .values(let values) = goals else {
      #expect(abs((whole.accuracy ?? .nan) - hits / Double(counted)) < 1e-9)
      return
    }
    var sums = [Double](repeating: 0, count: outputs)
    var squares = sums
    for (index, value) in values.enumerated() {
      sums[index % outputs] += Double(value)
      squares[index % outputs] += Double(value) * Double(value)
    }
    let rows = Double(batch.rows)
    let explained: [Double] = (0..<outputs).map { output in
      let spread = squares[output] - sums[output] * sums[output] / rows
      return 1 - errors[output] / spread
    }
    #expect(abs((whole.r2 ?? .nan) - explained.reduce(0, +) / Double(outputs)) < 1e-9)
  }

  @Test func layerOfSeveralChunks() throws {
    let description = LayerDescription(RouterDescription(kind: "threshold", targetActive: 1.6)) {
      $0.sharedExperts = 1
    }
    let layer = try MoELayer(description)
    try layer.randomiseParameters(seed: 3)
    try layer.randomiseBuffers(seed: 3)
    let batch = batch(rows: Self.rows, columns: 6)
    guard case .features(let x, _) = batch else { return }
    let whole = try layer.run(x, rows: Self.rows, training: false)
    let routing = try layer.lastRouting(0)
    let statistics = try layer.routingStatistics(layer: 0)
    layer.resetRoutingStatistics()
    var y: [Float] = []
    var active: [Bool] = []
    var weights: [Float] = []
    for rows in parts(Self.rows, of: 700) {
      guard case .features(let x, let count) = batch.rows(rows) else { return }
      y += try layer.run(x, rows: count, training: false)
      let part = try layer.lastRouting(0)
      active += part.active
      weights += part.weights
    }
    #expect(firstDifference(whole, y) == nil)
    #expect(firstDifference(routing.active, active) == nil)
    #expect(firstDifference(routing.weights, weights) == nil)
    expectSame(statistics, try layer.routingStatistics(layer: 0))
  }

  // MARK: - Calibration

  /// Thresholds are ranks among all rows, so their order is nothing to them.
  @Test(arguments: ["threshold", "expert_threshold"])
  func calibrationOnSeveralChunks(_ kind: String) throws {
    let testCase = GradientCase(
      "", RouterDescription(kind: kind, targetActive: 2), rows: Self.rows + 1000
    ) {
      $0.experts = [5, 4, 4]
    }
    let batch = batch(rows: testCase.rows, columns: 5)
    let targets = [2.3, 1.4, 1.9]
    let forwards = try testCase.model()
    try forwards.adjust(batch, targetActive: targets)
    let backwards = try testCase.model()
    try backwards.adjust(batch.rows((0..<testCase.rows).reversed()), targetActive: targets)
    #expect(forwards.allBuffers.mapValues(\.bits) == backwards.allBuffers.mapValues(\.bits))
    let found = try forwards.assess(batch, testCase.goals()).meanActive
    for (found, target) in zip(found, targets) { #expect(abs(found - target) < 0.01) }
  }

  // MARK: - Training

  /// 139 rows are a slice.
  private func sliced(_ task: String) -> GradientCase {
    GradientCase(task, RouterDescription(kind: "top_k", k: 1), rows: 160) {
      $0.task = task
      $0.outputs = 60_000
      $0.width = 2
      $0.hidden = 2
      $0.experts = [3]
      $0.optimizer = .init(kind: "sgd", lr: 1)
    }
  }

  /// A model that has not been used, so that it can be compared with others.
  private func fresh(_ testCase: GradientCase, like model: Model) throws -> Model {
    let twin = try Model(testCase.description, seed: testCase.seed)
    for (name, values) in model.allParameters { try twin.assign(name, values) }
    return twin
  }

  private let halves = [Array(0..<100), Array(100..<160)]

  @Test(arguments: ["classification", "regression"])
  func gradientsOfSeveralSlices(_ task: String) throws {
    let testCase = sliced(task)
    let whole = try testCase.model()
    let parts = try fresh(testCase, like: whole)
    let trained = try fresh(testCase, like: whole)
    let batch = batch(rows: 160, columns: 5)
    let goals = testCase.goals()
    let logits = try whole.run(batch, training: true)
    let loss = try whole.losses(goals).task
    let input = try whole.runBackward(goals, inputCount: 800)

    var expected = GradientComparison(found: whole.allGradients, expected: [:])
    expected.found["x"] = input
    var partLogits: [Float] = []
    var partLoss = 0.0
    for rows in halves {
      let share = Double(rows.count) / 160
      let goals = goals.rows(rows, columns: 60_000)
      parts.zeroGradients()
      partLogits += try parts.run(batch.rows(rows), training: true)
      partLoss += try parts.losses(goals).task * share
      let input = try parts.runBackward(goals, inputCount: rows.count * 5)
      expected.add(parts.allGradients, times: share)
      expected.expected["x", default: []] += input.map { Double($0) * share }
    }
    #expect(firstDifference(logits, partLogits) == nil)
    #expect(abs(loss - partLoss) < 1e-9 * max(1, abs(loss)))
    #expect(expected.mismatches == [])

    let losses = try trained.train(batch, goals)
    try whole.step(learningRate: nil)
    #expect(losses.task == loss)
    for (name, values) in whole.allParameters {
      #expect(firstDifference(values, try trained.values(name)) == nil, "\(name)")
    }
  }

  @Test func givenGradientsOfSeveralSlices() throws {
    let testCase = sliced("regression")
    let whole = try testCase.model()
    let parts = try fresh(testCase, like: whole)
    let batch = batch(rows: 160, columns: 5)
    guard case .values(let gradient) = testCase.goals(1) else { return }
    try whole.run(batch, training: true)
    let input = try whole.runBackward(outputGradient: gradient, inputCount: 800)
    var expected = GradientComparison(found: whole.allGradients, expected: [:])
    expected.found["x"] = input
    for rows in halves {
      parts.zeroGradients()
      try parts.run(batch.rows(rows), training: true)
      let range = rows[0] * 60_000..<(rows[0] + rows.count) * 60_000
      let input = try parts.runBackward(
        outputGradient: Array(gradient[range]), inputCount: rows.count * 5)
      expected.add(parts.allGradients, times: 1)
      expected.expected["x", default: []] += input.doubles
    }
    #expect(expected.mismatches == [])
  }

  /// One plain SGD step with learning rate 1 moves each parameter by its gradient.
  @Test func sampleWeightsOfSeveralSlices() throws {
    let testCase = sliced("classification")
    let whole = try testCase.model()
    let before = whole.allParameters
    let batch = batch(rows: 160, columns: 5)
    let goals = testCase.goals()
    let weights = (0..<160).map { Float($0 % 5) + Float($0) / 40 }
    let total = weights.doubles.reduce(0, +)
    var expected = GradientComparison(found: [:], expected: [:])
    var loss = 0.0
    for rows in halves {
      let model = try fresh(testCase, like: whole)
      let weights = rows.map { weights[$0] }
      let share = weights.doubles.reduce(0, +) / total
      let losses = try model.train(
        batch.rows(rows), goals.rows(rows, columns: 60_000), sampleWeight: weights)
      loss += losses.task * share
      expected.add(before.moved(to: model.allParameters), times: share)
    }
    let losses = try whole.train(batch, goals, sampleWeight: weights)
    expected.found = before.moved(to: whole.allParameters)
    #expect(abs(losses.task - loss) < 1e-9 * abs(loss))
    #expect(expected.mismatches == [])
  }
}

extension GradientComparison {
  /// Adds to what is expected.
  fileprivate mutating func add(_ gradients: [String: [Float]], times factor: Double) {
    for (name, values) in gradients {
      let addend = values.map { Double($0) * factor }
      expected[name] = expected[name].map { zip($0, addend).map(+) } ?? addend
    }
  }
}

extension [String: [Float]] {
  /// By how much each value has fallen.
  fileprivate func moved(to after: Self) -> Self {
    merging(after) { zip($0, $1).map { $0 - $1 } }
  }
}
