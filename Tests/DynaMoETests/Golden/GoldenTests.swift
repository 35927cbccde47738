import Foundation
import Testing

@testable import DynaMoE

/// Golden cases that travel with the repository; `Tests/Support/golden.py` made them.
@Suite struct GoldenTests {
  @Test(arguments: GoldenCase.names)
  func golden(_ name: String) throws {
    try GoldenReplay(GoldenCase(named: name)).check()
  }
}

extension GoldenCase {
  private static let all = [
    "threshold": (thresholdConfiguration, thresholdTensors),
    "percentile": (percentileConfiguration, percentileTensors),
    "top_k": (topKConfiguration, topKTensors), "mixed": (mixedConfiguration, mixedTensors),
  ]

  static let names = all.keys.sorted()

  init(named name: String) throws {
    struct Document: Decodable {
      var floats: [String: [Float]], integers: [String: [Int32]], flags: [String: [Bool]]
      var shapes: [String: [Int]]
    }
    let (configuration, tensors) = try #require(Self.all[name])
    let document = try JSONDecoder().decode(Document.self, from: Data(tensors.utf8))
    self.init(
      configuration: configuration, floats: document.floats, integers: document.integers,
      flags: document.flags, shapes: document.shapes)
  }
}
