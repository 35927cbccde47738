// Products in registers: up to `tileRows` rows of a times one panel of `panelColumns` columns.

import CDynaMoEPlatform

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

/// Where the rows of a are.
protocol LeftRows {
  /// Steps from one request to the next, 2 or 4.
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

/// Sums of some rows and one panel, kept in registers.
protocol RegisterTile {
  static var rows: Int { get }
  /// Every row starts with the same values.
  init(startingWith s0: Lanes, _ s1: Lanes)
  /// Every row starts with what c holds.
  init(loading c: M, _ cStride: Int)
  /// Adds the elements of `step` of the rows from `first` on, each times a row of the panel.
  mutating func add(_ a: some LeftRows, _ first: Int, _ step: Int, _ b0: Lanes, _ b1: Lanes)
  func store(_ c: M, _ cStride: Int)
}

struct OneRow: RegisterTile {
  var s0: Lanes
  var s1: Lanes

  static var rows: Int { 1 }

  @inline(__always)
  init(startingWith s0: Lanes, _ s1: Lanes) {
    self.s0 = s0
    self.s1 = s1
  }

  @inline(__always)
  init(loading c: M, _ cStride: Int) {
    s0 = loadLanes(c)
    s1 = loadLanes(c + Lanes.scalarCount)
  }

  @inline(__always)
  mutating func add(_ a: some LeftRows, _ first: Int, _ step: Int, _ b0: Lanes, _ b1: Lanes) {
    let value = Lanes(repeating: a.value(first, step))
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
  init(startingWith s0: Lanes, _ s1: Lanes) {
    top = Top(startingWith: s0, s1)
    bottom = Bottom(startingWith: s0, s1)
  }

  @inline(__always)
  init(loading c: M, _ cStride: Int) {
    top = Top(loading: c, cStride)
    bottom = Bottom(loading: c + Top.rows * cStride, cStride)
  }

  @inline(__always)
  mutating func add(_ a: some LeftRows, _ first: Int, _ step: Int, _ b0: Lanes, _ b1: Lanes) {
    top.add(a, first, step, b0, b1)
    bottom.add(a, first + Top.rows, step, b0, b1)
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

/// c[r, j] = start + Σ_k a[r, k]·b[k·bStep + j] for a whole panel of columns j, k ascending.
struct PanelProduct {
  var inner: Int
  var b: P
  var bStep: Int
  var start: Start

  /// Steps from where a tile multiplies to the weights that it asks for by itself.
  private var nearSteps: Int { bStep == panelColumns ? 2048 / panelColumns : 16 }

  /// One step; `bStep` is a constant where the panel is packed.
  @inline(__always)
  private func add<Tile: RegisterTile>(
    _ tile: inout Tile, _ a: some LeftRows, _ step: Int, _ panel: P, _ bStep: Int
  ) {
    let row = panel + step &* bStep
    tile.add(a, 0, step, loadLanes(row), loadLanes(row + Lanes.scalarCount))
  }

  /// All steps, and the requests between them.
  @inline(__always)
  private func add<Tile: RegisterTile, Rows: LeftRows>(
    _ tile: inout Tile, _ a: inout Rows, _ requests: Requests, _ bStep: Int
  ) {
    var panel = b
    var left = inner
    if requests.isNear {
      let near = nearSteps &* bStep
      while left > 0 {
        dynamoe_prefetch_near(panel + near)
        if panelColumns > 16 { dynamoe_prefetch_near(panel + near + 16) }
        add(&tile, a, 0, panel, bStep)
        a.advance(1)
        panel += bStep
        left &-= 1
      }
      return
    }
    var request = requests.list
    while left >= 4 {
      dynamoe_prefetch(request[0])
      dynamoe_prefetch(request[0] + 16)
      add(&tile, a, 0, panel, bStep)
      add(&tile, a, 1, panel, bStep)
      if Rows.requestSteps == 2 {
        dynamoe_prefetch(request[1])
        dynamoe_prefetch(request[1] + 16)
      }
      add(&tile, a, 2, panel, bStep)
      add(&tile, a, 3, panel, bStep)
      a.advance(4)
      panel += 4 &* bStep
      left &-= 4
      request += 4 / Rows.requestSteps
    }
    while left > 0 {
      add(&tile, a, 0, panel, bStep)
      a.advance(1)
      panel += bStep
      left &-= 1
    }
  }

  @inline(__always)
  private func run<Tile: RegisterTile>(
    _: Tile.Type, _ left: Left, _ c: M, _ cStride: Int, _ requests: Requests
  ) {
    var tile: Tile
    switch start {
    case .zero: tile = Tile(startingWith: .zero, .zero)
    case .values(let values):
      tile = Tile(startingWith: loadLanes(values), loadLanes(values + Lanes.scalarCount))
    case .stored: tile = Tile(loading: c, cStride)
    }
    switch left {
    case .columns(let p, let stride):
      var rows = AdjacentRows(p, stride: stride)
      add(&tile, &rows, requests, panelColumns)
    case .rows(let pointers):
      var rows = SeparateRows(pointers)
      if bStep == panelColumns {
        add(&tile, &rows, requests, panelColumns)
      } else {
        add(&tile, &rows, requests, bStep)
      }
    }
    tile.store(c, cStride)
  }

  /// `count` in 1 ... tileRows.
  @inline(never)
  func run(_ count: Int, _ rows: Left, _ c: M, _ cStride: Int, _ requests: Requests) {
    switch count {
    case 1: run(OneRow.self, rows, c, cStride, requests)
    case 2: run(TwoRows.self, rows, c, cStride, requests)
    case 3: run(ThreeRows.self, rows, c, cStride, requests)
    #if LEVEL_BASELINE
      default: run(FourRows.self, rows, c, cStride, requests)
    #else
      case 4: run(FourRows.self, rows, c, cStride, requests)
      case 5: run(FiveRows.self, rows, c, cStride, requests)
      #if LEVEL_V3
        default: run(SixRows.self, rows, c, cStride, requests)
      #else
        case 6: run(SixRows.self, rows, c, cStride, requests)
        case 7: run(SevenRows.self, rows, c, cStride, requests)
        default: run(EightRows.self, rows, c, cStride, requests)
      #endif
    #endif
    }
  }
}
