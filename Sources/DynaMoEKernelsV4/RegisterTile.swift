// Products in registers: some rows of a times a panel of `panelColumns` columns, or times two panels side by side.

import CDynaMoEPlatform

/// Columns of a panel: two registers.
public let panelColumns = 2 * Lanes.scalarCount

#if LEVEL_V4
  /// Panels of a register tile. One with 8 rows keeps the multipliers busy, but takes 5 loads for 8 multiply-adds, two with 6
  /// rows take 5 for 12, which counts where another thread shares the core.
  let tilePanels = 2
  /// Rows of such a register tile.
  public let tileRows = 6
  /// Rows of a register tile of one panel.
  let narrowTileRows = 8
#elseif LEVEL_V3
  let tilePanels = 1
  public let tileRows = 6
  let narrowTileRows = 6
#else
  let tilePanels = 1
  public let tileRows = 4
  let narrowTileRows = 4
#endif

/// Columns of a register tile.
let tileColumns = tilePanels * panelColumns

/// Where the rows of a are.
protocol LeftRows {
  /// Steps from one request to the next of a tile of one panel, 2 or 4. A step of two panels takes half as long again and asks
  /// for twice as much, so that these have a request every 2 steps.
  static var requestSteps: Int { get }
  /// Element `step` behind the current one of row `row`.
  func value(_ row: Int, _ step: Int) -> Float
  mutating func advance(_ steps: Int)
}

/// The rows of a register tile, and what they are apart from one step to the next.
enum Left {
  /// Each somewhere else, the steps one behind the other.
  case rows(RowPointers)
  /// One behind the other, the steps `stride` apart.
  case columns(P, stride: Int)
}

typealias RowPointers = UnsafeMutablePointer<P>

struct SeparateRows: LeftRows {
  private let p0, p1, p2, p3, p4, p5, p6, p7: P
  private var offset = 0

  static var requestSteps: Int { 4 }

  /// - Parameter rows: eight, of which the tile uses the first.
  @inline(__always)
  init(_ rows: RowPointers) {
    (p0, p1, p2, p3) = (rows[0], rows[1], rows[2], rows[3])
    (p4, p5, p6, p7) = (rows[4], rows[5], rows[6], rows[7])
  }

  @inline(__always)
  func value(_ row: Int, _ step: Int) -> Float {
    let p =
      switch row {
      case 0: p0
      case 1: p1
      case 2: p2
      case 3: p3
      case 4: p4
      case 5: p5
      case 6: p6
      default: p7
      }
    return p[offset &+ step]
  }

  @inline(__always)
  mutating func advance(_ steps: Int) { offset &+= steps }
}

struct AdjacentRows: LeftRows {
  private var p: P
  private let stride: Int

  /// The optimizer's state has to come for few rows.
  static var requestSteps: Int { 2 }

  @inline(__always)
  init(_ p: P, stride: Int) {
    self.p = p
    self.stride = stride
  }

  @inline(__always)
  func value(_ row: Int, _ step: Int) -> Float { p[step &* stride &+ row] }

  @inline(__always)
  mutating func advance(_ steps: Int) { p += steps &* stride }
}

/// One row of a register tile in registers: as wide as one panel, or as two.
protocol TileRow {
  static var panels: Int { get }
  static var zero: Self { get }
  /// Values that lie one behind the other.
  init(_ values: P)
  /// A row of a panel, and of the panel `second` floats behind it.
  init(_ row: P, second: Int)
  mutating func add(_ value: Lanes, _ b: Self)
  func store(_ c: M)
}

struct OnePanel: TileRow {
  private var s0, s1: Lanes

  @inline(__always)
  private init(_ s0: Lanes, _ s1: Lanes) { (self.s0, self.s1) = (s0, s1) }

  @inline(__always)
  static var panels: Int { 1 }

  @inline(__always)
  static var zero: OnePanel { OnePanel(.zero, .zero) }

  @inline(__always)
  init(_ values: P) { self.init(loadLanes(values), loadLanes(values + Lanes.scalarCount)) }

  @inline(__always)
  init(_ row: P, second: Int) { self.init(row) }

  @inline(__always)
  mutating func add(_ value: Lanes, _ b: OnePanel) {
    s0 = multiplyAdd(value, b.s0, s0)
    s1 = multiplyAdd(value, b.s1, s1)
  }

  @inline(__always)
  func store(_ c: M) {
    storeLanes(s0, c)
    storeLanes(s1, c + Lanes.scalarCount)
  }
}

struct TwoPanels: TileRow {
  private var left, right: OnePanel

  @inline(__always)
  private init(_ left: OnePanel, _ right: OnePanel) { (self.left, self.right) = (left, right) }

  @inline(__always)
  static var panels: Int { 2 }

