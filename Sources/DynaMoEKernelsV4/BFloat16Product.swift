// c = a · Wᵀ in bfloat16 with sums in f32, from packed panels of pairs.

import CDynaMoEPlatform

/// Pairs that are multiplied before the next panel when there are many rows: what keeps a panel and a block of rows in
/// the second-level cache.
private let innerBlock = 512
/// Elements behind a row of the copy, so that rows do not all begin in the same set of the cache.
let rowGap = 16
/// Bytes of one register tile, for columns that do not fill a panel, and of the start of its sums.
private let edgeBytes = 4096

/// c[r, j] = bias[j] + Σ_k a[gather[r], k]·W[firstColumn + j, k] with a and W rounded to bfloat16.
///
/// - Parameters:
///   - weights: [panels][pairs][pairPanelColumns] of a whole matrix; `firstColumn` begins a panel.
///   - bias, c: begin at the block.
///   - scratch: `scratchBytes` bytes, of which a row takes at least 320.
public func bfloat16ProductTile(
  rows: Int, columns: Int, inner: Int, a: UnsafePointer<Float>, gather: UnsafePointer<Int32>?,
  weights: UnsafePointer<UInt32>, firstColumn: Int, bias: UnsafePointer<Float>?,
  c: UnsafeMutablePointer<Float>, cStride: Int, scratch: UnsafeMutableRawPointer,
  scratchBytes: Int
) {
  let mode = dynamoe_float_mode_flush()
  let tile = BFloat16ProductTile(
    rows: rows, columns: columns, inner: inner, a: a, gather: gather,
    weights: weights + firstColumn * ((inner + 1) / 2), bias: bias, c: c, cStride: cStride,
    scratch: scratch, scratchBytes: scratchBytes)
  tile.run()
  dynamoe_float_mode_restore(mode)
}

struct BFloat16ProductTile {
  var rows: Int
  var columns: Int
  var inner: Int
  var a: UnsafePointer<Float>
  var gather: UnsafePointer<Int32>?
  /// The first panel of the tile.
  var weights: UnsafePointer<UInt32>
  var bias: UnsafePointer<Float>?
  var c: UnsafeMutablePointer<Float>
  var cStride: Int
  var scratch: UnsafeMutableRawPointer
  var scratchBytes: Int

  var pairs: Int { (inner + 1) / 2 }

  /// One register tile, a panel wide; behind it the start of its sums.
  private var edge: UnsafeMutablePointer<Float> {
    scratch.assumingMemoryBound(to: Float.self)
  }
  private var edgeStart: UnsafeMutablePointer<Float> { edge + pairTileRows * pairPanelColumns }

  private var copy: UnsafeMutablePointer<RowElement> {
    (scratch + edgeBytes).assumingMemoryBound(to: RowElement.self)
  }

  /// Pairs of a block: `innerBlock`, or more when there are few rows.
  private var depthLimit: Int {
    let bytes = (scratchBytes - edgeBytes) / rows
    let elements = bytes / MemoryLayout<RowElement>.stride - rowGap
    let most = max(8, elements / elementsPerPair / 8 * 8)
    return rows > 32 ? min(innerBlock, most) : most
  }

  /// Not inlined: no arithmetic may leave the mode that the caller has set.
  @inline(never)
  func run() {
    #if !LEVEL_BFLOAT16 && !LEVEL_BASELINE
      if runUnpacked() { return }
    #endif
    let limit = depthLimit
    var pair = 0
    repeat {
      let depth = min(limit, pairs - pair)
      let stride = (depth + 7) / 8 * 8 * elementsPerPair + rowGap
      for r in 0..<rows { roundRow(r, from: 2 * pair, pairs: depth, copy + r * stride) }
      var column = 0
      while column < columns {
        let product = PairProduct(
          rows: copy, stride: stride,
          panel: weights + column * pairs + pair * pairPanelColumns, pairs: depth,
          start: start(column, isFirst: pair == 0))
        runPanel(product, column)
        column += pairPanelColumns
      }
      pair += depth
    } while pair < pairs
  }

