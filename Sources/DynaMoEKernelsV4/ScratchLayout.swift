/// How the products divide the memory of a worker.
struct ScratchLayout {
  /// Rows of a task, at most.
  static let maximumRows = 256
  static let pointerBytes = 4096
  static let edgeBytes = 4096

  let memory: UnsafeMutableRawPointer

  /// `maximumRows` pointers.
  var rows: RowPointers { memory.assumingMemoryBound(to: P.self) }

  /// One register tile, for columns that do not fill a panel.
  var edge: M { (memory + Self.pointerBytes).assumingMemoryBound(to: Float.self) }

  /// Packed values.
  var packed: M {
    (memory + Self.pointerBytes + Self.edgeBytes).assumingMemoryBound(to: Float.self)
  }
}

/// Rows of the next register tile when `left` are left: nearly equal tiles instead of full ones and
/// a rest.
@inline(__always)
func nextTile(_ left: Int) -> Int {
  let tiles = (left + tileRows - 1) / tileRows
  return (left + tiles - 1) / tiles
}

extension PanelProduct {
  /// Multiplies all rows; `columns` of the panel are wanted. Meanwhile the panel behind this one
  /// is fetched, a part of it for every tile of rows.
  @inline(__always)
  func runAll(_ count: Int, _ scratch: ScratchLayout, _ columns: Int, _ c: M, _ cStride: Int) {
    var row = 0
    var ahead = b + inner * bStep
    while row < count {
      let rows = nextTile(count - row)
      if isPacked && count > 4 * tileRows {
        let part = inner * bStep * rows / count
        prefetch(ahead, part)
        ahead += part
      }
      if columns == panelColumns {
        run(rows, scratch.rows + row, c + row * cStride, cStride)
      } else {
        runEdge(rows, scratch.rows + row, scratch.edge, columns, c + row * cStride, cStride)
      }
      row += rows
    }
  }

  /// The same arithmetic by way of a full tile.
  @inline(never)
  func runEdge(
    _ count: Int, _ rows: RowPointers, _ edge: M, _ columns: Int, _ c: M, _ cStride: Int
  ) {
    edge.update(repeating: 0, count: count * panelColumns)
    switch start {
    case .zero, .values: break
    case .stored:
      for r in 0..<count {
        (edge + r * panelColumns).update(from: c + r * cStride, count: columns)
      }
    }
    run(count, rows, edge, panelColumns)
    for r in 0..<count {
      (c + r * cStride).update(from: edge + r * panelColumns, count: columns)
    }
  }
}