  @inline(__always)
  static var zero: TwoPanels { TwoPanels(.zero, .zero) }

  @inline(__always)
  init(_ values: P) { self.init(values, second: panelColumns) }

  @inline(__always)
  init(_ row: P, second: Int) { self.init(OnePanel(row), OnePanel(row + second)) }

  @inline(__always)
  mutating func add(_ value: Lanes, _ b: TwoPanels) {
    left.add(value, b.left)
    right.add(value, b.right)
  }

  @inline(__always)
  func store(_ c: M) {
    left.store(c)
    right.store(c + panelColumns)
  }
}

/// Sums of some rows, kept in registers.
protocol RegisterTile {
  associatedtype Row: TileRow
  static var rows: Int { get }
  /// Every row starts with the same values.
  init(startingWith row: Row)
  /// Every row starts with what c holds.
  init(loading c: M, _ cStride: Int)
  /// Adds the elements of `step` of the rows from `first` on, each times a row of the panels.
  mutating func add(_ a: some LeftRows, _ first: Int, _ step: Int, _ b: Row)
  func store(_ c: M, _ cStride: Int)
}

struct OneRow<Row: TileRow>: RegisterTile {
  private var sums: Row

  @inline(__always)
  static var rows: Int { 1 }

  @inline(__always)
  init(startingWith row: Row) { sums = row }

  @inline(__always)
  init(loading c: M, _ cStride: Int) { sums = Row(P(c)) }

  @inline(__always)
  mutating func add(_ a: some LeftRows, _ first: Int, _ step: Int, _ b: Row) {
    sums.add(Lanes(repeating: a.value(first, step)), b)
  }

  @inline(__always)
  func store(_ c: M, _ cStride: Int) { sums.store(c) }
}

struct Stack<Top: RegisterTile, Bottom: RegisterTile>: RegisterTile where Top.Row == Bottom.Row {
  typealias Row = Top.Row
  private var top: Top
  private var bottom: Bottom

  @inline(__always)
  static var rows: Int { Top.rows + Bottom.rows }

  @inline(__always)
  init(startingWith row: Row) {
    top = Top(startingWith: row)
    bottom = Bottom(startingWith: row)
  }

  @inline(__always)
  init(loading c: M, _ cStride: Int) {
    top = Top(loading: c, cStride)
    bottom = Bottom(loading: c + Top.rows * cStride, cStride)
  }

  @inline(__always)
  mutating func add(_ a: some LeftRows, _ first: Int, _ step: Int, _ b: Row) {
    top.add(a, first, step, b)
    bottom.add(a, first + Top.rows, step, b)
  }

  @inline(__always)
  func store(_ c: M, _ cStride: Int) {
    top.store(c, cStride)
    bottom.store(c + Top.rows * cStride, cStride)
  }
}

typealias TwoRows<Row: TileRow> = Stack<OneRow<Row>, OneRow<Row>>
typealias ThreeRows<Row: TileRow> = Stack<TwoRows<Row>, OneRow<Row>>
typealias FourRows<Row: TileRow> = Stack<TwoRows<Row>, TwoRows<Row>>
typealias FiveRows<Row: TileRow> = Stack<FourRows<Row>, OneRow<Row>>
typealias SixRows<Row: TileRow> = Stack<FourRows<Row>, TwoRows<Row>>
typealias SevenRows<Row: TileRow> = Stack<FourRows<Row>, ThreeRows<Row>>
typealias EightRows<Row: TileRow> = Stack<FourRows<Row>, FourRows<Row>>

/// What the sums of a tile start from.
enum Start {
  case zero
  /// The same values for every row.
  case values(P)
  /// What c holds.
  case stored
}

/// c[r, j] = start + Σ_k a[r, k]·b[k·bStep + j] for all columns j of one panel or of two, k ascending.
struct PanelProduct {
  var inner: Int
  var b: P
  var bStep: Int
  /// Floats from the panel to the one beside it, for a tile of two.
  var second: Int?
  var start: Start

  /// Columns of c.
  var columns: Int { second == nil ? panelColumns : 2 * panelColumns }
  /// Rows of c, at most.
  var rowLimit: Int { second == nil ? narrowTileRows : tileRows }

  /// Steps from where a tile multiplies to the weights that it asks for by itself.
  private var nearSteps: Int { bStep == panelColumns ? 2048 / columns : 16 }

  func requestSteps<Rows: LeftRows>(_: Rows.Type) -> Int { second == nil ? Rows.requestSteps : 2 }

  /// One step; what is apart by a constant is passed as one.
  @inline(__always)
  private func add<Tile: RegisterTile>(
    _ tile: inout Tile, _ a: some LeftRows, _ step: Int, _ panel: P, _ bStep: Int, _ second: Int
  ) {
    tile.add(a, 0, step, Tile.Row(panel + step &* bStep, second: second))
  }

