import Testing

@_spi(Command) @testable import DynaMoE

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
    (
      Schedule(.inverseWave, minimum: 2, maximum: 9, cycles: 1.5), 12,
      [2, 3, 6, 8, 9, 7, 4, 2, 3, 5, 8, 9]
    ),
    (Schedule(.descending, minimum: 2, maximum: 8, total: 30), 6, [8, 7, 6, 4, 3, 2]),
    (Schedule(.descending, minimum: 2, maximum: 8, total: 4), 4, [1, 1, 1, 1]),
    (Schedule(.ascending, minimum: 1, maximum: 16, total: 7), 5, [1, 1, 1, 2, 2]),
    (Schedule(.inverseWave, minimum: 1, maximum: 8, total: 51), 9, [2, 6, 11, 6, 2, 6, 11, 6, 1]),
    (Schedule(.uniform, minimum: 1, maximum: 8, total: 24), 7, [4, 4, 4, 3, 3, 3, 3]),
    (Schedule(.pyramid, minimum: 2, maximum: 8, total: 5), 1, [5]),
    // A single layer is the first.
    (Schedule(.descending, minimum: 2, maximum: 8), 1, [8]),
    (Schedule(.ascending, minimum: 2, maximum: 8), 1, [2]),
    // cos(3π/2) in f64 is a little below 0, which must not decide the half of the fourth layer.
    (Schedule(.wave, minimum: 1, maximum: 2, cycles: 1), 5, [2, 2, 1, 2, 2]),
  ])
  func counts(schedule: Schedule, layers: Int, expected: [Int]) throws {
    #expect(try schedule.counts(layers: layers) == expected)
  }

  /// The quotas 0.5, 0.5, 3, 3 are taken as that, though rounding leaves the last two a little below 3.
  @Test(arguments: [1.1, 1.4, 1.9])
  func wholeQuotas(_ height: Double) {
    let heights = [height, height, 6 * height, 6 * height]
    #expect(Schedule.matched(heights, total: 7) == [1, 1, 2, 3])
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
        try schedule.counts(layers: layers) == counts.map { try $0.integer("counts") },
        "\(row.text)")
    }
  }
}

extension ScheduleTests {
  @Test func matchedSumsExactly() throws {
    var checked = 0
    for shape in Schedule.Shape.allCases {
      for layers in [1, 2, 3, 7, 12, 40] {
        for (minimum, maximum) in [(1, 1), (1, 9), (3, 64)] {
          for total in [layers, layers + 1, 2 * layers + 1, 7 * layers + 3, 1000 * layers] {
            let schedule = Schedule(
              shape, minimum: minimum, maximum: maximum, cycles: 1.7, total: total)
            let counts = try schedule.counts(layers: layers)
            #expect(counts.count == layers && counts.allSatisfy { $0 >= 1 }, "\(schedule)")
            #expect(counts.reduce(0, +) == total, "\(schedule)")
            checked += 1
          }
        }
      }
    }
    #expect(checked == 630)
  }

  /// The rule of largest remainders, step by step as it is written down.
  @Test func matchedFollowsTheRuleStepByStep() throws {
    func stepByStep(_ heights: [Double], total: Int) -> [Int] {
      let sum = heights.reduce(0, +)
      let quotas = heights.map { Double(total) * $0 / sum }
      var counts = quotas.map { max(1, Int(($0 + 1e-9).rounded(.down))) }
      func remainder(_ layer: Int) -> Double { quotas[layer] - Double(counts[layer]) }
      while counts.reduce(0, +) < total {
        let largest = counts.indices.map(remainder).max()!
        counts[counts.indices.first { remainder($0) >= largest - 1e-9 }!] += 1
      }
      while counts.reduce(0, +) > total {
        let candidates = counts.indices.filter { counts[$0] > 1 }
        let smallest = candidates.map(remainder).min()!
        counts[candidates.first { remainder($0) <= smallest + 1e-9 }!] -= 1
      }
      return counts
    }
    var state: UInt64 = 1
    func next(_ bound: UInt64) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int((state >> 33) % bound)
    }
    for _ in 0..<2000 {
      let heights = (0...next(12)).map { _ in 1 + Double(next(50)) / Double(1 + next(4)) }
      let total = heights.count + next(80)
      #expect(
        Schedule.matched(heights, total: total) == stepByStep(heights, total: total),
        "\(heights), total \(total)")
    }
  }

  @Test(arguments: [
    (
      Schedule(.uniform, minimum: 0, maximum: 2), 2,
      "minimum must be an integer of at least 1; got 0"
    ),
    (
      Schedule(.uniform, minimum: 3, maximum: 2), 2,
      "minimum must not be above maximum; got minimum 3, maximum 2"
    ),
    (
      Schedule(.uniform, maximum: Int.max), 2,
      "maximum must be an integer of at most 2147483647; got 9223372036854775807"
    ),
    (
      Schedule(.uniform, minimum: Int.min, maximum: 2), 2,
      "minimum must be an integer of at least 1; got -9223372036854775808"
    ),
    (
      Schedule(.wave, maximum: 2, cycles: 0), 2,
      "cycles must be a number above 0 and at most 1000000; got 0.0"
    ),
    (Schedule(.wave, maximum: 2, cycles: .nan), 2, "got nan"),
    (Schedule(.uniform, maximum: 2, cycles: .infinity), 2, "got inf"),
    (Schedule(.wave, maximum: 2, cycles: 1e308), 2, "got 1e+308"),
    (
      Schedule(.uniform, maximum: 2, total: 1), 2,
      "total must be at least the number of layers, 2; got 1"
    ),
    (
      Schedule(.uniform, maximum: 2, total: Int.max), 2,
      "total must be an integer of at most 2147483647"
    ),
    (Schedule(.uniform, maximum: 2), 0, "layers must be an integer of at least 1; got 0"),
    (Schedule(.uniform, maximum: 2), Int.min, "layers must be an integer of at least 1"),
    (
      Schedule(.uniform, maximum: 2), 65_537,
      "layers must be an integer of at most 65536; got 65537"
    ),
  ])
  func badValues(schedule: Schedule, layers: Int, expected: String) {
    #expect {
      _ = try schedule.counts(layers: layers)
    } throws: { error in
      guard case .argument(let message)? = error as? DynaMoEError else { return false }
      return message.contains(expected)
    }
  }

  /// The largest allowed values neither trap nor take long.
  @Test func extremes() throws {
    for shape in Schedule.Shape.allCases {
      let plain = Schedule(shape, maximum: Int(Int32.max), cycles: 1e6)
      let counts = try plain.counts(layers: 65_536)
      #expect(counts.allSatisfy { $0 >= 1 && $0 <= Int(Int32.max) })
      for total in [65_536, 100_003, Int(Int32.max)] {
        let matched = Schedule(shape, maximum: Int(Int32.max), cycles: 12_345.6, total: total)
        #expect(try matched.counts(layers: 65_536).reduce(0, +) == total)
      }
    }
  }
}
