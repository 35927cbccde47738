// c = aᵀ · b over rows. Both operands are copied in blocks of rows: rows a power of two apart would fall into the same few
// sets of the cache.

private let rowBlock = 256

/// c[o, i] (+)= Σ_p a[p, o]·b[gather[p], i]; outputs ≤ 128 and inputs ≤ 256 fit the scratch memory.
public func gradientTile(
  rows: Int, outputs: Int, inputs: Int, a: P, aStride: Int, b: P, bStride: Int, gather: Index?,
  accumulate: Bool, c: M, cStride: Int, scratch: UnsafeMutableRawPointer
) {
  let layout = ScratchLayout(memory: scratch)
  let tiles = (outputs + tileRows - 1) / tileRows
  let packedA = layout.packed
  let packedB = layout.packed + tiles * tileRows * rowBlock
  var p = 0
  repeat {
    let depth = min(rowBlock, rows - p)
    copyColumns(a + p * aStride, aStride, depth, outputs, packedA)
    var column = 0
    while column < inputs {
      let width = min(panelColumns, inputs - column)
      for q in 0..<depth {
        let source = if let gather { Int(gather[p + q]) } else { p + q }
        copyPanelRow(b + source * bStride + column, width, packedB + q * panelColumns)
      }
      let product = PanelProduct(
        inner: depth, aStep: tileRows, b: P(packedB), bStep: panelColumns,
        start: p > 0 || accumulate ? .stored : .zero)
      for tile in 0..<tiles {
        let output = tile * tileRows
        let count = min(tileRows, outputs - output)
        for r in 0..<count { layout.rows[r] = P(packedA) + tile * tileRows * depth + r }
        let target = c + output * cStride + column
        if width == panelColumns {
          product.run(count, layout.rows, target, cStride)
        } else {
          product.runEdge(count, layout.rows, layout.edge, width, target, cStride)
        }
      }
      column += panelColumns
    }
    p += depth
  } while p < rows
}

/// a [depth, stride] -> [tile][depth][tileRows]; what lies behind `outputs` is never read.
@inline(__always)
private func copyColumns(_ a: P, _ stride: Int, _ depth: Int, _ outputs: Int, _ target: M) {
  var output = 0
  while output < outputs {
    let count = min(tileRows, outputs - output)
    let tile = target + output * depth
    if count == tileRows {
      for p in 0..<depth {
        for r in 0..<tileRows { tile[p * tileRows + r] = a[p * stride + output + r] }
      }
    } else {
      for p in 0..<depth {
        for r in 0..<count { tile[p * tileRows + r] = a[p * stride + output + r] }
      }
    }
    output += tileRows
  }
}