  /// All steps, and the requests between them.
  @inline(__always)
  private func add<Tile: RegisterTile, Rows: LeftRows>(
    _ tile: inout Tile, _ a: inout Rows, _ requests: Requests, _ bStep: Int, _ second: Int
  ) {
    var panel = b
    var left = inner
    if requests.isNear {
      var near = nearSteps &* bStep
      // Behind a packed panel lies the one beside it, which this tile reads itself.
      var untilNext = Tile.Row.panels == 2 && bStep == panelColumns ? inner &- nearSteps : inner
      while left > 0 {
        if untilNext == 0 { near &+= second }
        untilNext &-= 1
        prefetchNear(panel + near)
        if Tile.Row.panels == 2 { prefetchNear(panel + near + second) }
        add(&tile, a, 0, panel, bStep, second)
        a.advance(1)
        panel += bStep
        left &-= 1
      }
      return
    }
    let requestSteps = Tile.Row.panels == 2 ? 2 : Rows.requestSteps
    var request = requests.list
    while left >= 4 {
      dynamoe_prefetch(request[0])
      dynamoe_prefetch(request[0] + 16)
      add(&tile, a, 0, panel, bStep, second)
      add(&tile, a, 1, panel, bStep, second)
      if requestSteps == 2 {
        dynamoe_prefetch(request[1])
        dynamoe_prefetch(request[1] + 16)
      }
      add(&tile, a, 2, panel, bStep, second)
      add(&tile, a, 3, panel, bStep, second)
      a.advance(4)
      panel += 4 &* bStep
      left &-= 4
      request += 4 / requestSteps
    }
    while left > 0 {
      add(&tile, a, 0, panel, bStep, second)
      a.advance(1)
      panel += bStep
      left &-= 1
    }
  }

  /// A row of a panel.
  @inline(__always)
  private func prefetchNear(_ row: P) {
    dynamoe_prefetch_near(row)
    if panelColumns > 16 { dynamoe_prefetch_near(row + 16) }
  }

  @inline(__always)
  private func run<Tile: RegisterTile>(
    _: Tile.Type, _ left: Left, _ c: M, _ cStride: Int, _ requests: Requests
  ) {
    var tile: Tile
    switch start {
    case .zero: tile = Tile(startingWith: .zero)
    case .values(let values): tile = Tile(startingWith: Tile.Row(values))
    case .stored: tile = Tile(loading: c, cStride)
    }
    let width = Tile.Row.panels &* panelColumns
    switch left {
    case .columns(let p, let stride):
      var rows = AdjacentRows(p, stride: stride)
      add(&tile, &rows, requests, width, panelColumns)
    case .rows(let pointers):
      var rows = SeparateRows(pointers)
      if bStep == panelColumns {
        add(&tile, &rows, requests, panelColumns, second ?? 0)
      } else if bStep == width {
        add(&tile, &rows, requests, width, panelColumns)
      } else {
        add(&tile, &rows, requests, bStep, panelColumns)
      }
    }
    tile.store(c, cStride)
  }

  /// `count` in 1 ... rowLimit. Of two panels that are packed one behind the other `bStep` is `panelColumns`; else their rows
  /// are side by side, `second` is `panelColumns`. With `columns` of a, b is a copy in which row follows row.
  @inline(never)
  func run(_ count: Int, _ rows: Left, _ c: M, _ cStride: Int, _ requests: Requests) {
    #if LEVEL_V4
      if second == nil {
        switch count {
        case 7: run(SevenRows<OnePanel>.self, rows, c, cStride, requests)
        case 8: run(EightRows<OnePanel>.self, rows, c, cStride, requests)
        default: run(OnePanel.self, count, rows, c, cStride, requests)
        }
      } else {
        run(TwoPanels.self, count, rows, c, cStride, requests)
      }
    #else
      run(OnePanel.self, count, rows, c, cStride, requests)
    #endif
  }

  @inline(__always)
  private func run<Row: TileRow>(
    _: Row.Type, _ count: Int, _ rows: Left, _ c: M, _ cStride: Int, _ requests: Requests
  ) {
    switch count {
    case 1: run(OneRow<Row>.self, rows, c, cStride, requests)
    case 2: run(TwoRows<Row>.self, rows, c, cStride, requests)
    case 3: run(ThreeRows<Row>.self, rows, c, cStride, requests)
    #if LEVEL_BASELINE
      default: run(FourRows<Row>.self, rows, c, cStride, requests)
    #else
      case 4: run(FourRows<Row>.self, rows, c, cStride, requests)
      case 5: run(FiveRows<Row>.self, rows, c, cStride, requests)
      default: run(SixRows<Row>.self, rows, c, cStride, requests)
    #endif
    }
  }
}
