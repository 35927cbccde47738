// c = a · W, W as it is stored.

import CDynaMoEPlatform

/// Rows of W that are multiplied before the next panel. A copy of so much of a panel stays in the first-level cache, of two in
/// the second.
private let innerBlock = 256
/// Up to this number of rows a panel is read so few times that copying it would not pay.
private let directRows = 32
/// Rows of W that are read where they are before the next panel: each may lie in a page of its own.
private let directBlock = 128

/// c[r, j] = Σ_k a[r, k]·W[k, j]; columns ≤ 256 fit the scratch memory. Meanwhile asks for the rows `ahead`.
public func transposedTile(
  rows: Int, columns: Int, inner: Int, a: P, weights: P, weightStride: Int, c: M, cStride: Int,
  ahead: UnsafePointer<dynamoe_rows>, aheadCount: Int, scratch: UnsafeMutableRawPointer
) {
  let layout = ScratchLayout(memory: scratch)
  for r in 0..<rows { layout.rows[r] = a + r * inner }
  let isDirect = rows <= directRows && columns % panelColumns == 0
  let block = isDirect ? directBlock : innerBlock
  let tiles = tileCount(rows, columns: columns)
  var k = 0
  repeat {
    let depth = min(block, inner - k)
    let source = weights + k * weightStride
    // The weights of the next block; behind the last what the caller wants.
    var next = dynamoe_rows(
      start: source + depth * weightStride, gather: nil, stride: weightStride,
      rows: min(block, inner - k - depth), columns: columns)
    withUnsafePointer(to: &next) { next in
      let isLast = k + depth >= inner
      var spread = Spread(isLast ? ahead : next, isLast ? aheadCount : 1, tiles: tiles, layout)
      var column = 0
      while column < columns {
        let width = nextColumns(columns - column, rows: rows)
        let panelWidth = max(width, panelColumns)
        if !isDirect {
          copyPanel(
            rows: depth, source + column, weightStride, columns: width, layout.packed, panelWidth)
        }
        PanelProduct(
          inner: depth, b: isDirect ? source + column : P(layout.packed),
          bStep: isDirect ? weightStride : panelWidth,
          second: width > panelColumns ? panelColumns : nil, start: k > 0 ? .stored : .zero
        ).runAll(
          rows, layout, width, c + column, cStride, &spread, next: nil, isFirst: column == 0)
        column += width
      }
    }
    k += depth
    for r in 0..<rows { layout.rows[r] += depth }
  } while k < inner
}
