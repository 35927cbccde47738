// Copies of operands that are walked down their columns.

import CDynaMoEPlatform

/// Floats of a line of the cache.
private let lineFloats = 16

/// Asks for `count` floats that are read soon.
@inline(__always)
func prefetch(_ source: P, _ count: Int) {
  var i = 0
  while i < count {
    dynamoe_prefetch(source + i)
    i += lineFloats
  }
}

/// Floats between the panels or rows of a copy beyond their size: without them all would begin in
/// the same set of the cache.
private let gap = lineFloats

/// Panels of `panelColumns` columns and `depth` rows, copied from a matrix with rows far apart.
///
/// Whole rows are copied, one after the other: that reads along the memory, and a page once.
struct PanelCopy {
  let memory: M
  let depth: Int

  /// Floats from one panel to the next.
  var stride: Int { depth * panelColumns + gap }

  /// Room for `columns` columns and `depth` rows.
  static func floats(columns: Int, depth: Int) -> Int {
    (columns + panelColumns - 1) / panelColumns * (depth * panelColumns + gap)
  }

  /// The panel that begins with `column`.
  subscript(column: Int) -> P { P(memory) + column / panelColumns * stride }

  /// Copies `columns` values of a row; what the last panel lacks is filled with zeros.
  @inline(__always)
  func copyRow(_ row: Int, _ source: P, _ columns: Int) {
    var target = memory + row * panelColumns
    var column = 0
    while column + panelColumns <= columns {
      var j = 0
      while j < panelColumns {
        storeLanes(loadLanes(source + column + j), target + j)
        j += Lanes.scalarCount
      }
      column += panelColumns
      target += stride
    }
    guard column < columns else { return }
    for j in 0..<panelColumns { target[j] = column + j < columns ? source[column + j] : 0 }
  }
}

/// Rows copied one behind the other.
struct RowCopy {
  let memory: M
  /// Floats from one row to the next.
  let stride: Int

  init(_ memory: M, columns: Int) {
    self.memory = memory
    stride = RowCopy.stride(columns)
  }

  static func stride(_ columns: Int) -> Int {
    (columns + lineFloats - 1) / lineFloats * lineFloats + gap
  }

  /// The copy from column `column` on.
  subscript(column: Int) -> P { P(memory) + column }

  @inline(__always)
  func copyRow(_ row: Int, _ source: P, _ columns: Int) {
    let target = memory + row * stride
    var j = 0
    while j + vectorCount <= columns {
      store(load(source + j), target + j)
      j += vectorCount
    }
    if j < columns { storePart(loadPart(source + j, columns - j), target + j, columns - j) }
  }
}
