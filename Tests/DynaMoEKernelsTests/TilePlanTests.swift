import Testing

@testable import DynaMoEKernels

/// Tasks of grouped products.
@Suite struct TilePlanTests {
  /// The memory of a worker holds `rowLimit` rows of `columnLimit` columns; more would be written
  /// behind it.
  @Test(arguments: [4, 6, 8, 12]) func tilesStayWithinTheirLimits(tileRows: Int) {
    for (rowLimit, columnLimit) in [(128, 256), (256, 256)] {
      for size in [1, 5, 127, 128, 129, 255, 256, 257, 500, 512, 513, 1023, 1024, 4096] {
        for threads in [1, 2, 7] {
          let offsets: [Int32] = [0, Int32(size)]
          offsets.withUnsafeBufferPointer { offsets in
            let groups = RowGroups(count: 1, offsets: offsets.baseAddress!, gather: nil)
            let plan = TilePlan(
              groups, columns: 300, inner: 64, tileRows: tileRows, tileColumns: 32,
              rowLimit: rowLimit, columnLimit: columnLimit, threads: threads)
            #expect(covered(plan, rows: size, columns: 300, rowLimit, columnLimit))
          }
        }
      }
    }
  }

  /// Whether every element is in exactly one tile and no tile is too large.
  private func covered(
    _ plan: TilePlan, rows: Int, columns: Int, _ rowLimit: Int, _ columnLimit: Int
  ) -> Bool {
    var seen = [Int](repeating: 0, count: rows * columns)
    for task in 0..<plan.tasks {
      let tile = plan.tile(0, task)
      guard tile.rows <= rowLimit, tile.columns <= columnLimit else { return false }
      for row in tile.row..<tile.row + tile.rows {
        for column in tile.column..<tile.column + tile.columns { seen[row * columns + column] += 1 }
      }
    }
    return seen.allSatisfy { $0 == 1 }
  }
}
