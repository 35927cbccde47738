// c = a · Wᵀ from packed panels.

import CDynaMoEPlatform

/// Inputs that are multiplied before the next panel: what keeps a panel and a block of rows in the
/// second-level cache.
private let innerBlock = 1024

/// values [outputs, stride] -> panels [panel][input][panelColumns], padded with zeros.
public func pack(
  values: P, stride: Int, outputs: Int, inputs: Int, packed: M, panelStride: Int
) {
  var (source, target) = (values, packed)
  var column = 0
  while column < outputs {
    packPanel(source, stride, inputs, min(panelColumns, outputs - column), target)
    column += panelColumns
    source += panelColumns * stride
    target += panelStride
  }
}

/// Squares of 8 by 8 in registers, two along a row at a time, so that a line of the cache is read
/// once; then the edges.
private func packPanel(_ source: P, _ stride: Int, _ inputs: Int, _ columns: Int, _ target: M) {
  let (squareColumns, squareInputs) = (columns / 8 * 8, inputs / 16 * 16)
  var k = 0
  while k < squareInputs {
    var j = 0
    while j < squareColumns {
      let (from, to) = (source + j * stride + k, target + k * panelColumns + j)
      dynamoe_transpose8(from, stride, to, panelColumns)
      dynamoe_transpose8(from + 8, stride, to + 8 * panelColumns, panelColumns)
      j += 8
    }
    k += 16
  }
  for k in 0..<inputs {
    for j in (k < squareInputs ? squareColumns : 0)..<panelColumns {
      target[k * panelColumns + j] = j < columns ? source[j * stride + k] : 0
    }
  }
}

/// c[r, j] = bias[j] + Σ_k a[gather[r], k]·W[firstColumn + j, k]; meanwhile asks for the rows `ahead`.
public func productTile(
  rows: Int, columns: Int, inner: Int, a: P, gather: Index?, weights: P, firstColumn: Int,
  bias: P?, c: M, cStride: Int, ahead: UnsafePointer<dynamoe_rows>, aheadCount: Int,
  scratch: UnsafeMutableRawPointer
) {
  let layout = ScratchLayout(memory: scratch)
  for r in 0..<rows {
    let source = if let gather { Int(gather[r]) } else { r }
    layout.rows[r] = a + source * inner
  }
  let blocks = max(1, (inner + innerBlock - 1) / innerBlock)
  var spread = Spread(ahead, aheadCount, tiles: blocks * tileCount(rows, columns: columns), layout)
  var k = 0
  repeat {
    let depth = min(innerBlock, inner - k)
    var column = 0
    while column < columns {
      let width = nextColumns(columns - column, rows: rows)
      var start = k > 0 ? Start.stored : .zero
      if k == 0, let bias {
        if width >= panelColumns {
          start = .values(bias + column)
        } else {
          layout.packed.update(repeating: 0, count: panelColumns)
          layout.packed.update(from: bias + column, count: width)
          start = .values(P(layout.packed))
        }
      }
      let panel = weights + (firstColumn + column) * inner + k * panelColumns
      PanelProduct(
        inner: depth, b: panel, bStep: panelColumns,
        second: width > panelColumns ? inner * panelColumns : nil, start: start
      ).runAll(
        rows, layout, width, c + column, cStride, &spread, next: panel + inner * width,
        isFirst: column == 0)
      column += width
    }
    k += depth
    for r in 0..<rows { layout.rows[r] += depth }
  } while k < inner
}
