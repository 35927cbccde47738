import Foundation
import Testing

@testable import DynaMoE

/// One batch of input for the engine.
enum Batch: Sendable {
  case features([Float], rows: Int)
  case tokens([Int32])

  var rows: Int {
    switch self {
    case .features(_, let rows): rows
    case .tokens(let ids): ids.count
    }
  }

  var reference: ReferenceInput {
    switch self {
    case .features(let x, let rows):
      .features(Matrix(rows, rows == 0 ? 0 : x.count / rows, x.map(Double.init)))
    case .tokens(let ids): .tokens(ids.map(Int.init))
    }
  }

  /// The chosen rows, in the given order.
  func rows(_ indices: [Int]) -> Batch {
    switch self {
    case .features(let x, let rows):
      let columns = x.count / rows
      return .features(
        indices.flatMap { x[$0 * columns..<($0 + 1) * columns] }, rows: indices.count)
    case .tokens(let ids): return .tokens(indices.map { ids[$0] })
    }
  }
}

extension Goals {
  func rows(_ indices: [Int], columns: Int) -> Goals {
    switch self {
    case .classes(let classes): .classes(indices.map { classes[$0] })
    case .values(let values):
      .values(indices.flatMap { values[$0 * columns..<($0 + 1) * columns] })
    }
  }
}

/// Whether the kernels in use promise the same bits for any batch and number of threads: all do but OpenBLAS.
let kernelsKeepBits = (try? Runtime.kernels) != "openblas"

extension RoutedNetwork {
  func values(_ name: String) throws -> [Float] {
    let all = parameters + buffers
    let tensor = try #require(all.first { $0.name == name }, "no tensor named \(name)")
    return Array(tensor.values)
  }

  func gradient(_ name: String) throws -> [Float] {
    let tensor = try #require(parameters.first { $0.name == name }, "no parameter \(name)")
    return Array(try #require(tensor.gradient))
  }

  func assign(_ name: String, _ values: [Float]) throws {
    try values.withUnsafeBufferPointer { try setParameter(name, $0) }
  }

  func assignBuffer(_ name: String, _ values: [Float]) throws {
    try values.withUnsafeBufferPointer { try setBuffer(name, $0) }
  }

  /// Gives every parameter a value of ordinary size, also those that start at 0, 1 or near 0.
  func randomiseParameters(seed: UInt64) throws {
    var random = SeededGenerator(seed)
    for tensor in parameters {
      let inner = tensor.shape.count > 1 ? Float(tensor.shape.last ?? 1) : 3
      let scale: Float =
        tensor.name.hasSuffix("router.weight") ? 2.4 : tensor.name.contains("embedding") ? 3 : 1.7
      let centre: Float = tensor.name.hasSuffix("norm.weight") ? 1 : 0
      let values = (0..<tensor.values.count).map { _ in
        centre + random.uniform(-1...1) * scale / inner.squareRoot()
      }
      try assign(tensor.name, values)
    }
  }

  /// Gives the balancing bias and the stored thresholds values that matter.
  func randomiseBuffers(seed: UInt64) throws {
    var random = SeededGenerator(seed)
    for tensor in buffers {
      if tensor.name.hasSuffix("router.bias") {
        try assignBuffer(
          tensor.name, (0..<tensor.values.count).map { _ in random.uniform(-0.1...0.1) })
      } else if tensor.name.hasSuffix("threshold") || tensor.name.hasSuffix("thresholds") {
        try assignBuffer(
          tensor.name, (0..<tensor.values.count).map { _ in random.uniform(0.15...0.3) })
        let control = tensor.name.split(separator: ".").dropLast().joined(separator: ".")
        try assignBuffer("\(control).control", [0, 0, 1, 0])
      }
    }
  }

  func lastRouting(_ layer: Int) throws -> (active: [Bool], weights: [Float]) {
    let count = lastRows * expertCount(layer: layer)
    var active = [UInt8](repeating: 7, count: count)
    var weights = [Float](repeating: .nan, count: count)
    try active.withUnsafeMutableBufferPointer { active in
      try weights.withUnsafeMutableBufferPointer { weights in
        try copyLastRouting(layer: layer, active: active, weights: weights)
      }
    }
    #expect(active.allSatisfy { $0 <= 1 }, "active flags are 0 or 1")
    return (active.map { $0 == 1 }, weights)
  }

  var allParameters: [String: [Float]] {
    Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, Array($0.values)) })
  }

  var allBuffers: [String: [Float]] {
    Dictionary(uniqueKeysWithValues: buffers.map { ($0.name, Array($0.values)) })
  }

  var allGradients: [String: [Float]] {
    Dictionary(
      uniqueKeysWithValues: parameters.map { ($0.name, $0.gradient.map(Array.init) ?? []) })
  }

  func savedBytes() throws -> Data {
    let path = temporaryPath()
    defer { try? FileManager.default.removeItem(atPath: path) }
    try save(to: path)
    return try Data(contentsOf: URL(fileURLWithPath: path))
  }
}

