import Foundation
import Testing

@testable import DynaMoE

/// Golden cases that travel with the repository; `Tests/Support/golden.py` made them.
@Suite struct GoldenTests {
  @Test func threshold() throws {
    try check(GoldenCase.thresholdConfiguration, GoldenCase.thresholdTensors)
  }

  @Test func percentile() throws {
    try check(GoldenCase.percentileConfiguration, GoldenCase.percentileTensors)
  }

  @Test func topK() throws {
    try check(GoldenCase.topKConfiguration, GoldenCase.topKTensors)
  }

  @Test func mixed() throws {
    try check(GoldenCase.mixedConfiguration, GoldenCase.mixedTensors)
  }

  private func check(_ configuration: String, _ tensors: String) throws {
    struct Document: Decodable {
      var floats: [String: [Float]], integers: [String: [Int32]], flags: [String: [Bool]]
      var shapes: [String: [Int]]
    }
    let document = try JSONDecoder().decode(Document.self, from: Data(tensors.utf8))
    try GoldenReplay(
      GoldenCase(
        configuration: configuration, floats: document.floats, integers: document.integers,
        flags: document.flags, shapes: document.shapes)
    ).check()
  }
}
