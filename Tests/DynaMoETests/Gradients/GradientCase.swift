import Testing

@testable import DynaMoE

typealias RouterDescription = NetworkDescription.Router

/// A network, a batch and targets for which the engine's gradients are checked.
struct GradientCase: Sendable, CustomTestStringConvertible {
  var name: String
  var description: NetworkDescription
  var rows = 8
  var seed: UInt64 = 1
  /// Targets at these rows are -1.
  var ignored: [Int] = []

  var testDescription: String { name }

  init(
    _ name: String, _ router: RouterDescription, rows: Int = 8, seed: UInt64 = 1,
    ignored: [Int] = [], change: (inout NetworkDescription) -> Void = { _ in }
  ) {
    self.init(
      name, NetworkDescription(router, change: change), rows: rows, seed: seed, ignored: ignored)
  }

  init(
    _ name: String, _ description: NetworkDescription, rows: Int = 8, seed: UInt64 = 1,
    ignored: [Int] = []
  ) {
    self.name = name
    self.description = description
    self.rows = rows
    self.seed = seed
    self.ignored = ignored
  }

  func batch(_ part: UInt64 = 0) -> Batch {
    var random = SeededGenerator(seed &* 77 &+ part &+ 5)
    if let inputs = description.inputs {
      return .features(random.normals(rows * inputs), rows: rows)
    }
    return .tokens(random.classes(rows, below: description.vocabulary!))
  }

  func goals(_ part: UInt64 = 0) -> Goals {
    var random = SeededGenerator(seed &* 131 &+ part &+ 9)
    if description.task == "regression" {
      return .values(random.normals(rows * description.outputCount))
    }
    var classes = random.classes(rows, below: description.outputCount)
    for row in ignored { classes[row] = -1 }
    return .classes(classes)
  }

  /// A model of this case whose every parameter and buffer matters.
  func model() throws -> Model {
    let model = try Model(description, seed: seed)
    try model.randomiseParameters(seed: seed)
    try model.randomiseBuffers(seed: seed)
    return model
  }

  var inputCount: Int? { description.inputs.map { $0 * rows } }
}

/// The engine's gradients beside those of the reference.
struct GradientComparison {
  var found: [String: [Float]]
  var expected: [String: [Double]]

  var mismatches: [String] {
    let missing = Set(found.keys).symmetricDifference(expected.keys).map { "only one has \($0)" }
    return missing
      + expected.sorted { $0.key < $1.key }.compactMap {
        gradientMismatch($0.key, found[$0.key] ?? [], $0.value)
      }
  }

  /// Of two backward passes without clearing between them: found is the sum that `second` saw.
  static func accumulated(_ first: Self, _ second: Self) -> Self {
    GradientComparison(
      found: second.found,
      expected: first.expected.merging(second.expected) { zip($0, $1).map(+) })
  }

  func without(_ name: String) -> Self {
    var result = self
    result.found[name] = nil
    result.expected[name] = nil
    return result
  }
}

extension GradientCase {
  /// Runs forward, loss and backward in the engine and compares everything up to the gradients.
  ///
  /// The noise of the training forward, if any, is learnt from a twin; see `learntNoise`.
  func compare(
    _ model: Model, part: UInt64 = 0, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> GradientComparison {
    let batch = batch(part)
    let goals = goals(part)
    var reference = ReferenceNetwork(description, like: model)
    let noise = try learntNoise(model, batch)
    let logits = try model.run(batch, training: true)
    try reference.freeze(model, batch.reference, noise: noise)
    let run = reference.forward(batch.reference, training: true)

    #expect(mismatch("logits", logits, run.logits.values) == nil, sourceLocation: sourceLocation)
    for l in run.layers.indices {
      expectRouting(
        try model.lastRouting(l), run.layers[l].routing, layer: l, sourceLocation: sourceLocation)
    }
    let expected = ReferenceLosses(run, goals, description)
    expectLosses(try model.losses(goals), expected, sourceLocation: sourceLocation)
    let auxiliary = try model.auxiliaryLosses().map { Float($0) }
    #expect(
      mismatch("auxiliary losses", auxiliary, run.layers.flatMap(\.auxiliary.list)) == nil,
      sourceLocation: sourceLocation)

    let inputGradient = try model.runBackward(goals, inputCount: inputCount)
    let gradients = ReferenceGradients(
      reference, batch.reference, withInput: inputCount != nil
    ) { ReferenceLosses($0, goals, description).total }
    var comparison = GradientComparison(
      found: model.allGradients, expected: gradients.parameters)
    if inputCount != nil {
      comparison.found["x"] = inputGradient
      comparison.expected["x"] = gradients.input
    }
    return comparison
  }

  /// ε of the model's next training forward.
  ///
  /// It depends on seed, step, layer, row and expert alone, so a model of the same seed in which
  /// all experts are active with their noisy score as weight shows it: ε = (w - s) / noise.
  func learntNoise(_ model: Model, _ batch: Batch) throws -> [[Double]]? {
    guard description.router.contains(where: { ($0.noise ?? 0) > 0 }) else { return nil }
    var plain = description
    plain.router = plain.router.map { _ in
      RouterDescription(kind: "dense", gate: "raw", noise: 1)
    }
    let twin = try Model(plain, seed: seed)
    for (name, values) in model.allParameters { try twin.assign(name, values) }
    for _ in 0...model.trainingForwards { try twin.run(batch, training: true) }
    var reference = ReferenceNetwork(plain, like: twin)
    reference.frozen = plain.experts.map {
      FrozenRouting(noise: Array(repeating: 0, count: batch.rows * $0))
    }
    for l in plain.experts.indices {
      let clean = reference.forward(batch.reference, training: true).layers[l].routing.s.values
      reference.frozen[l].noise = zip(try twin.lastRouting(l).weights, clean).map {
        Double($0) - $1
      }
    }
    return reference.frozen.map { $0.noise! }
  }
}

func expectLosses(
  _ found: Losses, _ expected: ReferenceLosses, sourceLocation: SourceLocation = #_sourceLocation
) {
  let pairs = [
    ("task", found.task, expected.task), ("balance", found.balance, expected.balance),
    ("z", found.z, expected.z), ("entropy", found.entropy, expected.entropy),
    ("sparsity", found.sparsity, expected.sparsity), ("total", found.total, expected.total),
  ]
  for (name, found, expected) in pairs {
    #expect(
      abs(found - expected) <= 1e-5 + 1e-4 * abs(expected),
      "\(name) loss: \(found) instead of \(expected)", sourceLocation: sourceLocation)
  }
}
