// Copies of operands that are walked down their columns.

import CDynaMoEPlatform

/// Floats of a line of the cache.
private let lineFloats = 16

/// Floats between the rows of a copy beyond their size: without them columns would lie in the same sets of the cache.
private let gap = lineFloats

/// Copies `rows` rows of `columns` values, `stride` apart or as `gather` says, to rows of `width`, that of a panel or of two;
/// what they lack is filled with zeros.
@inline(__always)
func copyPanel(
  rows: Int, _ source: P, _ stride: Int, gather: Index? = nil, columns: Int, _ panel: M,
  _ width: Int
) {
  var target = panel
  for r in 0..<rows {
    let row = if let gather { source + Int(gather[r]) * stride } else { source + r * stride }
    if columns == width {
      for column in Swift.stride(from: 0, to: width, by: panelColumns) {
        OnePanel(row + column).store(target + column)
      }
    } else {
      for j in 0..<width { target[j] = j < columns ? row[j] : 0 }
    }
    target += width
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
