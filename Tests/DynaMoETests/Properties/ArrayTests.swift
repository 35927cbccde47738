import Testing

@testable import DynaMoE

/// The verbs for arrays do what those for memory do, and refuse what does not fit.
@Suite(.enabled(if: kernelsKeepBits, "OpenBLAS promises no bits")) struct ArrayTests {
  private static let description = LayerDescription(
    RouterDescription(kind: "threshold", noise: 0.1, targetActive: 2))

  private func layers() throws -> (MoELayer, MoELayer) {
    (try MoELayer(Self.description, seed: 3), try MoELayer(Self.description, seed: 3))
  }

  @Test func layer() throws {
    let (arrays, memory) = try layers()
    let width = arrays.configuration.width
    var random = SeededGenerator(5)
    let (x, gradient) = (random.normals(9 * width), random.normals(9 * width))

    #expect(
      try arrays.forward(x, training: true).bits == memory.run(x, rows: 9, training: true).bits)
    #expect(try arrays.backward(gradient).bits == memory.runBackward(gradient).bits)
    #expect(arrays.allGradients == memory.allGradients)

    try arrays.calibrate(x, targetActive: 1.5)
    try x.withUnsafeBufferPointer { try memory.calibrate($0, rows: 9, targetActive: 1.5) }
    #expect(arrays.allBuffers == memory.allBuffers)
    #expect(try arrays.forward(x).bits == memory.run(x, rows: 9, training: false).bits)
    #expect(try arrays.forward([]).isEmpty && arrays.lastRows == 0)
  }

  @Test func layerRefusals() throws {
    let (layer, untouched) = try layers()
    let width = layer.configuration.width
    let short = [Float](repeating: 1, count: 2 * width - 1)
    for call: (MoELayer) throws -> Void in [
      { _ = try $0.forward(short) }, { _ = try $0.forward(short, training: true) },
      { try $0.calibrate(short, targetActive: 2) },
    ] {
      let error = #expect(throws: DynaMoEError.self) { try call(layer) }
      #expect("\(error as Any)".contains("multiple of width = \(width)"))
    }
    #expect(throws: DynaMoEError.self) { try layer.backward([]) }
    _ = try layer.forward([Float](repeating: 1, count: 2 * width), training: true)
    #expect(throws: DynaMoEError.self) { try layer.backward(short) }
    #expect(layer.pendingRows == 2)
    #expect(layer.allParameters == untouched.allParameters)
  }

  @Test func modelCalibration() throws {
    let testCase = RandomNetwork.wideCases[1]
    guard case .features(let x, let rows) = testCase.batch() else { return }
    let (arrays, memory) = (try testCase.model(), try testCase.model())
    let targets = [Double](repeating: 1.5, count: arrays.layerCount)
    try arrays.calibrate(x, targetActive: targets)
    try x.withUnsafeBufferPointer {
      try memory.calibrate(.features($0, rows: rows), targetActive: targets)
    }
    #expect(arrays.allBuffers == memory.allBuffers)
    #expect(try arrays.allBuffers != testCase.model().allBuffers)
  }

  @Test func tokenCalibration() throws {
    func model() throws -> Model {
      try Model(
        ModelConfiguration(
          task: .languageModel, vocabulary: 11, width: 8, experts: [4, 4],
          router: .threshold(targetActive: 2)), seed: 4)
    }
    let ids = (0..<40).map { Int32($0 % 11) }
    let (arrays, memory) = (try model(), try model())
    try arrays.calibrate(tokens: ids, targetActive: [1.5, 1.5])
    try ids.withUnsafeBufferPointer {
      try memory.calibrate(.tokens($0), targetActive: [1.5, 1.5])
    }
    #expect(arrays.allBuffers == memory.allBuffers)
    #expect(try arrays.allBuffers != model().allBuffers)
  }
}