  /// Elements from input `first` on, filled up with 0.
  @inline(__always)
  func roundRow(
    _ row: Int, from first: Int, pairs: Int, _ target: UnsafeMutablePointer<RowElement>
  ) {
    let source = a + (gather.map { Int($0[row]) } ?? row) * inner + first
    let count = min(2 * pairs, inner - first)
    var k = 0
    while k + 16 <= count {
      roundElements(
        UnsafeRawPointer(source + k).loadUnaligned(as: SIMD16<Float>.self),
        target + k / 2 * elementsPerPair)
      k += 16
    }
    if k < count {
      roundElements(
        dynamoe_load_part(source + k, count - k, .zero), target + k / 2 * elementsPerPair)
    }
  }

  @inline(__always)
  private func roundElements(_ x: SIMD16<Float>, _ target: UnsafeMutablePointer<RowElement>) {
    #if LEVEL_BFLOAT16
      UnsafeMutableRawPointer(target).storeBytes(
        of: dynamoe_rounded_pairs(x), as: SIMD8<UInt32>.self)
    #else
      UnsafeMutableRawPointer(target).storeBytes(
        of: dynamoe_swapped_pairs(dynamoe_rounded_bfloat16(x)), as: SIMD16<Float>.self)
    #endif
  }

  private func start(_ column: Int, isFirst: Bool) -> PairStart {
    guard isFirst else { return .stored }
    guard let bias else { return .zero }
    let count = columns - column
    guard count < pairPanelColumns else { return .values(bias + column) }
    edgeStart.update(repeating: 0, count: pairPanelColumns)
    edgeStart.update(from: bias + column, count: count)
    return .values(UnsafePointer(edgeStart))
  }

  /// All rows times a panel, in nearly equal register tiles.
  private func runPanel(_ product: PairProduct, _ column: Int) {
    let width = min(pairPanelColumns, columns - column)
    // The panel behind this one, a part of it during every register tile; with few rows each tile asks for its own instead.
    let behind = product.panel + pairs * pairPanelColumns
    let asks = rows > 2 * pairTileRows
    var row = 0
    while row < rows {
      let left = rows - row
      let tiles = (left + pairTileRows - 1) / pairTileRows
      let count = (left + tiles - 1) / tiles
      let target = c + row * cStride + column
      let (first, end) = (product.pairs * row / rows, product.pairs * (row + count) / rows)
      let next = behind + first * pairPanelColumns
      let ahead = asks ? end - first : 0
      if width == pairPanelColumns {
        runTiles(product, count, row, target, cStride, next, ahead)
      } else {
        runEdge(product, count, row, target, width, next, ahead)
      }
      row += count
    }
  }

  @inline(__always)
  private func runTiles(
    _ product: PairProduct, _ count: Int, _ row: Int, _ c: UnsafeMutablePointer<Float>,
    _ stride: Int, _ next: UnsafePointer<UInt32>, _ ahead: Int
  ) {
    var column = 0
    while column < pairPanelColumns {
      product.run(
        count, row, column, c + column, stride, next: next, ahead: column == 0 ? ahead : 0)
      column += pairTileColumns
    }
  }

  /// The same arithmetic by way of a full tile.
  private func runEdge(
    _ product: PairProduct, _ count: Int, _ row: Int, _ c: UnsafeMutablePointer<Float>,
    _ width: Int, _ next: UnsafePointer<UInt32>, _ ahead: Int
  ) {
    if case .stored = product.start {
      for r in 0..<count {
        (edge + r * pairPanelColumns).update(from: c + r * cStride, count: width)
      }
    }
    runTiles(product, count, row, edge, pairPanelColumns, next, ahead)
    for r in 0..<count {
      (c + r * cStride).update(from: edge + r * pairPanelColumns, count: width)
    }
  }
}
