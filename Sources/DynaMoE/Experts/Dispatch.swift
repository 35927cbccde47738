import DynaMoEKernels

/// The (row, expert) pairs of one forward, sorted by expert and within an expert by row.
///
/// Counting sort of the mask: `offsets [N + 1]` bound each expert's pairs, `rowOfPair [P]` gathers
/// rows, and `pairs(of row)` lists a row's pairs in the order of their experts, which fixes the
/// order of every sum.
struct Dispatch: ~Copyable {
  private(set) var rows = 0
  private(set) var experts = 0
  private var offsetStore = Buffer<Int32>()
  private var rowOfPairStore = Buffer<Int32>()
  private var firstOfRowStore = Buffer<Int32>()
  private var pairOfRowStore = Buffer<Int32>()
  private var expertOfRowStore = Buffer<Int32>()
  private var cursor = Buffer<Int32>()

  init() {}

  /// Number of pairs P.
  var pairs: Int { experts == 0 ? 0 : Int(offsetStore.base[experts]) }
  var offsets: UnsafePointer<Int32> { UnsafePointer(offsetStore.base) }
  /// Pairs `firstOfRow[t] ..< firstOfRow[t + 1]` in `pairOfRow` and `expertOfRow` belong to row t.
  var firstOfRow: UnsafePointer<Int32> { UnsafePointer(firstOfRowStore.base) }
  var pairOfRow: UnsafePointer<Int32> { UnsafePointer(pairOfRowStore.base) }
  var rowOfPair: UnsafePointer<Int32> { UnsafePointer(rowOfPairStore.base) }
  var expertOfRow: UnsafePointer<Int32> { UnsafePointer(expertOfRowStore.base) }

  /// The pairs as groups of gathered rows.
  var gathered: RowGroups {
    RowGroups(count: experts, offsets: offsets, gather: UnsafePointer(rowOfPairStore.base))
  }
  /// The pairs as groups of rows that already lie in pair order.
  var sorted: RowGroups { RowGroups(count: experts, offsets: offsets, gather: nil) }

  /// Sorts the pairs of `active [rows, experts]`.
  mutating func build(
    active: UnsafePointer<UInt8>, rows: Int, experts: Int, mostActive: Int
  ) throws(AllocationError) {
    self.rows = rows
    self.experts = experts
    try offsetStore.reserve(experts + 1)
    try cursor.reserve(experts)
    try firstOfRowStore.reserve(rows + 1)
    let capacity = rows * min(experts, mostActive)
    try rowOfPairStore.reserve(capacity)
    try pairOfRowStore.reserve(capacity)
    try expertOfRowStore.reserve(capacity)

    let offsets = offsetStore.base
    let cursor = cursor.base
    let first = firstOfRowStore.base
    let expertOfRow = expertOfRowStore.base
    cursor.update(repeating: 0, count: experts)
    var pair = 0
    for row in 0..<rows {
      first[row] = Int32(truncatingIfNeeded: pair)
      let mask = active + row * experts
      for expert in 0..<experts where mask[expert] != 0 {
        expertOfRow[pair] = Int32(truncatingIfNeeded: expert)
        cursor[expert] &+= 1
        pair &+= 1
      }
    }
    first[rows] = Int32(truncatingIfNeeded: pair)
    var total: Int32 = 0
    for expert in 0..<experts {
      offsets[expert] = total
      total &+= cursor[expert]
      cursor[expert] = offsets[expert]
    }
    offsets[experts] = total

    let rowOfPair = rowOfPairStore.base
    let pairOfRow = pairOfRowStore.base
    for row in 0..<rows {
      for index in Int(first[row])..<Int(first[row + 1]) {
        let expert = Int(expertOfRow[index])
        let position = cursor[expert]
        cursor[expert] = position &+ 1
        pairOfRow[index] = position
        rowOfPair[Int(position)] = Int32(truncatingIfNeeded: row)
      }
    }
  }

  /// Every row once for each of `experts` experts: the pairs of shared experts.
  mutating func buildAll(rows: Int, experts: Int) throws(AllocationError) {
    guard rows != self.rows || experts != self.experts else { return }
    self.rows = 0
    try offsetStore.reserve(experts + 1)
    try rowOfPairStore.reserve(rows * experts)
    for expert in 0...experts {
      offsetStore.base[expert] = Int32(truncatingIfNeeded: expert * rows)
    }
    for expert in 0..<experts {
      for row in 0..<rows {
        rowOfPairStore.base[expert * rows + row] = Int32(truncatingIfNeeded: row)
      }
    }
    self.rows = rows
    self.experts = experts
  }
}

extension Buffer where Element == Float {
  /// Room for the activations of `pairs` pairs of `stride` elements. Pairs vary from batch to batch
  /// at equal rows, so up to one gibibyte the room is for the most pairs these rows can have
  /// (untouched pages cost no memory), beyond that a quarter more than needed.
  mutating func reservePairs(
    _ pairs: Int, most: Int, stride: Int
  ) throws(AllocationError) {
    guard pairs * stride > capacity || capacity == 0 else { return }
    let (worst, overflow) = most.multipliedReportingOverflow(by: stride)
    if !overflow && worst <= 1 << 28, (try? reserve(worst)) != nil { return }
    try reserve(min(most, pairs + pairs / 4) * stride)
  }
}
