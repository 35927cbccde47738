// Products in registers: up to `tileRows` rows of a times one panel of `panelColumns` columns.

/// Columns of a panel: two registers.
public let panelColumns = 2 * Lanes.scalarCount

#if LEVEL_V4
  /// Rows of the register tile.
  public let tileRows = 8
#elseif LEVEL_V3
  public let tileRows = 6
#else
  public let tileRows = 4
#endif

typealias RowPointers = UnsafeMutablePointer<P>

/// Sums of some rows and one panel, kept in registers.
protocol RegisterTile {
  static var rows: Int { get }
  /// Every row starts with the same values.
  init(_ rows: RowPointers, startingWith s0: Lanes, _ s1: Lanes)
  /// Every row starts with what c holds.
  init(_ rows: RowPointers, loading c: M, _ cStride: Int)
  /// Adds a[row][offset] times a row of the panel.
  mutating func step(_ offset: Int, _ b0: Lanes, _ b1: Lanes)
  func store(_ c: M, _ cStride: Int)
}

struct OneRow: RegisterTile {
  let a: P
  var s0: Lanes
  var s1: Lanes

  static var rows: Int { 1 }

  @inline(__always)
  init(_ rows: RowPointers, startingWith s0: Lanes, _ s1: Lanes) {
    a = rows[0]
    self.s0 = s0
    self.s1 = s1
  }

  @inline(__always)
  init(_ rows: RowPointers, loading c: M, _ cStride: Int) {
    a = rows[0]
    s0 = loadLanes(c)
    s1 = loadLanes(c + Lanes.scalarCount)
  }

  @inline(__always)
  mutating func step(_ offset: Int, _ b0: Lanes, _ b1: Lanes) {
    let value = Lanes(repeating: a[offset])
    s0 = multiplyAdd(value, b0, s0)
    s1 = multiplyAdd(value, b1, s1)
  }

  @inline(__always)
  func store(_ c: M, _ cStride: Int) {
    storeLanes(s0, c)
    storeLanes(s1, c + Lanes.scalarCount)
  }
}

struct Stack<Top: RegisterTile, Bottom: RegisterTile>: RegisterTile {
  var top: Top
  var bottom: Bottom

  @inline(__always)
  static var rows: Int { Top.rows + Bottom.rows }

  @inline(__always)
  init(_ rows: RowPointers, startingWith s0: Lanes, _ s1: Lanes) {
    top = Top(rows, startingWith: s0, s1)
    bottom = Bottom(rows + Top.rows, startingWith: s0, s1)
  }

  @inline(__always)
  init(_ rows: RowPointers, loading c: M, _ cStride: Int) {
    top = Top(rows, loading: c, cStride)
    bottom = Bottom(rows + Top.rows, loading: c + Top.rows * cStride, cStride)
  }

  @inline(__always)
  mutating func step(_ offset: Int, _ b0: Lanes, _ b1: Lanes) {
    top.step(offset, b0, b1)
    bottom.step(offset, b0, b1)
  }

  @inline(__always)
  func store(_ c: M, _ cStride: Int) {
    top.store(c, cStride)
    bottom.store(c + Top.rows * cStride, cStride)
  }
}

typealias TwoRows = Stack<OneRow, OneRow>
typealias ThreeRows = Stack<TwoRows, OneRow>
typealias FourRows = Stack<TwoRows, TwoRows>
typealias FiveRows = Stack<FourRows, OneRow>
typealias SixRows = Stack<FourRows, TwoRows>
typealias SevenRows = Stack<FourRows, ThreeRows>
typealias EightRows = Stack<FourRows, FourRows>

/// What the sums of a tile start from.
enum Start {
  case zero
  /// The same values for every row, a panel wide.
  case values(P)
  /// What c holds.
  case stored
}

/// c[r, j] = start + Σ_k rows[r][k·aStep]·b[k·bStep + j] for a whole panel of columns j, k
/// ascending.
struct PanelProduct {
  var inner: Int
  var aStep: Int
  var b: P
  var bStep: Int
  var start: Start

  /// Whether the panel is contiguous, and probably followed by the next.
  @inline(__always)
  var isPacked: Bool { bStep == panelColumns }

  @inline(__always)
  private func run<Tile: RegisterTile>(
    _: Tile.Type, _ rows: RowPointers, _ c: M, _ cStride: Int
  ) {
    var tile: Tile
    switch start {
    case .zero: tile = Tile(rows, startingWith: .zero, .zero)
    case .values(let values):
      tile = Tile(
        rows, startingWith: loadLanes(values), loadLanes(values + Lanes.scalarCount))
    case .stored: tile = Tile(rows, loading: c, cStride)
    }
    var offset = 0
    var panel = b
    for _ in 0..<inner {
      tile.step(offset, loadLanes(panel), loadLanes(panel + Lanes.scalarCount))
      offset &+= aStep
      panel += bStep
    }
    tile.store(c, cStride)
  }

  /// `count` in 1 ... tileRows.
  @inline(never)
  func run(_ count: Int, _ rows: RowPointers, _ c: M, _ cStride: Int) {
    switch count {
    case 1: run(OneRow.self, rows, c, cStride)
    case 2: run(TwoRows.self, rows, c, cStride)
    case 3: run(ThreeRows.self, rows, c, cStride)
    #if LEVEL_BASELINE
      default: run(FourRows.self, rows, c, cStride)
    #else
      case 4: run(FourRows.self, rows, c, cStride)
      case 5: run(FiveRows.self, rows, c, cStride)
      #if LEVEL_V3
        default: run(SixRows.self, rows, c, cStride)
      #else
        case 6: run(SixRows.self, rows, c, cStride)
        case 7: run(SevenRows.self, rows, c, cStride)
        default: run(EightRows.self, rows, c, cStride)
      #endif
    #endif
    }
  }
}
