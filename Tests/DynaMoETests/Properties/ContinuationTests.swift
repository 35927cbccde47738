import Foundation
import Testing

@testable import DynaMoE

/// Saving and loading in the middle of a training leaves no trace.
@Suite struct ContinuationTests {
  static let optimizers = [
    NetworkDescription.Optimizer(lr: 0.01, warmup: 2, total: 9),
    .init(kind: "sgd", lr: 0.05, momentum: 0.9, nesterov: true, weightDecay: 0.01, clip: 1),
    .init(kind: "sgd", lr: 0.05),
  ]

  static let cases = (RandomNetwork.cases.prefix(24) + RandomNetwork.wideCases).enumerated().map {
    var testCase = $1
    testCase.description.optimizer = optimizers[$0 % optimizers.count]
    for l in testCase.description.router.indices
    where !["top_any", "relu"].contains(testCase.description.router[l].kind) {
      testCase.description.router[l].noise = 0.1
    }
    return testCase
  }

  @Test(arguments: cases)
  func equalsAnUninterruptedTraining(_ testCase: GradientCase) throws {
    let path = temporaryPath()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let uninterrupted = try testCase.model()
    for part: UInt64 in 0..<3 {
      try uninterrupted.train(testCase.batch(part), testCase.goals(part))
    }
    try uninterrupted.save(to: path)
    let loaded = try Model(contentsOf: path)
    #expect(
      try Snapshot(loaded, statistics: false).file == Data(contentsOf: URL(fileURLWithPath: path)))
    #expect(loaded.configurationJSON == uninterrupted.configurationJSON)
    #expect(loaded.optimizerSteps == 3 && loaded.trainingForwards == 3)
    uninterrupted.resetRoutingStatistics()
    loaded.resetRoutingStatistics()
    for part: UInt64 in 3..<7 {
      let first = try uninterrupted.train(testCase.batch(part), testCase.goals(part))
      let second = try loaded.train(testCase.batch(part), testCase.goals(part))
      #expect(first.total == second.total)
    }
    // Gradients are unspecified after `trainBatch`; all else is equal.
    let first = try Snapshot(uninterrupted)
    let second = try Snapshot(loaded)
    #expect(first.parameters == second.parameters)
    #expect(first.buffers == second.buffers)
    #expect(first.counts == second.counts)
    #expect(first.statistics == second.statistics)
    #expect(first.file == second.file)
  }

  @Test func singleLayer() throws {
    let path = temporaryPath()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let description = LayerDescription(
      RouterDescription(kind: "threshold", noise: 0.1, balanceRate: 0.01, targetActive: 2))
    let layer = try MoELayer(description, seed: 8)
    var random = SeededGenerator(3)
    func train(_ layers: [MoELayer]) throws {
      let x = random.normals(60)
      let gradient = random.normals(60)
      for layer in layers {
        layer.zeroGradients()
        try layer.run(x, rows: 10, training: true)
        try layer.runBackward(gradient)
        try layer.step(learningRate: nil)
      }
    }
    for _ in 0..<3 { try train([layer]) }
    try layer.save(to: path)
    let loaded = try MoELayer(contentsOf: path)
    for _ in 0..<3 { try train([layer, loaded]) }
    #expect(try layer.savedBytes() == loaded.savedBytes())
    #expect(throws: DynaMoEError.self) { try Model(contentsOf: path) }
  }

  /// What stands in the file is what the model has, under the documented names.
  @Test func fileContents() throws {
    let testCase = Self.cases[1]
    let model = try testCase.model()
    try model.train(testCase.batch(), testCase.goals())
    let file = try TensorFile(model.savedBytes())
    for tensor in model.parameters + model.buffers {
      #expect(try file.floats(tensor.name).bits == Array(tensor.values).bits)
      #expect(file.tensors[tensor.name]?.shape == tensor.shape)
    }
    let others = Set(file.tensors.keys)
      .subtracting((model.parameters + model.buffers).map(\.name))
    #expect(others == Set(model.parameters.map { "optimizer.momentum.\($0.name)" }))
  }

  /// A whole and valid file that does not hold what it must is refused, with the reason.
  @Test(
    arguments: [
      ("NaN", "head.bias"), ("infinity", "head.bias"), ("unknown", "head.scale"),
      ("missing", "head.bias"), ("format", "other"), ("version", "73"), ("kind", "layer"),
      ("seed", "-1"), ("training_forwards", "many"), ("optimizer_steps", "-3"),
      ("NaN", "layers.1.experts.down.weight"), ("missing", "head.weight"),
      ("unknown", "optimizer.m.head.scale"),
    ], Precision.allCases)
  func foreignFilesAreRefused(_ wrong: (String, String), _ precision: Precision) throws {
    let (what, culprit) = wrong
    let testCase = Self.cases[0]
    let model = try testCase.model()
    try model.train(testCase.batch(), testCase.goals())
    let file = try TensorFile(model.savedBytes())
    let path = temporaryPath()
    defer { try? FileManager.default.removeItem(atPath: path) }
    func write(_ metadata: [String: String], _ tensors: [String: [Float]]) throws {
      var room: [(name: String, shape: [Int], values: UnsafeBufferPointer<Float>)] = []
      defer { for tensor in room { tensor.values.deallocate() } }
      for (name, values) in tensors.sorted(by: { $0.key < $1.key }) {
        let copy = UnsafeMutableBufferPointer<Float>.allocate(capacity: values.count)
        _ = copy.initialize(from: values)
        room.append((name, file.tensors[name]?.shape ?? [values.count], .init(copy)))
      }
      try writeSafetensors(path: path, metadata: metadata, tensors: room)
    }
    var tensors: [String: [Float]] = [:]
    for name in file.tensors.keys { tensors[name] = try file.floats(name) }
    try write(file.metadata, tensors)
    #expect(try Model(contentsOf: path).allParameters == model.allParameters)

    var metadata = file.metadata
    switch what {
    case "NaN": tensors[culprit]?[0] = .nan
    case "infinity": tensors[culprit]?[0] = -.infinity
    case "unknown": tensors[culprit] = [1]
    case "missing": tensors[culprit] = nil
    default: metadata[what] = culprit
    }
    try write(metadata, tensors)
    let error = #expect(throws: DynaMoEError.self) {
      try Model(contentsOf: path, precision: precision)
    }
    #expect("\(error as Any)".contains(culprit), "\(error as Any)")
    if let error, case .format = error {} else { Issue.record("\(error as Any)") }
  }

  /// A file of the other kind is refused as that, before its configuration is read.
  @Test func otherKindsAreRefused() throws {
    let path = temporaryPath()
    defer { try? FileManager.default.removeItem(atPath: path) }
    try MoELayer(LayerDescription(GradientTests.threshold)).save(to: path)
    let error = #expect(throws: DynaMoEError.self) { try Model(contentsOf: path) }
    #expect("\(error as Any)".contains("holds a"), "\(error as Any)")
  }

  @Test(arguments: Precision.allCases)
  func damagedFilesAreRefused(_ precision: Precision) throws {
    let testCase = Self.cases[0]
    let model = try testCase.model()
    try model.train(testCase.batch(), testCase.goals())
    let whole = try model.savedBytes()
    let path = temporaryPath()
    defer { try? FileManager.default.removeItem(atPath: path) }
    func load(_ data: Data) throws -> Model {
      try data.write(to: URL(fileURLWithPath: path))
      return try Model(contentsOf: path, precision: precision)
    }
    _ = try load(whole)
    for length in [0, 1, 7, 8, 9, 100, whole.count / 2, whole.count - 1] {
      #expect(throws: DynaMoEError.self, "\(length) bytes") { try load(whole.prefix(length)) }
    }
    #expect(throws: DynaMoEError.self) { try load(whole + Data([0])) }
    #expect(throws: DynaMoEError.self) { try load(Data(repeating: 0xFF, count: 500)) }
    #expect(throws: DynaMoEError.self) { try Model(contentsOf: path + ".absent") }
    #expect(throws: DynaMoEError.self) { try Model(contentsOf: "/") }
    #expect(throws: DynaMoEError.self) { try model.save(to: "/nowhere/at/all/file") }
    // Any one byte of the header may be wrong: refused or loaded, but never a crash.
    var random = SeededGenerator(9)
    for _ in 0..<300 {
      var damaged = whole
      let header = min(4000, whole.count)
      damaged[random.integer(0..<header)] = UInt8(truncatingIfNeeded: random.next())
      _ = try? load(damaged)
    }
  }
}
