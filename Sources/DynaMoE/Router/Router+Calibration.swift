import DynaMoEKernels

/// The clean selection scores v = s + bias of a calibration, [T, N], and the same values sorted.
struct SelectionScores: ~Copyable {
  let rows: Int
  let experts: Int
  private let store: Buffer<Float>
  private let sortedStore: Buffer<Float>

  init(rows: Int, experts: Int) throws(AllocationError) {
    let store = try Buffer<Float>(uninitialized: rows * experts)
    let sortedStore = try Buffer<Float>(uninitialized: rows * experts)
    self.rows = rows
    self.experts = experts
    self.store = store
    self.sortedStore = sortedStore
  }

  var values: UnsafePointer<Float> { UnsafePointer(store.base) }

  /// Scores of rows `first ..< first + count` from what the layer reads, x [count, D].
  func fill(
    _ x: UnsafePointer<Float>, first: Int = 0, rows count: Int, _ router: Router,
    _ pass: inout RoutingPass
  ) throws(AllocationError) {
    try router.reserve(&pass, rows: count)
    router.score(x, rows: count, &pass)
    let s = pass.scores.base
    let v = store.base + first * experts
    for row in 0..<count {
      for e in 0..<experts { v[row * experts + e] = s[row * experts + e] + (router.bias?[e] ?? 0) }
    }
  }

  /// All values in descending order.
  func sortAll() -> UnsafePointer<Float> {
    sortedStore.base.update(from: store.base, count: rows * experts)
    sortDescending(sortedStore.base, rows * experts)
    return UnsafePointer(sortedStore.base)
  }

  /// Each expert's values in descending order, [N, T].
  func sortColumns() -> UnsafePointer<Float> {
    for e in 0..<experts {
      let column = sortedStore.base + e * rows
      for row in 0..<rows { column[row] = store.base[row * experts + e] }
      sortDescending(column, rows)
    }
    return UnsafePointer(sortedStore.base)
  }
}

extension Router {
  /// Sets the stored thresholds so that the mean K over the scores is as near to `targetActive` as
  /// they allow.
  ///
  /// `threshold`: θ runs over the scores. `expert_threshold`: all experts take the same rank among
  /// their own scores, the first some of them one rank further. The mean K after `min_active` and
  /// `max_active` never falls along the way, so bisection finds the place.
  func calibrate(
    _ scores: borrowing SelectionScores, rows: Int, targetActive: Double
  ) throws(AllocationError) {
    let n = experts
    let thresholds = try Buffer<Float>(uninitialized: n)
    let sorted = settings.kind == .threshold ? scores.sortAll() : scores.sortColumns()
    /// The value that exactly the `count` largest of `values` exceed, but for ties.
    func threshold(_ values: UnsafePointer<Float>, _ total: Int, exceededBy count: Int) -> Float {
      count < total ? values[count] : values[total - 1].nextDown
    }
    func place(_ pairs: Int) {
      for e in 0..<n {
        thresholds.base[e] =
          settings.kind == .threshold
          ? threshold(sorted, rows * n, exceededBy: pairs)
          : threshold(
            sorted + e * rows, rows, exceededBy: pairs / n + (e < pairs % n ? 1 : 0))
      }
    }
    func meanActive(_ pairs: Int) -> Double {
      place(pairs)
      return mean(scores.values, rows: rows, above: thresholds.base)
    }
    var low = 0
    var high = rows * n
    while low < high {
      let middle = low + (high - low) / 2
      if meanActive(middle) >= targetActive { high = middle } else { low = middle + 1 }
    }
    if low > 0, targetActive - meanActive(low - 1) < meanActive(low) - targetActive { low -= 1 }
    place(low)
    guard let storedThresholds, let control else { return }
    let count = settings.kind == .threshold ? 1 : n
    storedThresholds.update(from: thresholds.base, count: count)
    control[2] = max(control[2], 1)
  }

  /// Mean K of rows that activate what exceeds its threshold, within `min_active` and `max_active`.
  private func mean(
    _ v: UnsafePointer<Float>, rows: Int, above thresholds: UnsafePointer<Float>
  ) -> Double {
    var pairs = 0
    for row in 0..<rows {
      var active = 0
      for e in 0..<experts where v[row * experts + e] > thresholds[e] { active += 1 }
      pairs += min(max(active, settings.minActive), settings.maxActive)
    }
    return Double(pairs) / Double(rows)
  }
}
