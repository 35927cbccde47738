// c = a · W, W as it is stored.

/// Rows of W that are copied at a time: with 256 columns what fits the second-level cache.
private let innerBlock = 256
/// Up to this number of rows a panel is read so few times that copying it would not pay.
private let directRows = 32
/// Rows of W that are read where they are before the next panel: each may lie in a page of its own.
private let directBlock = 128

/// Rows of W that are asked for before they are copied.
private let rowsAhead = 8

/// c[r, j] (+)= Σ_k a[r, k]·W[k, j]; columns ≤ 256 fit the scratch memory.
public func transposedTile(
  rows: Int, columns: Int, inner: Int, a: P, weights: P, weightStride: Int, accumulate: Bool,
  c: M, cStride: Int, scratch: UnsafeMutableRawPointer
) {
  let layout = ScratchLayout(memory: scratch)
  for r in 0..<rows { layout.rows[r] = a + r * inner }
  let isDirect = rows <= directRows && columns % panelColumns == 0
  let block = isDirect ? directBlock : innerBlock
  var k = 0
  repeat {
    let depth = min(block, inner - k)
    let source = weights + k * weightStride
    let copy = PanelCopy(memory: layout.packed, depth: depth)
    if !isDirect {
      for p in 0..<depth {
        if k + p + rowsAhead < inner { prefetch(source + (p + rowsAhead) * weightStride, columns) }
        copy.copyRow(p, source + p * weightStride, columns)
      }
    }
    var column = 0
    while column < columns {
      PanelProduct(
        inner: depth, aStep: 1, b: isDirect ? source + column : copy[column],
        bStep: isDirect ? weightStride : panelColumns,
        start: k > 0 || accumulate ? .stored : .zero
      ).runAll(rows, layout, min(panelColumns, columns - column), c + column, cStride)
      column += panelColumns
    }
    k += depth
    for r in 0..<rows { layout.rows[r] += depth }
  } while k < inner
}
