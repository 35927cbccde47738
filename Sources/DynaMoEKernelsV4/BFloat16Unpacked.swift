// Products of bfloat16 with many rows: each panel of weights is made f32 once, not anew for every register tile.

import CDynaMoEPlatform

/// Pairs that are multiplied before the next panel.
private let innerBlock = 256
/// Register tiles from which on it pays.
private let manyTiles = 4

extension BFloat16ProductTile {
  /// The same bits as with pairs. Returns false, and does nothing, where rows or memory are few.
  func runUnpacked() -> Bool {
    let layout = ScratchLayout(memory: scratch)
    let free = (scratchBytes - ScratchLayout.packedOffset) / MemoryLayout<Float>.stride
    let limit = min(innerBlock, (free - rows * rowGap) / (2 * (rows + pairPanelColumns)) / 8 * 8)
    guard tileCount(rows, columns: panelColumns) >= manyTiles, rows <= ScratchLayout.maximumRows,
      limit >= 8
    else {
      return false
    }
    let panel = layout.packed
    let copy = panel + 2 * limit * pairPanelColumns
    var pair = 0
    repeat {
      let depth = min(limit, pairs - pair)
      let stride = (2 * depth + 15) / 16 * 16 + rowGap
      for r in 0..<rows {
        roundRow(r, from: 2 * pair, pairs: depth, copy + r * stride)
        layout.rows[r] = P(copy + r * stride)
      }
      var column = 0
      while column < columns {
        let packed = weights + column * pairs + pair * pairPanelColumns
        unpack(packed, depth, panel)
        // The panel behind this one.
        var next = dynamoe_rows(
          start: UnsafeRawPointer(packed + pairs * pairPanelColumns)
            .assumingMemoryBound(to: Float.self),
          gather: nil, stride: 0, rows: 1, columns: depth * pairPanelColumns)
        withUnsafePointer(to: &next) { next in
          var spread = Spread(next, 1, tiles: tileCount(rows, columns: panelColumns), layout)
          multiply(panel, 2 * depth, column, isFirst: pair == 0, layout, &spread)
        }
        column += pairPanelColumns
      }
      pair += depth
    } while pair < pairs
    return true
  }

  /// All rows times a panel, in as many columns at a time as a register tile has.
  @inline(__always)
  private func multiply(
    _ panel: M, _ inner: Int, _ column: Int, isFirst: Bool, _ layout: ScratchLayout,
    _ spread: inout Spread
  ) {
    var part = 0
    while part < pairPanelColumns, column + part < columns {
      let width = min(panelColumns, columns - column - part)
      let product = PanelProduct(
        inner: inner, b: P(panel) + part, bStep: pairPanelColumns,
        start: isFirst ? start(column + part, width, layout) : .stored)
      product.runAll(
        rows, layout, width, c + column + part, cStride, &spread, next: nil, isFirst: false)
      part += panelColumns
    }
  }

  private func start(_ column: Int, _ width: Int, _ layout: ScratchLayout) -> Start {
    guard let bias else { return .zero }
    guard width < panelColumns else { return .values(bias + column) }
    let padded = layout.edge + narrowTileRows * panelColumns
    padded.update(repeating: 0, count: panelColumns)
    padded.update(from: bias + column, count: width)
    return .values(P(padded))
  }

  /// Rows of pairs to rows of their elements, the second first.
  @inline(__always)
  private func unpack(_ pairs: UnsafePointer<UInt32>, _ count: Int, _ panel: M) {
    var target = UnsafeMutableRawPointer(panel)
    var source = UnsafeRawPointer(pairs)
    let rowBytes = pairPanelColumns * MemoryLayout<Float>.stride
    for _ in 0..<count {
      for offset in stride(from: 0, to: rowBytes, by: 64) {
        let words = (source + offset).loadUnaligned(as: SIMD16<UInt32>.self)
        (target + offset).storeBytes(of: words & 0xffff_0000, as: SIMD16<UInt32>.self)
        (target + rowBytes + offset).storeBytes(of: words &<< 16, as: SIMD16<UInt32>.self)
      }
      source += rowBytes
      target += 2 * rowBytes
    }
  }
}
