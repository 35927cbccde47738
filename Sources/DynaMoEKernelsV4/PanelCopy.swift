// Copies of operands that are walked down their columns.

/// Floats between the panels of a copy beyond their size: without them all panels would begin in
/// the same set of the cache.
private let panelGap = 16

/// Panels of `panelColumns` columns and `depth` rows, copied from a matrix with rows far apart.
///
/// Whole rows are copied, one after the other: that reads along the memory, and a page once.
struct PanelCopy {
  let panels: M
  let depth: Int
  /// Columns of a panel.
  let width: Int

  /// Floats from one panel to the next.
  var stride: Int { depth * width + panelGap }

  /// Room for `columns` columns and `depth` rows.
  static func floats(columns: Int, depth: Int, width: Int) -> Int {
    ((columns + width - 1) / width) * (depth * width + panelGap)
  }

  subscript(panel: Int) -> P { P(panels) + panel * stride }

  /// Copies `columns` values of a row; what the last panel lacks is filled with zeros.
  @inline(__always)
  func copyRow(_ row: Int, _ source: P, _ columns: Int) {
    var target = panels + row * width
    var column = 0
    while column + width <= columns {
      copyWhole(source + column, target)
      column += width
      target += stride
    }
    guard column < columns else { return }
    for j in 0..<width { target[j] = column + j < columns ? source[column + j] : 0 }
  }

  /// `width` is a constant where this is inlined, so that only moves of vectors remain.
  @inline(__always)
  private func copyWhole(_ source: P, _ target: M) {
    var j = 0
    while j + 16 <= width { j = copy(SIMD16<Float>.self, source, target, j) }
    while j + 4 <= width { j = copy(SIMD4<Float>.self, source, target, j) }
    while j + 2 <= width { j = copy(SIMD2<Float>.self, source, target, j) }
  }

  @inline(__always)
  private func copy<V: SIMD>(_: V.Type, _ source: P, _ target: M, _ j: Int) -> Int
  where V.Scalar == Float {
    let v = UnsafeRawPointer(source + j).loadUnaligned(as: V.self)
    UnsafeMutableRawPointer(target + j).storeBytes(of: v, as: V.self)
    return j + V.scalarCount
  }
}
