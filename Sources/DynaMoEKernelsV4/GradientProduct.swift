// c = aᵀ · b over rows.

/// Rows that are copied at a time: with 256 outputs and 256 inputs half of the second-level cache.
private let rowBlock = 128
/// Rows that are asked for before they are copied.
private let rowsAhead = 4

/// c[o, i] (+)= Σ_p a[p, o]·b[gather[p], i] and sums[o] (+)= Σ_p a[p, o]; outputs ≤ 256 and inputs ≤ 256 fit the scratch memory.
public func gradientTile(
  rows: Int, outputs: Int, inputs: Int, a: P, aStride: Int, b: P, bStride: Int, gather: Index?,
  accumulate: Bool, c: M, cStride: Int, sums: M?, next0: P?, next1: P?, next2: P?, nextStride: Int,
  scratch: UnsafeMutableRawPointer
) {
  let tile = GradientTile(
    rows: rows, outputs: outputs, inputs: inputs, a: a, aStride: aStride, b: b, bStride: bStride,
    gather: gather, next: (next0, next1, next2), nextStride: nextStride,
    layout: ScratchLayout(memory: scratch))
  if let sums, !accumulate { sums.update(repeating: 0, count: outputs) }
  var first = 0
  repeat {
    tile.copy(first, sums)
    tile.multiply(first, start: first > 0 || accumulate ? .stored : .zero, c, cStride)
    first += rowBlock
  } while first < rows
}

private struct GradientTile {
  let rows, outputs, inputs: Int
  let a: P
  let aStride: Int
  let b: P
  let bStride: Int
  let gather: Index?
  let next: (P?, P?, P?)
  let nextStride: Int
  let layout: ScratchLayout

  var aCopy: RowCopy { RowCopy(layout.packed, columns: outputs) }
  func bCopy(_ depth: Int) -> PanelCopy {
    PanelCopy(memory: layout.packed + rowBlock * RowCopy.stride(outputs), depth: depth)
  }

  @inline(__always)
  func aRow(_ p: Int) -> P { a + p * aStride }
  @inline(__always)
  func bRow(_ p: Int) -> P { b + (gather.map { Int($0[p]) } ?? p) * bStride }

  @inline(__always)
  func askFor(_ p: Int) {
    guard p < rows else { return }
    prefetch(aRow(p), outputs)
    prefetch(bRow(p), inputs)
  }

  /// Asks for what is read after the tile of outputs that begins with `output`.
  @inline(__always)
  func askForNext(_ output: Int, _ column: Int, _ columns: Int) {
    for o in output..<max(output, min(output + tileRows, outputs)) {
      let position = o * nextStride + column
      if let p = next.0 { prefetch(p + position, columns) }
      if let p = next.1 { prefetch(p + position, columns) }
      if let p = next.2 { prefetch(p + position, columns) }
    }
  }

  func copy(_ first: Int, _ sums: M?) {
    let depth = min(rowBlock, rows - first)
    let (aCopy, bCopy) = (aCopy, bCopy(depth))
    for q in 0..<depth {
      askFor(first + q + rowsAhead)
      aCopy.copyRow(q, aRow(first + q), outputs)
      bCopy.copyRow(q, bRow(first + q), inputs)
      if let sums { addRow(aRow(first + q), sums) }
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

  /// All tiles of outputs times all panels of inputs. A panel stays in the first-level cache while
  /// the tiles pass; meanwhile the rows of the next block are fetched.
  func multiply(_ first: Int, start: Start, _ c: M, _ cStride: Int) {
    let depth = min(rowBlock, rows - first)
    let (aCopy, bCopy) = (aCopy, bCopy(depth))
    var next = first + rowBlock
    var column = 0
    while column < inputs {
      let columns = min(panelColumns, inputs - column)
      let product = PanelProduct(
        inner: depth, aStep: aCopy.stride, b: bCopy[column], bStep: panelColumns, start: start)
      var output = 0
      while output < outputs {
        askFor(next)
        next += 1
        let count = min(tileRows, outputs - output)
        if first == 0 { askForNext(output + tileRows, column, columns) }
        for r in 0..<count { layout.rows[r] = aCopy[output + r] }
        let target = c + output * cStride + column
        if columns == panelColumns {
          product.run(count, layout.rows, target, cStride)
        } else {
          product.runEdge(count, layout.rows, layout.edge, columns, target, cStride)
        }
        output += tileRows
      }
      column += panelColumns
    }
  }
}
