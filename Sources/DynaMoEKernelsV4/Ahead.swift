// What is asked for while products are computed, because it is used soon.
//
// A request between multiply-adds costs next to nothing. The same requests one behind the other stop them: a processor keeps
// track of a dozen or two, and waits with all that follows.

import CDynaMoEPlatform

/// Floats of two lines of the cache, which are asked for together.
private let pairFloats = 32

@inline(__always)
private func pairs(_ floats: Int) -> Int { (floats &+ (pairFloats - 1)) / pairFloats }

/// The requests of one register tile, two lines each.
struct Requests {
  /// One for every so many steps as `Ahead.begin` was told.
  var list: UnsafePointer<P>
  /// Instead of the list the tile asks for its own weights, some steps ahead.
  var isNear = false
}

/// Rows of memory that are asked for in equal parts during some register tiles.
struct Spread {
  private let regions: UnsafePointer<dynamoe_rows>
  private let count: Int
  private var region = 0
  private var row = 0
  /// What is next, and how much of its row is left.
  private var start: P
  private var rowPairs = 0
  private var pairsLeft = 0
  /// Register tiles that are to come.
  private var tilesLeft: Int

  init(_ regions: UnsafePointer<dynamoe_rows>, _ count: Int, tiles: Int, _ layout: ScratchLayout) {
    self.regions = regions
    self.count = count
    tilesLeft = tiles
    start = P(layout.edge)
    for index in 0..<count {
      let region = regions[index]
      if region.columns > 0 { pairsLeft &+= region.rows &* pairs(region.columns) }
    }
    beginRow()
  }

  /// The row `row` of the region, or the first of the next regions.
  private mutating func beginRow() {
    while region < count {
      let next = regions[region]
      if row < next.rows, next.columns > 0 {
        let index = if let gather = next.gather { Int(gather[row]) } else { row }
        start = next.start + index &* next.stride
        rowPairs = pairs(next.columns)
        return
      }
      region &+= 1
      row = 0
    }
    pairsLeft = 0
  }

  @inline(__always)
  fileprivate mutating func addShare(to ahead: inout Ahead) {
    guard pairsLeft > 0 else { return }
    var share = tilesLeft > 1 ? (pairsLeft &+ tilesLeft &- 1) / tilesLeft : pairsLeft
    tilesLeft &-= 1
    pairsLeft &-= share
    while share > 0 {
      let taken = min(share, rowPairs)
      ahead.add(start, pairs: taken)
      share &-= taken
      rowPairs &-= taken
      start += taken &* pairFloats
      if rowPairs == 0 {
        row &+= 1
        beginRow()
        if rowPairs == 0 { return }
      }
    }
  }
}

/// Collects the requests of one register tile after the other.
struct Ahead {
  /// Requests of a tile, at most.
  static let limit = 512

  private let list: UnsafeMutablePointer<P>
  private let nothing: P
  /// Of the next tile.
  private var slots = 0
  private var count = 0

  init(_ layout: ScratchLayout) {
    list = layout.requests
    nothing = P(layout.edge)
  }

  /// Begins a register tile of `steps`, with a request every `requestSteps` of them, 2 or 4.
  @inline(__always)
  mutating func begin(_ steps: Int, requestSteps: Int) {
    slots = min(steps / 4 &* (4 / requestSteps), Self.limit)
    count = 0
  }

  /// Adds `floats` from `start` on; what is too much for the tile is left out.
  @inline(__always)
  mutating func add(_ start: P, _ floats: Int) { add(start, pairs: pairs(floats)) }

  @inline(__always)
  mutating func add(_ start: P, pairs: Int) {
    let end = min(count &+ pairs, slots)
    var (next, index) = (start, count)
    while index < end {
      list[index] = next
      next += pairFloats
      index &+= 1
    }
    count = max(count, end)
  }

  /// Adds part `index` of `parts` of `floats` from `start` on.
  @inline(__always)
  mutating func add(part index: Int, of parts: Int, _ start: P, _ floats: Int) {
    let all = pairs(floats)
    let (first, end) = (all &* index / parts, all &* (index &+ 1) / parts)
    add(start + first &* pairFloats, pairs: end &- first)
  }

  /// Adds the share of the next register tile.
  @inline(__always)
  mutating func add(_ spread: inout Spread) { spread.addShare(to: &self) }

  /// The requests of the tile; where there are none left, a line that is there.
  @inline(__always)
  mutating func requests() -> Requests {
    while count < slots {
      list[count] = nothing
      count &+= 1
    }
    return Requests(list: list)
  }
}
