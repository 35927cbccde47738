// Products of bfloat16 in registers: up to `pairTileRows` rows times the columns of two registers.
//
// This file is compiled four times: as the others, and with AVX512_BF16 (LEVEL_BFLOAT16). Without that
// instruction each half of a pair is a multiply-add of f32 of its own, in the same order and with the
// same rounding: the same bits everywhere.

import CDynaMoEPlatform

/// Columns of a panel of weights, at every level.
public let pairPanelColumns = 32

#if LEVEL_BASELINE
  typealias Sums = SIMD4<Float>
  typealias Pairs = SIMD4<UInt32>
  public let pairTileRows = 4
#elseif LEVEL_V3
  typealias Sums = SIMD8<Float>
  typealias Pairs = SIMD8<UInt32>
  public let pairTileRows = 6
#else
  typealias Sums = SIMD16<Float>
  typealias Pairs = SIMD16<UInt32>
  public let pairTileRows = 8
#endif

#if LEVEL_BFLOAT16
  /// What a row is multiplied as: pairs.
  typealias RowElement = UInt32
  typealias Weights = Pairs
  let elementsPerPair = 1
#else
  /// What a row is multiplied as: the elements of a pair one behind the other, the second first.
  typealias RowElement = Float
  typealias Weights = Sums
  let elementsPerPair = 2
#endif

/// Columns of a register tile.
let pairTileColumns = 2 * Sums.scalarCount

@inline(__always)
func addProducts(_ a: RowElement, _ w: Weights, to sums: Sums) -> Sums {
  #if LEVEL_BFLOAT16
    dynamoe_add_pair_products(sums, Weights(repeating: a), w)
  #elseif LEVEL_BASELINE
    dynamoe_multiply_add_bfloat4(a, w, sums)
  #elseif LEVEL_V3
    dynamoe_multiply_add_float8(Weights(repeating: a), w, sums)
  #else
    dynamoe_multiply_add_float16(Weights(repeating: a), w, sums)
  #endif
}

#if !LEVEL_BFLOAT16
  /// The first elements of pairs as f32.
  @inline(__always)
  func firstElements(_ pairs: Pairs) -> Weights { unsafeBitCast(pairs &<< 16, to: Weights.self) }

  /// The second elements of pairs as f32.
  @inline(__always)
  func secondElements(_ pairs: Pairs) -> Weights {
    unsafeBitCast(pairs & 0xffff_0000, to: Weights.self)
  }
#endif

@inline(__always)
func loadSums(_ p: UnsafePointer<Float>) -> Sums {
  UnsafeRawPointer(p).loadUnaligned(as: Sums.self)
}

@inline(__always)
func loadSums(_ p: UnsafeMutablePointer<Float>) -> Sums {
  UnsafeRawPointer(p).loadUnaligned(as: Sums.self)
}

@inline(__always)
func storeSums(_ sums: Sums, _ p: UnsafeMutablePointer<Float>) {
  UnsafeMutableRawPointer(p).storeBytes(of: sums, as: Sums.self)
}

/// Sums of some rows and the columns of two registers.
protocol PairTile {
  static var rows: Int { get }
  /// Every row starts with the same values.
  init(startingWith s0: Sums, _ s1: Sums)
  /// Every row starts with what c holds.
  init(loading c: UnsafeMutablePointer<Float>, _ stride: Int)
  /// Adds the products of an element of every row, `stride` apart.
  mutating func step(_ row: UnsafePointer<RowElement>, _ stride: Int, _ w0: Weights, _ w1: Weights)
  func store(_ c: UnsafeMutablePointer<Float>, _ stride: Int)
}

struct OnePairRow: PairTile {
  var s0: Sums
  var s1: Sums

  static var rows: Int { 1 }

  @inline(__always)
  init(startingWith s0: Sums, _ s1: Sums) {
    self.s0 = s0
    self.s1 = s1
  }

  @inline(__always)
  init(loading c: UnsafeMutablePointer<Float>, _ stride: Int) {
    s0 = loadSums(c)
    s1 = loadSums(c + Sums.scalarCount)
  }

  @inline(__always)
  mutating func step(
    _ row: UnsafePointer<RowElement>, _ stride: Int, _ w0: Weights, _ w1: Weights
  ) {
    s0 = addProducts(row[0], w0, to: s0)
    s1 = addProducts(row[0], w1, to: s1)
  }

  @inline(__always)
  func store(_ c: UnsafeMutablePointer<Float>, _ stride: Int) {
    storeSums(s0, c)
    storeSums(s1, c + Sums.scalarCount)
  }
}

struct PairStack<Top: PairTile, Bottom: PairTile>: PairTile {
  var top: Top
  var bottom: Bottom

  @inline(__always)
  static var rows: Int { Top.rows + Bottom.rows }

  @inline(__always)
  init(startingWith s0: Sums, _ s1: Sums) {
    top = Top(startingWith: s0, s1)
    bottom = Bottom(startingWith: s0, s1)
  }

  @inline(__always)
  init(loading c: UnsafeMutablePointer<Float>, _ stride: Int) {
    top = Top(loading: c, stride)
    bottom = Bottom(loading: c + Top.rows * stride, stride)
  }

