/// Cuts a grouped product into tasks: blocks of rows of one group times blocks of columns.
///
/// The cut decides nothing about the results, only about balance: every element is summed in one
/// task, in one order.
struct TilePlan {
  /// One block: rows of the grouped order and columns of the result.
  struct Tile {
    var group: Int
    var row: Int
    var rows: Int
    var column: Int
    var columns: Int
  }

  let groups: RowGroups
  let columns: Int
  let tileRows: Int
  let tileColumns: Int
  private(set) var rowBlock: Int
  private(set) var columnBlock: Int

  /// Tasks for each thread that balance wants.
  private static let tasksPerThread = 4
  /// Multiplications below which another thread is not worth waking.
  private static let inlineWork = 1 << 15

  init(
    _ groups: RowGroups, columns: Int, inner: Int, tileRows: Int, tileColumns: Int, rowLimit: Int,
    columnLimit: Int, threads: Int
  ) {
    self.groups = groups
    self.columns = columns
    self.tileRows = tileRows
    self.tileColumns = tileColumns
    // Blocks are cut at multiples of the tile, so a limit that is none would be exceeded.
    rowBlock = max(tileRows, rowLimit / tileRows * tileRows)
    columnBlock = max(tileColumns, columnLimit / tileColumns * tileColumns)
    let work = Double(groups.rows) * Double(columns) * Double(max(1, inner))
    guard threads > 1, work > Double(Self.inlineWork) else { return }
    let wanted = Self.tasksPerThread * threads
    while tasks < wanted {
      if columnBlock >= 4 * tileColumns {
        columnBlock = columnBlock / 2 / tileColumns * tileColumns
      } else if rowBlock >= 4 * tileRows {
        rowBlock = rowBlock / 2 / tileRows * tileRows
      } else if columnBlock > tileColumns {
        columnBlock = tileColumns
      } else {
        return
      }
    }
  }

  var columnBlocks: Int { Self.blocks(columns, columnBlock) }

  var tasks: Int {
    var blocks = 0
    for group in 0..<groups.count { blocks += Self.blocks(groups.size(group), rowBlock) }
    return blocks * columnBlocks
  }

  private static func blocks(_ count: Int, _ size: Int) -> Int {
    count > 0 ? (count - 1) / size + 1 : 0
  }

  /// Calls `body` for every tile, in parallel, with the tile that the same thread probably gets next.
  func run(_ pool: WorkerPool, _ body: (Tile, Tile?, WorkerMemory) -> Void) {
    guard groups.rows > 0, columns > 0 else { return }
    let lease = ScratchLease.acquire(workers: pool.threadCount)
    defer { lease.release() }
    var first = 0
    while first < groups.count {
      let count = min(groups.count - first, ScratchLease.tableCount - 1)
      run(first, count, pool, lease, body)
      first += count
    }
  }

  private func run(
    _ first: Int, _ count: Int, _ pool: WorkerPool, _ lease: ScratchLease,
    _ body: (Tile, Tile?, WorkerMemory) -> Void
  ) {
    let ends = lease.table
    var tasks = 0
    for g in 0..<count {
      tasks += Self.blocks(groups.size(first + g), rowBlock) * columnBlocks
      ends[g] = tasks
    }
    pool.run(tasks, workers: lease.workers) { task, worker in
      var low = 0
      var high = count - 1
      while low < high {
        let middle = (low + high) / 2
        if ends[middle] > task { high = middle } else { low = middle + 1 }
      }
      let tile = self.tile(first + low, task - (low == 0 ? 0 : ends[low - 1]))
      var next: Tile?
      if task + 1 < tasks {
        var group = low
        while ends[group] <= task + 1 { group += 1 }
        next = self.tile(first + group, task + 1 - (group == 0 ? 0 : ends[group - 1]))
      }
      body(tile, next, lease.memory(worker))
    }
  }

  /// Neighbouring tasks share their columns, so that weights stay in cache.
  func tile(_ group: Int, _ task: Int) -> Tile {
    let size = groups.size(group)
    let rowBlocks = Self.blocks(size, rowBlock)
    let row = Self.part(size, tileRows, rowBlocks, task % rowBlocks)
    let column = Self.part(columns, tileColumns, columnBlocks, task / rowBlocks)
    return Tile(
      group: group, row: groups.start(group) + row.lowerBound, rows: row.count,
      column: column.lowerBound, columns: column.count)
  }

  /// Part `index` of 0 ..< `count` cut into `parts` of nearly equal size at multiples of `unit`.
  private static func part(_ count: Int, _ unit: Int, _ parts: Int, _ index: Int) -> Range<Int> {
    let units = (count - 1) / unit + 1
    let start = units * index / parts * unit
    return start..<max(start, min(count, units * (index + 1) / parts * unit))
  }
}
