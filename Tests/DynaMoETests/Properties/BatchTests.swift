import Foundation
import Testing

@testable import DynaMoE

/// At evaluation a row's result is the same bits whatever the batch it is in and wherever it stands.
@Suite struct BatchTests {
  static let cases = RandomNetwork.wideCases + RandomNetwork.cases

  /// Thresholds that a short training has moved, so that routing is neither all nor nothing.
  private func trained(_ testCase: GradientCase) throws -> Model {
    let model = try testCase.model()
    for part: UInt64 in 10..<13 { try model.train(testCase.batch(part), testCase.goals(part)) }
    return model
  }

  private struct Result: Equatable {
    var logits: [UInt32]
    var active: [[Bool]]
    var weights: [[UInt32]]
  }

  /// One result per row.
  private func results(_ model: Model, _ batch: Batch) throws -> [Result] {
    let logits = try model.run(batch, training: false).bits
    let routing = try (0..<model.layerCount).map { l in
      (n: model.expertCount(layer: l), routing: try model.lastRouting(l))
    }
    let outputs = model.outputs
    return (0..<batch.rows).map { t in
      Result(
        logits: Array(logits[t * outputs..<(t + 1) * outputs]),
        active: routing.map { Array($0.routing.active[t * $0.n..<(t + 1) * $0.n]) },
        weights: routing.map { Array($0.routing.weights.bits[t * $0.n..<(t + 1) * $0.n]) })
    }
  }