  @inline(__always)
  mutating func step(
    _ row: UnsafePointer<RowElement>, _ stride: Int, _ w0: Weights, _ w1: Weights
  ) {
    top.step(row, stride, w0, w1)
    bottom.step(row + Top.rows * stride, stride, w0, w1)
  }

  @inline(__always)
  func store(_ c: UnsafeMutablePointer<Float>, _ stride: Int) {
    top.store(c, stride)
    bottom.store(c + Top.rows * stride, stride)
  }
}

typealias TwoPairRows = PairStack<OnePairRow, OnePairRow>
typealias ThreePairRows = PairStack<TwoPairRows, OnePairRow>
typealias FourPairRows = PairStack<TwoPairRows, TwoPairRows>
typealias FivePairRows = PairStack<FourPairRows, OnePairRow>
typealias SixPairRows = PairStack<FourPairRows, TwoPairRows>
typealias SevenPairRows = PairStack<FourPairRows, ThreePairRows>
typealias EightPairRows = PairStack<FourPairRows, FourPairRows>

/// What the sums of a panel start from.
enum PairStart {
  case zero
  /// The same values for every row, a panel wide.
  case values(UnsafePointer<Float>)
  /// What c holds.
  case stored
}

/// Rounded rows times a panel, or a part of its depth: c[r, j] = start + Σ_k rows[r][k]·panel[k][j],
/// k ascending pair by pair, within a pair the second element first.
struct PairProduct {
  /// [rows][stride]
  var rows: UnsafePointer<RowElement>
  var stride: Int
  /// [pairs][pairPanelColumns]
  var panel: UnsafePointer<UInt32>
  var pairs: Int
  var start: PairStart

  @inline(__always)
  private func load(_ p: UnsafePointer<UInt32>) -> Pairs {
    UnsafeRawPointer(p).loadUnaligned(as: Pairs.self)
  }

  @inline(__always)
  private func step<Tile: PairTile>(
    _ tile: inout Tile, _ row: UnsafePointer<RowElement>, _ weights: UnsafePointer<UInt32>
  ) {
    let (w0, w1) = (load(weights), load(weights + Pairs.scalarCount))
    #if LEVEL_BFLOAT16
      tile.step(row, stride, w0, w1)
    #else
      tile.step(row, stride, secondElements(w0), secondElements(w1))
      tile.step(row + 1, stride, firstElements(w0), firstElements(w1))
    #endif
  }

  /// `ahead` rows of a panel from `next` on are asked for meanwhile, one every two pairs.
  @inline(__always)
  private func run<Tile: PairTile>(
    _: Tile.Type, _ row: Int, _ column: Int, _ c: UnsafeMutablePointer<Float>, _ cStride: Int,
    _ next: UnsafePointer<UInt32>, _ ahead: Int
  ) {
    var tile: Tile
    switch start {
    case .zero: tile = Tile(startingWith: .zero, .zero)
    case .values(let values):
      tile = Tile(
        startingWith: loadSums(values + column), loadSums(values + column + Sums.scalarCount))
    case .stored: tile = Tile(loading: c, cStride)
    }
    var element = rows + row * stride
    var weights = panel + column
    var request = next
    for _ in 0..<min(ahead, pairs / 2) {
      dynamoe_prefetch(request)
      dynamoe_prefetch(request + 16)
      request += pairPanelColumns
      step(&tile, element, weights)
      step(&tile, element + elementsPerPair, weights + pairPanelColumns)
      element += 2 * elementsPerPair
      weights += 2 * pairPanelColumns
    }
    for _ in 2 * min(ahead, pairs / 2)..<pairs {
      // Few rows are limited by memory; pages end the processor's own looking ahead.
      if Tile.rows <= 2 {
        dynamoe_prefetch_near(weights + prefetchDistance)
        dynamoe_prefetch_near(weights + prefetchDistance + 16)
      }
      step(&tile, element, weights)
      element += elementsPerPair
      weights += pairPanelColumns
    }
    tile.store(c, cStride)
  }

  /// `count` rows in 1 ... pairTileRows from `row` on, a tile of columns from `column` on; meanwhile asks for `ahead` rows of a panel
  /// from `next` on.
  @inline(never)
  func run(
    _ count: Int, _ row: Int, _ column: Int, _ c: UnsafeMutablePointer<Float>, _ cStride: Int,
    next: UnsafePointer<UInt32>, ahead: Int
  ) {
    switch count {
    case 1: run(OnePairRow.self, row, column, c, cStride, next, ahead)
    case 2: run(TwoPairRows.self, row, column, c, cStride, next, ahead)
    case 3: run(ThreePairRows.self, row, column, c, cStride, next, ahead)
    #if LEVEL_BASELINE
      default: run(FourPairRows.self, row, column, c, cStride, next, ahead)
    #else
      case 4: run(FourPairRows.self, row, column, c, cStride, next, ahead)
      case 5: run(FivePairRows.self, row, column, c, cStride, next, ahead)
      #if LEVEL_V3
        default: run(SixPairRows.self, row, column, c, cStride, next, ahead)
      #else
        case 6: run(SixPairRows.self, row, column, c, cStride, next, ahead)
        case 7: run(SevenPairRows.self, row, column, c, cStride, next, ahead)
        default: run(EightPairRows.self, row, column, c, cStride, next, ahead)
      #endif
    #endif
    }
  }
}

/// Words ahead of the weights in use.
private let prefetchDistance = 64 * pairPanelColumns
