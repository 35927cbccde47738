/// How the products divide the memory of a worker.
struct ScratchLayout {
  /// Rows of a task, at most.
  static let maximumRows = 256
  static let pointerBytes = 8192
  static let edgeBytes = 4096

  let memory: UnsafeMutableRawPointer

  /// `maximumRows` pointers.
  var rows: RowPointers { memory.assumingMemoryBound(to: P.self) }

  /// `Ahead.limit` pointers.
  var requests: UnsafeMutablePointer<P> {
    (memory + Self.pointerBytes / 2).assumingMemoryBound(to: P.self)
  }

  /// One register tile, for columns that do not fill a panel.
  var edge: M { (memory + Self.pointerBytes).assumingMemoryBound(to: Float.self) }

  /// Packed values.
  var packed: M { (memory + Self.packedOffset).assumingMemoryBound(to: Float.self) }
  static let packedOffset = pointerBytes + edgeBytes
}

/// Register tiles of a block.
@inline(__always)
func tileCount(_ rows: Int, columns: Int) -> Int {
  let wide = isNarrow(rows) ? 0 : columns / tileColumns
  let narrow = (columns - wide * tileColumns + panelColumns - 1) / panelColumns
  return wide * tileCount(rows, limit: tileRows) + narrow * tileCount(rows, limit: narrowTileRows)
}

@inline(__always)
private func tileCount(_ rows: Int, limit: Int) -> Int { (rows + limit - 1) / limit }

/// Whether tiles of one panel read the panels of these few rows fewer times.
@inline(__always)
private func isNarrow(_ rows: Int) -> Bool {
  rows <= 2 * narrowTileRows
    && tileCount(rows, limit: narrowTileRows) < tileCount(rows, limit: tileRows)
}

/// Columns of the next register tile when `left` are left.
@inline(__always)
func nextColumns(_ left: Int, rows: Int) -> Int {
  left >= tileColumns && !isNarrow(rows) ? tileColumns : min(panelColumns, left)
}

extension PanelProduct {
  /// Up to this number of register tiles reading the panels takes longer than multiplying them.
  private var fewTiles: Int { second == nil ? 2 : 3 }

  /// Register tiles of `rows` rows of this product.
  @inline(__always)
  private func tiles(_ rows: Int) -> Int { tileCount(rows, limit: rowLimit) }

  /// Rows of the next register tile when `left` are left: nearly equal tiles instead of full ones and
  /// a rest.
  @inline(__always)
  func nextTile(_ left: Int) -> Int {
    let tiles = tiles(left)
    return (left + tiles - 1) / tiles
  }

  /// Multiplies all rows; `width` of the columns are wanted. Meanwhile asks for the `next` panels, for the rows of the next
  /// register tile if this is the `isFirst` one of them, and for its part of `spread`.
  @inline(__always)
  func runAll(
    _ count: Int, _ scratch: ScratchLayout, _ width: Int, _ c: M, _ cStride: Int,
    _ spread: inout Spread, next: P?, isFirst: Bool
  ) {
    let tiles = tiles(count)
    var ahead = Ahead(scratch)
    var (row, index) = (0, 0)
    while row < count {
      let rows = nextTile(count - row)
      var requests: Requests
      ahead.begin(inner, requestSteps: requestSteps(SeparateRows.self))
      if tiles <= fewTiles {
        requests = ahead.requests()
        requests.isNear = index == 0
      } else {
        if let next {
          ahead.add(part: index, of: tiles, next, inner * panelColumns)
          if let second {
            ahead.add(part: index, of: tiles, next + second, inner * panelColumns)
          }
        }
        if isFirst {
          for r in row + rows..<min(count, row + rows + rowLimit) {
            ahead.add(scratch.rows[r], inner)
          }
        }
        ahead.add(&spread)
        requests = ahead.requests()
      }
      if width == columns {
        run(rows, .rows(scratch.rows + row), c + row * cStride, cStride, requests)
      } else {
        runEdge(
          rows, .rows(scratch.rows + row), scratch.edge, width, c + row * cStride, cStride,
          requests)
      }
      row += rows
      index += 1
    }
  }

  /// The same arithmetic by way of a full tile.
  @inline(never)
  func runEdge(
    _ count: Int, _ rows: Left, _ edge: M, _ width: Int, _ c: M, _ cStride: Int,
    _ requests: Requests
  ) {
    edge.update(repeating: 0, count: count * columns)
    switch start {
    case .zero, .values: break
    case .stored:
      for r in 0..<count {
        (edge + r * columns).update(from: c + r * cStride, count: width)
      }
    }
    run(count, rows, edge, columns, requests)
    for r in 0..<count {
      (c + r * cStride).update(from: edge + r * columns, count: width)
    }
  }
}
