import DynaMoEKernels

/// The running counts behind `RoutingStatistics`: adding a forward allocates nothing.
struct RoutingCounters: ~Copyable {
  let experts: Int
  private(set) var rows = 0
  private(set) var limitedRows = 0
  private(set) var entropySum = 0.0
  private let histogramStore: Buffer<Int>
  private let weightStore: Buffer<Double>
  private let togetherStore: Buffer<Int>

  init(experts: Int) throws(AllocationError) {
    let histogram = try Buffer<Int>(zeroed: experts + 1)
    let weights = try Buffer<Double>(zeroed: experts)
    let together = try Buffer<Int>(zeroed: experts * experts)
    self.experts = experts
    histogramStore = histogram
    weightStore = weights
    togetherStore = together
  }

  var histogram: UnsafeMutablePointer<Int> { histogramStore.base }
  var weightSums: UnsafeMutablePointer<Double> { weightStore.base }
  /// [N, N], counted on and above the diagonal.
  var together: UnsafeMutablePointer<Int> { togetherStore.base }

  /// nil before any row.
  var meanActive: Double? {
    guard rows > 0 else { return nil }
    var pairs = 0
    for k in 0...experts { pairs += k * histogram[k] }
    return Double(pairs) / Double(rows)
  }

  /// Counts one forward: a sum over its pairs, in order of rows.
  mutating func add(
    _ dispatch: borrowing Dispatch, _ pass: borrowing RoutingPass, weights: UnsafePointer<Float>
  ) {
    let n = experts
    // As constants: the thread sanitizer of Swift 6.3 makes broken code of `histogram[k] += 1`.
    let histogram = histogram
    let weightSums = weightSums
    let first = dispatch.firstOfRow
    let expertOfRow = dispatch.expertOfRow
    for row in 0..<dispatch.rows {
      let start = Int(first[row])
      let end = Int(first[row + 1])
      histogram[end - start] += 1
      for index in start..<end {
        let expert = Int(expertOfRow[index])
        weightSums[expert] += Double(weights[row * n + expert])
        let partners = together + expert * n
        for other in index..<end { partners[Int(expertOfRow[other])] += 1 }
      }
      entropySum += pass.entropy.base[row]
      limitedRows += Int(pass.limited.base[row])
    }
    rows += dispatch.rows
  }

  /// Costs what `other` holds: pairs of experts that it never saw are passed over.
  mutating func add(_ other: borrowing RoutingCounters) {
    let histogram = histogram
    let weightSums = weightSums
    let together = together
    rows += other.rows
    limitedRows += other.limitedRows
    entropySum += other.entropySum
    for k in 0...experts { histogram[k] += other.histogram[k] }
    for e in 0..<experts { weightSums[e] += other.weightSums[e] }
    for a in 0..<experts where other.together[a * experts + a] > 0 {
      for b in a..<experts where other.together[b * experts + b] > 0 {
        together[a * experts + b] += other.together[a * experts + b]
      }
    }
  }

  mutating func reset() {
    rows = 0
    limitedRows = 0
    entropySum = 0
    histogram.update(repeating: 0, count: experts + 1)
    weightSums.update(repeating: 0, count: experts)
    for a in 0..<experts where together[a * experts + a] > 0 {
      (together + a * experts + a).update(repeating: 0, count: experts - a)
    }
  }
}
