// c = aᵀ · b over rows.

import CDynaMoEPlatform

/// Rows that are copied at a time: a panel of so many stays in the first-level cache.
private let rowBlock = 128

/// c[o, i] = Σ_p a[p, o]·b[gather[p], i] and sums[o] += Σ_p a[p, o]; outputs ≤ 256 and inputs ≤ 256 fit the scratch memory.
/// Meanwhile asks for the rows `ahead`.
public func gradientTile(
  rows: Int, outputs: Int, inputs: Int, a: P, aStride: Int, b: P, bStride: Int, gather: Index?,
  c: M, cStride: Int, sums: M?, ahead: UnsafePointer<dynamoe_rows>, aheadCount: Int,
  scratch: UnsafeMutableRawPointer
) {
  let tile = GradientTile(
    rows: rows, outputs: outputs, inputs: inputs, a: a, aStride: aStride, b: b, bStride: bStride,
    gather: gather, layout: ScratchLayout(memory: scratch))
  // Nearly equal blocks, because a short one has no time for requests.
  let blocks = max(1, (rows + rowBlock - 1) / rowBlock)
  var wanted = Spread(ahead, aheadCount, tiles: blocks * tile.tiles, tile.layout)
  withUnsafeTemporaryAllocation(of: dynamoe_rows.self, capacity: 2) { memory in
    let next = memory.baseAddress!
    for block in 0..<blocks {
      let (first, end) = (rows * block / blocks, rows * (block + 1) / blocks)
      let following = block + 1 < blocks ? rows * (block + 2) / blocks - end : 0
      tile.writeRows(end, following, next)
      var rowsAhead = Spread(next, following > 0 ? 2 : 0, tiles: tile.tiles, tile.layout)
      tile.copyLeft(first, end - first, sums)
      var column = 0
      while column < inputs {
        let columns = nextColumns(inputs - column, rows: outputs)
        tile.multiply(first, end - first, column, columns, c, cStride, &rowsAhead, &wanted)
        column += columns
      }
    }
  }
}

private struct GradientTile {
  let rows, outputs, inputs: Int
  let a: P
  let aStride: Int
  let b: P
  let bStride: Int
  let gather: Index?
  let layout: ScratchLayout

  private var panel: M { layout.packed }
  private var left: RowCopy { RowCopy(layout.packed + rowBlock * tileColumns, columns: outputs) }

  /// Register tiles of c.
  var tiles: Int { tileCount(outputs, columns: inputs) }

  /// What the `count` rows from `first` on read.
  func writeRows(_ first: Int, _ count: Int, _ target: UnsafeMutablePointer<dynamoe_rows>) {
    target[0] = dynamoe_rows(
      start: a + first * aStride, gather: nil, stride: aStride, rows: count, columns: outputs)
    target[1] = dynamoe_rows(
      start: gather == nil ? b + first * bStride : b, gather: gather.map { $0 + first },
      stride: bStride, rows: count, columns: inputs)
  }

  /// Copies rows of a, because columns of a matrix may all lie in the same sets of the cache.
  func copyLeft(_ first: Int, _ depth: Int, _ sums: M?) {
    let left = left
    for q in 0..<depth {
      let row = a + (first + q) * aStride
      left.copyRow(q, row, outputs)
      if let sums { addRow(row, sums) }
    }
  }

  @inline(__always)
  private func addRow(_ row: P, _ sums: M) {
    var o = 0
    while o + vectorCount <= outputs {
      store(load(sums + o) + load(row + o), sums + o)
      o += vectorCount
    }
    while o < outputs {
      sums[o] += row[o]
      o += 1
    }
  }

  /// All tiles of outputs times some columns of inputs, a copy that stays in the first-level cache.
  @inline(__always)
  func multiply(
    _ first: Int, _ depth: Int, _ column: Int, _ columns: Int, _ c: M, _ cStride: Int,
    _ rowsAhead: inout Spread, _ wanted: inout Spread
  ) {
    let width = max(columns, panelColumns)
    copyPanel(
      rows: depth, (gather == nil ? b + first * bStride : b) + column, bStride,
      gather: gather.map { $0 + first }, columns: columns, panel, width)
    let left = left
    let product = PanelProduct(
      inner: depth, b: panel, bStep: width, second: width > panelColumns ? panelColumns : nil,
      start: first == 0 ? .zero : .stored)
    var ahead = Ahead(layout)
    var output = 0
    while output < outputs {
      let count = product.nextTile(outputs - output)
      let target = c + output * cStride + column
      let rows = Left.columns(left[output], stride: left.stride)
      ahead.begin(depth, requestSteps: product.requestSteps(AdjacentRows.self))
      ahead.add(&rowsAhead)
      ahead.add(&wanted)
      let requests = ahead.requests()
      if columns == width {
        product.run(count, rows, target, cStride, requests)
      } else {
        product.runEdge(count, rows, layout.edge, columns, target, cStride, requests)
      }
      output += count
    }
  }
}
