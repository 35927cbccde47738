import Foundation
import Testing

@testable import DynaMoE

/// Golden cases of an independent implementation, which live outside the repository: in the folder
/// named by DYNAMOE_FIXTURES, else in `../shared/fixtures` beside the package.
enum FixtureFolder {
  static let path: String = {
    if let given = ProcessInfo.processInfo.environment["DYNAMOE_FIXTURES"], !given.isEmpty {
      return given
    }
    return URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("shared/fixtures").path
  }()

  /// The names of the cases; none, with a line that says so, if the folder is absent.
  static let names: [String] = {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    let names = files.filter { $0.hasSuffix(".safetensors") }.sorted()
    if names.isEmpty {
      print(
        "SKIPPED: no golden cases in \(path); set DYNAMOE_FIXTURES to the folder that has them")
    }
    return names.map { String($0.dropLast(".safetensors".count)) }
  }()
}

@Suite struct FixtureTests {
  @Test(
    .enabled(if: !FixtureFolder.names.isEmpty, "no golden cases; DYNAMOE_FIXTURES names a folder"),
    arguments: FixtureFolder.names)
  func fixture(_ name: String) throws {
    let file = try TensorFile(path: FixtureFolder.path + "/\(name).safetensors")
    try GoldenReplay(GoldenCase(file)).check()
  }

  @Test(.enabled(if: !FixtureFolder.names.isEmpty))
  func schedules() throws {
    struct Row: Decodable {
      var name: String, layers: Int, minimum: Int, maximum: Int, cycles: Double, total: Int?
      var counts: [Int]
    }
    let data = try Data(
      contentsOf: URL(fileURLWithPath: FixtureFolder.path + "/schedules.json"))
    let rows = try JSONDecoder().decode([Row].self, from: data)
    #expect(!rows.isEmpty)
    for row in rows {
      let shape = try #require(Schedule.Shape(rawValue: row.name))
      let schedule = Schedule(
        shape, minimum: row.minimum, maximum: row.maximum, cycles: row.cycles, total: row.total)
      #expect(try schedule.counts(layers: row.layers) == row.counts, "\(row)")
    }
  }
}