  @Test(.enabled(if: kernelsKeepBits, "OpenBLAS promises no bits"), arguments: cases)
  func rowsDoNotSeeEachOther(_ testCase: GradientCase) throws {
    let model = try trained(testCase)
    let batch = testCase.batch()
    let rows = Array(0..<testCase.rows)
    let whole = try results(model, batch)
    var random = SeededGenerator(testCase.seed)
    let permutation = rows.shuffled(using: &random)
    #expect(
      try results(model, batch.rows(permutation)) == permutation.map { whole[$0] }, "permuted")
    for t in rows.prefix(5) + rows.suffix(2) {
      #expect(try results(model, batch.rows([t])) == [whole[t]], "row \(t) alone")
    }
    for size in [2, 3, 7, 8, 9, 16, 31, 33, 64] where size < rows.count {
      let chosen = Array(rows.shuffled(using: &random).prefix(size))
      #expect(
        try results(model, batch.rows(chosen)) == chosen.map { whole[$0] }, "\(size) rows")
    }
    let repeated = (0..<150).map { _ in random.integer(0..<rows.count) }
    #expect(
      try results(model, batch.rows(repeated)) == repeated.map { whole[$0] }, "repeated rows")
  }

  @Test(arguments: RandomNetwork.wideCases)
  func noRows(_ testCase: GradientCase) throws {
    let model = try testCase.model()
    #expect(try model.run(.features([], rows: 0), training: false) == [])
    #expect(model.lastRows == 0)
    #expect(throws: DynaMoEError.self) {
      try model.run(.features([], rows: 0), training: true)
    }
  }

  @Test func evaluationReportsWhatTheLogitsSay() throws {
    let testCase = GradientCase("", GradientTests.threshold, rows: 40, ignored: [3, 9])
    let model = try trained(testCase)
    let logits = try model.run(testCase.batch(), training: false)
    guard case .classes(let classes) = testCase.goals() else { return }
    var right = 0
    for t in 0..<40 where classes[t] >= 0 {
      let row = Array(logits[t * 3..<(t + 1) * 3])
      if row.firstIndex(of: row.max()!) == Int(classes[t]) { right += 1 }
    }
    var reference = ReferenceNetwork(testCase.description, like: model)
    reference.frozen = try (0..<2).map { FrozenRouting(active: try model.lastRouting($0).active) }
    let run = reference.forward(testCase.batch().reference, training: false)
    let loss = ReferenceLosses(run, testCase.goals(), testCase.description).task
    let found = try model.assess(testCase.batch(), testCase.goals())
    #expect(found.countedRows == 38)
    #expect(abs((found.accuracy ?? .nan) - Double(right) / 38) < 1e-12)
    #expect(abs(found.loss - loss) < 1e-5)
    #expect(found.r2 == nil && found.perplexity == nil)
    for l in 0..<2 {
      let active = run.layers[l].routing.active.count { $0 }
      #expect(abs(found.meanActive[l] - Double(active) / 40) < 1e-12)
    }
  }

  @Test func evaluationOfARegression() throws {
    let testCase = GradientCase("", GradientTests.threshold, rows: 30) { $0.task = "regression" }
    let model = try trained(testCase)
    let logits = try model.run(testCase.batch(), training: false).doubles
    guard case .values(let values) = testCase.goals() else { return }
    let targets = values.doubles
    let residual = zip(logits, targets).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    let found = try model.assess(testCase.batch(), testCase.goals())
    #expect(abs(found.loss - residual / 90) < 1e-5)
    #expect(found.accuracy == nil && found.perplexity == nil)
    // Determination per output, averaged, or over all outputs: with targets of one spread both
    // are near; what it may not be is above one or far from either.
    let columns = (0..<3).map { (c: Int) -> (spread: Double, error: Double) in
      let column: [Double] = (0..<30).map { targets[$0 * 3 + c] }
      let mean = column.reduce(0, +) / 30
      let spread = column.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
      let error: Double = (0..<30).reduce(0) { (sum: Double, row: Int) -> Double in
        let difference: Double = logits[row * 3 + c] - column[row]
        return sum + difference * difference
      }
      return (spread: spread, error: error)
    }
    let shares: [Double] = columns.map { 1 - $0.error / $0.spread }
    let averaged = shares.reduce(0, +) / 3
    let pooled = 1 - residual / columns.map(\.spread).reduce(0, +)
    let r2 = try #require(found.r2)
    #expect(min(abs(r2 - averaged), abs(r2 - pooled)) < 1e-4, "\(r2), \(averaged), \(pooled)")
  }

  /// An output that is constant counts 1 when it is met, 0 when it is not; one row explains nothing.
  @Test func explainedVarianceOfConstants() throws {
    let testCase = GradientCase("", GradientTests.threshold, rows: 3) { $0.task = "regression" }
    let model = try testCase.model()
    try model.assign("head.weight", [Float](repeating: 0, count: 3 * 6))
    try model.assign("head.bias", [0.5, 0.25, 2])
    let goals = Goals.values([0.5, 1, 1, 0.5, 1, 2, 0.5, 1, 4.5])
    // Of the third Σ(y - ŷ)² = 7.25, Σ(y - 2.5)² = 6.5.
    let found = try model.assess(testCase.batch(), goals)
    let expected: Double = (1 + 0 + (1 - 7.25 / 6.5)) / 3
    #expect(abs((found.r2 ?? .nan) - expected) < 1e-9)
    let one = try model.assess(testCase.batch().rows([0]), .values([0.5, 1, 1]))
    #expect(one.r2 == nil)
  }

  @Test func evaluationWithoutRowsThatCount() throws {
    let testCase = GradientCase("", GradientTests.threshold, rows: 4, ignored: [0, 1, 2, 3])
    let found = try testCase.model().assess(testCase.batch(), testCase.goals())
    #expect(found.accuracy == nil && found.loss == 0 && found.countedRows == 0)
  }

  /// A parameter that is set after a forward is used by the next, whatever copy of it was kept.
  @Test(arguments: RandomNetwork.wideCases)
  func assignedParametersAreUsed(_ testCase: GradientCase) throws {
    let model = try testCase.model()
    let other = try Model(testCase.description, seed: 77)
    try other.run(testCase.batch(), training: false)
    for (name, values) in model.allParameters { try other.assign(name, values) }
    for (name, values) in model.allBuffers { try other.assignBuffer(name, values) }
    #expect(
      try other.run(testCase.batch(), training: false).bits
        == model.run(testCase.batch(), training: false).bits)
  }

  /// Of equal logits the first is the largest.
  @Test func accuracyOfEqualLogits() throws {
    let testCase = GradientCase("", GradientTests.threshold, rows: 4) {
      $0.optimizer = .init(lr: 0)
    }
    let model = try testCase.model()
    try model.assign("head.weight", [Float](repeating: 0, count: 3 * 6))
    for (bias, accuracy) in [([0, 0, 0] as [Float], 0.25), ([0, 1, 1], 0.5), ([0, 0, 1], 0.25)] {
      try model.assign("head.bias", bias)
      let goals = Goals.classes([0, 1, 2, 1])
      #expect(try model.assess(testCase.batch(), goals).accuracy == accuracy)
      #expect(try model.train(testCase.batch(), goals).accuracy == accuracy)
    }
  }

  @Test func evaluationOfALanguageModel() throws {
    let testCase = GradientTests.tied
    let model = try trained(testCase)
    let found = try model.assess(testCase.batch(), testCase.goals())
    let perplexity = try #require(found.perplexity)
    #expect(abs(log(perplexity) - found.loss) < 1e-6)
  }
}
