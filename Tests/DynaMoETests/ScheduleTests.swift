import Testing

@testable import DynaMoE

@Suite struct ScheduleTests {
  /// Rows of the golden cases, so that the shapes are checked also where those are absent.
  @Test(arguments: [
    (Schedule(.uniform, minimum: 2, maximum: 8), 4, [8, 8, 8, 8]),
    (Schedule(.descending, minimum: 2, maximum: 8), 9, [8, 7, 7, 6, 5, 4, 4, 3, 2]),
    (Schedule(.ascending, minimum: 1, maximum: 16), 6, [1, 4, 7, 10, 13, 16]),
    (Schedule(.pyramid, minimum: 2, maximum: 8), 9, [2, 4, 5, 7, 8, 7, 5, 4, 2]),
    (Schedule(.valley, minimum: 3, maximum: 10), 12, [10, 9, 7, 6, 5, 4, 4, 5, 6, 7, 9, 10]),
    (Schedule(.wave, minimum: 1, maximum: 8, cycles: 3), 8, [8, 1, 7, 4, 4, 7, 1, 8]),
    (Schedule(.wave, minimum: 2, maximum: 8), 9, [8, 5, 2, 5, 8, 5, 2, 5, 8]),
    (Schedule(.inverseWave, minimum: 2, maximum: 9, cycles: 1.5), 12, [2, 3, 6, 8, 9, 7, 4, 2, 3, 5, 8, 9]),
    (Schedule(.descending, minimum: 2, maximum: 8, total: 30), 6, [8, 7, 6, 4, 3, 2]),
    (Schedule(.descending, minimum: 2, maximum: 8, total: 4), 4, [1, 1, 1, 1]),
    (Schedule(.ascending, minimum: 1, maximum: 16, total: 7), 5, [1, 1, 1, 2, 2]),
    (Schedule(.inverseWave, minimum: 1, maximum: 8, total: 51), 9, [2, 6, 11, 6, 2, 6, 11, 6, 1]),
    (Schedule(.uniform, minimum: 1, maximum: 8, total: 24), 7, [4, 4, 4, 3, 3, 3, 3]),
    (Schedule(.pyramid, minimum: 2, maximum: 8, total: 5), 1, [5]),
  ])
  func counts(schedule: Schedule, layers: Int, expected: [Int]) throws {
    #expect(try schedule.counts(layers: layers) == expected)
  }

  @Test func everyGoldenRow() throws {
    guard let bytes = GoldenCases.bytes(of: "schedules.json") else { return }
    let document = try bytes.withUnsafeBufferPointer { bytes throws(JSONError) in
      try JSONParser.parse(bytes)
    }
    guard case .array(let rows) = document else {
      Issue.record("schedules.json is not a list")
      return
    }
    #expect(rows.count >= 60)
    for row in rows {
      guard case .object(let object) = row, case .array(let counts)? = object["counts"],
        case .string(let name)? = object["name"], let shape = Schedule.Shape(rawValue: name)
      else {
        Issue.record("not a row: \(row.text)")
        continue
      }
      let total = object["total"] == .null ? nil : try object["total"]?.integer("total")
      let schedule = Schedule(
        shape, minimum: try #require(object["minimum"]).integer("minimum"),
        maximum: try #require(object["maximum"]).integer("maximum"),
        cycles: try #require(object["cycles"]).number("cycles"), total: total)
      let layers = try #require(object["layers"]).integer("layers")
      #expect(
        try schedule.counts(layers: layers) == counts.map { try $0.integer("counts") }, "\(row.text)")
    }
  }
}
