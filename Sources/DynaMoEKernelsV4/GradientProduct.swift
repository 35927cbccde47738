// c = aᵀ · b over rows.

/// Rows that are copied at a time.
private let rowBlock = 256

/// c[o, i] (+)= Σ_p a[p, o]·b[gather[p], i]; outputs ≤ 128 and inputs ≤ 256 fit the scratch memory.
public func gradientTile(
  rows: Int, outputs: Int, inputs: Int, a: P, aStride: Int, b: P, bStride: Int, gather: Index?,
  accumulate: Bool, c: M, cStride: Int, scratch: UnsafeMutableRawPointer
) {
  let layout = ScratchLayout(memory: scratch)
  var p = 0
  repeat {
    let depth = min(rowBlock, rows - p)
    let tiles = PanelCopy(panels: layout.packed, depth: depth, width: tileRows)
    let room = PanelCopy.floats(columns: outputs, depth: depth, width: tileRows)
    let panels = PanelCopy(panels: layout.packed + room, depth: depth, width: panelColumns)
    for q in 0..<depth {
      tiles.copyRow(q, a + (p + q) * aStride, outputs)
      let source = if let gather { Int(gather[p + q]) } else { p + q }
      panels.copyRow(q, b + source * bStride, inputs)
    }
    multiply(
      tiles, outputs, panels, inputs, layout, start: p > 0 || accumulate ? .stored : .zero, c,
      cStride)
    p += depth
  } while p < rows
}

/// All tiles of outputs times all panels of inputs; c is written along its rows.
@inline(__always)
private func multiply(
  _ tiles: PanelCopy, _ outputs: Int, _ panels: PanelCopy, _ inputs: Int,
  _ layout: ScratchLayout, start: Start, _ c: M, _ cStride: Int
) {
  var output = 0
  while output < outputs {
    let count = min(tileRows, outputs - output)
    for r in 0..<count { layout.rows[r] = tiles[output / tileRows] + r }
    var column = 0
    while column < inputs {
      let columns = min(panelColumns, inputs - column)
      let target = c + output * cStride + column
      let product = PanelProduct(
        inner: panels.depth, aStep: tileRows, b: panels[column / panelColumns],
        bStep: panelColumns, start: start)
      if columns == panelColumns {
        product.run(count, layout.rows, target, cStride)
      } else {
        product.runEdge(count, layout.rows, layout.edge, columns, target, cStride)
      }
      column += panelColumns
    }
    output += tileRows
  }
}
