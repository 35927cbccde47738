import Foundation
import Testing

@testable import DynaMoE

/// A network, one batch and what must come of it.
struct GoldenCase: Sendable {
  /// Configuration JSON, with the optimizer.
  var configuration: String
  var floats: [String: [Float]] = [:]
  var integers: [String: [Int32]] = [:]
  var flags: [String: [Bool]] = [:]
  var shapes: [String: [Int]] = [:]
}

extension GoldenCase {
  /// A case from a safetensors file whose metadata hold `config` and `optimizer`.
  init(_ file: TensorFile) throws {
    let config = try #require(file.metadata["config"], "metadata has no config")
    let optimizer = try #require(file.metadata["optimizer"], "metadata has no optimizer")
    configuration = config.dropLast() + ", \"optimizer\": " + optimizer + "}"
    for (name, entry) in file.tensors {
      shapes[name] = entry.shape
      switch entry.type {
      case "F32": floats[name] = try file.floats(name)
      case "I32": integers[name] = try file.integers(name)
      default: flags[name] = try file.flags(name)
      }
    }
  }
}

/// Replays a golden case: state, training forward and backward, evaluation, step, and twice more
/// forward, backward, step; every expected tensor is compared and every one must have been.
struct GoldenReplay {
  let golden: GoldenCase

  init(_ golden: GoldenCase) { self.golden = golden }

  func check() throws {
    let model = try Model(try ModelConfiguration(json: golden.configuration), seed: 99)
    let (batch, goals) = try inputs()
    var unseen = Set(golden.floats.keys).union(golden.flags.keys).filter {
      $0.hasPrefix("expected.")
    }

    try load(into: model)
    try model.measure(.participation)
    let logits = try model.run(batch, training: true)
    let losses = try model.losses(goals)
    try checkForward(model, logits, losses, &unseen)
    try checkBackward(model, batch, goals, &unseen)
    for buffer in model.buffers {
      compare("expected.forward.\(buffer.name)", Array(buffer.values), &unseen)
    }

    let before = try Snapshot(model, statistics: false)
    compare("expected.eval.logits", try model.run(batch, training: false), &unseen)
    for l in 0..<model.layerCount {
      compare("expected.eval.layers.\(l).active", try model.lastRouting(l).active, &unseen)
    }
    #expect(try Snapshot(model, statistics: false) == before, "evaluation changes nothing")

    var stepLosses = [Float(losses.total)]
    try model.step(learningRate: nil)
    for _ in 0..<2 {
      model.zeroGradients()
      try model.run(batch, training: true)
      stepLosses.append(Float(try model.losses(goals).total))
      try model.runBackward(goals)
      try model.step(learningRate: nil)
    }
    compare("expected.step_losses", stepLosses, &unseen)
    for tensor in model.parameters + model.buffers {
      compare(
        "expected.step3.\(tensor.name)", Array(tensor.values), &unseen, absolute: 5e-5)
    }
    #expect(unseen.isEmpty, "not compared: \(unseen.sorted())")
  }

  private func inputs() throws -> (Batch, Goals) {
    let batch: Batch
    if let x = golden.floats["x"] {
      batch = .features(x, rows: try #require(golden.shapes["x"]?.first))
    } else {
      batch = .tokens(try #require(golden.integers["ids"]))
    }
    if let values = golden.floats["targets"] { return (batch, .values(values)) }
    return (batch, .classes(try #require(golden.integers["targets"])))
  }

  private func load(into model: Model) throws {
    var names = Set(golden.floats.keys.filter { !$0.hasPrefix("expected.") })
    names.subtract(["x", "targets"])
    for tensor in model.parameters {
      try model.assign(tensor.name, try #require(golden.floats[tensor.name], "\(tensor.name)"))
      #expect(golden.shapes[tensor.name] == tensor.shape, "\(tensor.name)")
      names.remove(tensor.name)
    }
    for tensor in model.buffers {
      try model.assignBuffer(
        tensor.name, try #require(golden.floats[tensor.name], "\(tensor.name)"))
      #expect(golden.shapes[tensor.name] == tensor.shape, "\(tensor.name)")
      names.remove(tensor.name)
    }
    #expect(names.isEmpty, "the engine has no \(names.sorted())")
  }

  private func checkForward(
    _ model: Model, _ logits: [Float], _ losses: Losses, _ unseen: inout Set<String>
  ) throws {
    compare("expected.logits", logits, &unseen)
    compare("expected.loss", [Float(losses.total)], &unseen)
    compare("expected.task_loss", [Float(losses.task)], &unseen)
    compare("expected.aux", try model.auxiliaryLosses().map { Float($0) }, &unseen)
    for l in 0..<model.layerCount {
      let routing = try model.lastRouting(l)
      compare("expected.layers.\(l).active", routing.active, &unseen)
      compare("expected.layers.\(l).weights", routing.weights, &unseen)
      // The repository's own cases have none.
      let name = "expected.layers.\(l).participation"
      if golden.floats[name] != nil {
        let found = try #require(try model.routingStatistics(layer: l).participation)
        compare(name, [Float(found)], &unseen, relative: 1e-3)
      }
    }
  }

  private func checkBackward(
    _ model: Model, _ batch: Batch, _ goals: Goals, _ unseen: inout Set<String>
  ) throws {
    model.zeroGradients()
    var inputCount: Int?
    if case .features(let x, _) = batch { inputCount = x.count }
    let inputGradient = try model.runBackward(goals, inputCount: inputCount)
    if inputCount != nil { compareGradient("x", inputGradient, &unseen) }
    for tensor in model.parameters {
      compareGradient(tensor.name, try model.gradient(tensor.name), &unseen)
    }
  }

  private func compare(_ name: String, _ found: [Bool], _ unseen: inout Set<String>) {
    unseen.remove(name)
    #expect(found == golden.flags[name], "\(name)")
  }

  private func compare(
    _ name: String, _ found: [Float], _ unseen: inout Set<String>, absolute: Double = 1e-5,
    relative: Double = 1e-4
  ) {
    unseen.remove(name)
    guard let expected = golden.floats[name] else {
      Issue.record("nothing expected for \(name)")
      return
    }
    #expect(mismatch(name, found, expected.doubles, absolute: absolute, relative: relative) == nil)
  }

  private func compareGradient(_ name: String, _ found: [Float], _ unseen: inout Set<String>) {
    unseen.remove("expected.grad.\(name)")
    guard let expected = golden.floats["expected.grad.\(name)"]?.doubles else {
      Issue.record("no gradient expected for \(name)")
      return
    }
    #expect(mismatch(name, found, expected, absolute: 1e-5, relative: 2e-3) == nil)
    let norm = expected.reduce(0) { $0 + $1 * $1 }.squareRoot()
    let difference = zip(found, expected).reduce(0) {
      $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1)
    }.squareRoot()
    if norm > 1e-5 {
      #expect(difference <= 1e-3 * norm, "gradient of \(name): off by \(difference / norm)")
    }
  }
}
