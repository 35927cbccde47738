// c = a · W, W as it is stored.

private let innerBlock = 512
/// Up to this number of rows a panel is read once or twice, so copying it would not pay.
private let directRows = tileRows

/// c[r, j] (+)= Σ_k a[r, k]·W[k, j].
public func transposedTile(
  rows: Int, columns: Int, inner: Int, a: P, weights: P, weightStride: Int, accumulate: Bool,
  c: M, cStride: Int, scratch: UnsafeMutableRawPointer
) {
  let layout = ScratchLayout(memory: scratch)
  for r in 0..<rows { layout.rows[r] = a + r * inner }
  var k = 0
  repeat {
    let depth = min(innerBlock, inner - k)
    var column = 0
    while column < columns {
      let width = min(panelColumns, columns - column)
      var product = PanelProduct(
        inner: depth, aStep: 1, b: weights + k * weightStride + column, bStep: weightStride,
        start: k > 0 || accumulate ? .stored : .zero)
      if rows > directRows || width < panelColumns {
        copyPanel(product.b, weightStride, depth, width, layout.packed)
        product.b = P(layout.packed)
        product.bStep = panelColumns
      }
      product.runAll(rows, layout, width, c + column, cStride)
      column += panelColumns
    }
    k += depth
    for r in 0..<rows { layout.rows[r] += depth }
  } while k < inner
}

/// b [depth, stride] -> [depth, panelColumns], padded with zeros.
@inline(__always)
func copyPanel(_ b: P, _ stride: Int, _ depth: Int, _ columns: Int, _ target: M) {
  for k in 0..<depth {
    copyPanelRow(b + k * stride, columns, target + k * panelColumns)
  }
}

@inline(__always)
func copyPanelRow(_ source: P, _ columns: Int, _ target: M) {
  if columns == panelColumns {
    storeLanes(loadLanes(source), target)
    storeLanes(loadLanes(source + Lanes.scalarCount), target + Lanes.scalarCount)
  } else {
    for j in 0..<panelColumns { target[j] = j < columns ? source[j] : 0 }
  }
}