func temporaryPath() -> String {
  FileManager.default.temporaryDirectory
    .appendingPathComponent("dynamoe-test-\(UUID().uuidString).safetensors").path
}

extension Array where Element == Float {
  /// The bit patterns, so that equality means the same bits.
  var bits: [UInt32] { map(\.bitPattern) }
  var doubles: [Double] { map(Double.init) }
}

extension Model {
  convenience init(_ description: NetworkDescription, seed: UInt64 = 0) throws {
    try self.init(try ModelConfiguration(json: description.json), seed: seed)
  }

  @discardableResult
  func run(_ batch: Batch, training: Bool) throws -> [Float] {
    var logits = [Float](repeating: .nan, count: batch.rows * outputs)
    try logits.withUnsafeMutableBufferPointer { logits in
      try batch.withInput { try forward($0, training: training, into: logits) }
    }
    return logits
  }

  func losses(_ goals: Goals) throws -> Losses {
    try goals.withTargets { try loss($0) }
  }

  /// Runs the backward pass and returns the gradient of the features.
  @discardableResult
  func runBackward(_ goals: Goals, inputCount: Int? = nil) throws -> [Float] {
    var gradient = [Float](repeating: .nan, count: inputCount ?? 0)
    try gradient.withUnsafeMutableBufferPointer { gradient in
      try goals.withTargets { try backward($0, inputGradient: inputCount == nil ? nil : gradient) }
    }
    return gradient
  }

  @discardableResult
  func runBackward(outputGradient: [Float], inputCount: Int? = nil) throws -> [Float] {
    var gradient = [Float](repeating: .nan, count: inputCount ?? 0)
    try gradient.withUnsafeMutableBufferPointer { gradient in
      try outputGradient.withUnsafeBufferPointer {
        try backward(outputGradient: $0, inputGradient: inputCount == nil ? nil : gradient)
      }
    }
    return gradient
  }

  @discardableResult
  func train(_ batch: Batch, _ goals: Goals, sampleWeight: [Float]? = nil) throws -> Losses {
    try batch.withInput { input in
      try goals.withTargets { targets in
        guard let sampleWeight else {
          return try trainBatch(input, targets, sampleWeight: nil)
        }
        return try sampleWeight.withUnsafeBufferPointer {
          try trainBatch(input, targets, sampleWeight: $0)
        }
      }
    }
  }

  func assess(_ batch: Batch, _ goals: Goals) throws -> Evaluation {
    try batch.withInput { input in try goals.withTargets { try evaluate(input, $0) } }
  }

  func adjust(_ batch: Batch, targetActive: [Double]) throws {
    try batch.withInput { try calibrate($0, targetActive: targetActive) }
  }
}

extension MoELayer {
  convenience init(_ description: LayerDescription, seed: UInt64 = 0) throws {
    try self.init(try LayerConfiguration(json: description.json), seed: seed)
  }

  @discardableResult
  func run(_ x: [Float], rows: Int, training: Bool) throws -> [Float] {
    var y = [Float](repeating: .nan, count: x.count)
    try y.withUnsafeMutableBufferPointer { y in
      try x.withUnsafeBufferPointer { try forward($0, rows: rows, training: training, into: y) }
    }
    return y
  }

  @discardableResult
  func runBackward(_ outputGradient: [Float]) throws -> [Float] {
    var gradient = [Float](repeating: .nan, count: outputGradient.count)
    try gradient.withUnsafeMutableBufferPointer { gradient in
      try outputGradient.withUnsafeBufferPointer { try backward($0, inputGradient: gradient) }
    }
    return gradient
  }
}

extension Batch {
  func withInput<Result>(_ body: (Input) throws -> Result) throws -> Result {
    switch self {
    case .features(let x, let rows):
      try x.withUnsafeBufferPointer { try body(.features($0, rows: rows)) }
    case .tokens(let ids):
      try ids.withUnsafeBufferPointer { try body(.tokens($0)) }
    }
  }
}

extension Goals {
  func withTargets<Result>(_ body: (Targets) throws -> Result) throws -> Result {
    switch self {
    case .classes(let classes): try classes.withUnsafeBufferPointer { try body(.classes($0)) }
    case .values(let values): try values.withUnsafeBufferPointer { try body(.values($0)) }
    }
  }
}

/// Everything about a network that a refused or a reading call must leave as it was.
struct Snapshot: Equatable {
  var parameters: [String: [UInt32]]
  var buffers: [String: [UInt32]]
  var gradients: [String: [UInt32]]
  var counts: [Int]
  var file: Data
  var statistics: [String]

  init(_ network: some RoutedNetwork, statistics withStatistics: Bool = true) throws {
    parameters = network.allParameters.mapValues(\.bits)
    buffers = network.allBuffers.mapValues(\.bits)
    gradients = network.allGradients.mapValues(\.bits)
    counts = [network.optimizerSteps, network.trainingForwards]
    file = try network.savedBytes()
    statistics =
      withStatistics
      ? try (0..<network.layerCount).map {
        String(describing: try network.routingStatistics(layer: $0))
      } : []
  }
}
