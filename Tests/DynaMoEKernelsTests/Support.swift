@testable import DynaMoEKernels

/// Small seeded generator (xorshift64*, Vigna, arXiv 1402.6246), so that every run sees the same
/// numbers.
struct SeededNumbers {
  private var state: UInt64

  init(_ seed: UInt64) {
    state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
  }

  mutating func next() -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return state &* 0x2545_f491_4f6c_dd1d
  }

  /// Uniform in -1 ..< 1.
  mutating func float() -> Float {
    Float(next() >> 40) / Float(1 << 23) - 1
  }

  mutating func floats(_ count: Int) -> [Float] {
    (0..<count).map { _ in float() }
  }

  mutating func below(_ limit: Int) -> Int {
    Int(next() % UInt64(limit))
  }
}

/// Whether this machine has the level; says so if not.
func available(_ level: String) -> Bool {
  do {
    _ = try Backend.select(level)
    return true
  } catch {
    print("not tested here: \(error)")
    return false
  }
}

/// Tuned levels that this processor has.
let availableLevels: [String] = ["v4", "v3", "baseline"].filter(available)

/// A grouped problem with its gather, in arrays.
struct GroupedProblem {
  var sizes: [Int]
  var offsets: [Int32]
  var gather: [Int32]
  var sourceRows: Int

  init(_ sizes: [Int], seed: UInt64 = 1) {
    self.sizes = sizes
    offsets = [0]
    for size in sizes { offsets.append(offsets.last! + Int32(size)) }
    let rows = Int(offsets.last!)
    sourceRows = max(1, rows)
    var numbers = SeededNumbers(seed)
    gather = []
    for _ in 0..<rows { gather.append(Int32(numbers.below(max(1, rows)))) }
  }

  var rows: Int { Int(offsets.last!) }
  var count: Int { sizes.count }

  func group(of row: Int) -> Int {
    var group = 0
    while row >= Int(offsets[group + 1]) { group += 1 }
    return group
  }

  func withGroups<R>(gathered: Bool, _ body: (RowGroups) -> R) -> R {
    offsets.withUnsafeBufferPointer { offsets in
      gather.withUnsafeBufferPointer { gather in
        body(
          RowGroups(
            count: count, offsets: offsets.baseAddress!,
            gather: gathered && gather.count > 0 ? gather.baseAddress! : nil))
      }
    }
  }
}

/// Largest difference divided by what rounding of a sum of `terms` products of numbers below 1 may
/// cost.
func worstError(_ a: [Float], _ b: [Double], terms: Int) -> Double {
  precondition(a.count == b.count)
  let allowed = 1e-6 * (1 + Double(terms).squareRoot())
  var worst = 0.0
  for (x, y) in zip(a, b) {
    guard x.isFinite else { return .infinity }
    worst = max(worst, abs(Double(x) - y) / (allowed * (1 + abs(y))))
  }
  return worst
}

func bits(_ x: [Float]) -> [UInt32] { x.map(\.bitPattern) }
