import CDynaMoEPlatform
import Testing

@testable import DynaMoEKernelsBaseline

/// What products ask for while they multiply.
@Suite struct AheadTests {
  private static let lineFloats = 16

  /// Every line of the rows is asked for once all register tiles are done, and little else.
  @Test(arguments: [1, 2, 7, 64, 500])
  func everyLineIsAskedFor(tiles: Int) {
    let memory = UnsafeMutablePointer<Float>.allocate(capacity: 1 << 16)
    let scratch = UnsafeMutableRawPointer.allocate(byteCount: 1 << 16, alignment: 64)
    defer {
      memory.deallocate()
      scratch.deallocate()
    }
    let gather: [Int32] = [40, 3, 17, 40]
    gather.withUnsafeBufferPointer { gather in
      let start = UnsafePointer(memory)
      let regions = [
        dynamoe_rows(start: start, gather: nil, stride: 300, rows: 0, columns: 100),
        dynamoe_rows(start: start, gather: nil, stride: 300, rows: 9, columns: 256),
        dynamoe_rows(start: start + 4096, gather: nil, stride: 100, rows: 5, columns: 0),
        dynamoe_rows(
          start: start + 8192, gather: gather.baseAddress, stride: 200, rows: 4, columns: 33),
        dynamoe_rows(start: start + 32_768, gather: nil, stride: 5000, rows: 1, columns: 5000),
      ]
      var wanted = Set<Int>()
      for region in regions {
        for row in 0..<region.rows {
          let index = region.gather.map { Int($0[row]) } ?? row
          for column in stride(from: 0, to: region.columns, by: Self.lineFloats) {
            wanted.insert((region.start - start + index * region.stride + column) / Self.lineFloats)
          }
        }
      }
      let layout = ScratchLayout(memory: scratch)
      var spread = Spread(regions, regions.count, tiles: tiles, layout)
      var ahead = Ahead(layout)
      let steps = 4 * Ahead.limit
      var (asked, most) = (Set<Int>(), 0)
      for _ in 0..<tiles {
        ahead.begin(steps, requestSteps: 4)
        ahead.add(&spread)
        let list = ahead.requests().list
        var count = 0
        for slot in 0..<Ahead.limit where start <= list[slot] && list[slot] < start + 1 << 16 {
          let offset = list[slot] - start
          asked.insert(offset / Self.lineFloats)
          asked.insert((offset + Self.lineFloats) / Self.lineFloats)
          count += 1
        }
        most = max(most, count)
      }
      // Rows that begin within a line reach into one line more than they have.
      #expect(wanted.subtracting(asked).count <= 9 + 4 + 1)
      #expect(asked.subtracting(wanted).count <= 2 * (9 + 4 + 1))
      #expect(most <= (asked.count + 1) / 2 / tiles + 2)
    }
  }

  /// A register tile of few steps asks for as much as it has time for.
  @Test func shortTiles() {
    let scratch = UnsafeMutableRawPointer.allocate(byteCount: 1 << 16, alignment: 64)
    defer { scratch.deallocate() }
    let layout = ScratchLayout(memory: scratch)
    var ahead = Ahead(layout)
    for steps in [0, 1, 3, 4, 9, 64] {
      layout.requests.update(repeating: P(layout.edge) + 1, count: Ahead.limit)
      ahead.begin(steps, requestSteps: 2)
      ahead.add(P(layout.packed), 100_000)
      let list = ahead.requests().list
      for slot in 0..<Ahead.limit {
        #expect((list[slot] == P(layout.edge) + 1) == (slot >= steps / 4 * 2))
      }
    }
  }
}
