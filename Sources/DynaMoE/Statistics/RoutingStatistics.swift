/// How one layer routed, since the last reset. Every forward counts, evaluation too; all is 0
/// before any row.
///
/// N experts; K is the number of experts that a row activates. Variances are divided by n.
public struct RoutingStatistics: Equatable, Sendable {
  /// N.
  public var experts: Int
  /// Rows that were routed.
  public var rows: Int
  /// Rows with K = 0 … N, [N + 1].
  public var kHistogram: [Int]
  /// Mean of K over the rows.
  public var meanActive: Double
  /// Variance of K over the rows.
  public var varianceActive: Double
  /// Rows that used each expert, [N].
  public var expertRows: [Int]
  /// Mean gate weight of each expert over its rows, 0 without any, [N].
  public var meanWeight: [Double]
  /// Mean of -Σ s log s over the rows, nats.
  public var entropy: Double
  /// Share of the rows whose K was changed by `minActive` or `maxActive`.
  public var limitedShare: Double
  /// Experts that no row used.
  public var unused: Int
  /// Rows that used both of two experts, [N · N] row-major; the diagonal repeats `expertRows`.
  /// Empty when it was not asked for.
  public var coactivation: [Int]
  /// Largest over mean rows per expert, 0 before any pair.
  public var loadImbalance: Double
  /// Standard deviation over mean of the rows per expert, 0 before any pair.
  public var loadVariation: Double
  /// (tr C)²/tr C² of the covariance C of the rows that the layer reads (after the norm), between 1
  /// and D: over how many directions they spread; 0 if C = 0. Nil unless ``Measures/participation``
  /// is on.
  public var participation: Double?
}

extension RoutingStatistics {
  init(_ counters: borrowing RoutingCounters, participation: Double?, coactivation isWanted: Bool) {
    self.participation = participation
    let n = counters.experts
    experts = n
    rows = counters.rows
    let count = Double(max(counters.rows, 1))
    kHistogram = Array(UnsafeBufferPointer(start: counters.histogram, count: n + 1))
    meanActive = counters.meanActive ?? 0
    var variance = 0.0
    for (k, rows) in kHistogram.enumerated() {
      let difference = Double(k) - meanActive
      variance += Double(rows) * difference * difference
    }
    varianceActive = counters.rows > 0 ? variance / count : 0
    entropy = counters.entropySum / count
    limitedShare = Double(counters.limitedRows) / count
    coactivation = Array(repeating: 0, count: isWanted ? n * n : 0)
    if isWanted {
      for a in 0..<n {
        for b in a..<n {
          coactivation[a * n + b] = counters.together[a * n + b]
          coactivation[b * n + a] = counters.together[a * n + b]
        }
      }
    }
    let loads = (0..<n).map { counters.together[$0 * n + $0] }
    expertRows = loads
    meanWeight = (0..<n).map { loads[$0] > 0 ? counters.weightSums[$0] / Double(loads[$0]) : 0 }
    unused = loads.count { $0 == 0 }
    let mean = Double(loads.reduce(0, +)) / Double(n)
    guard mean > 0 else {
      loadImbalance = 0
      loadVariation = 0
      return
    }
    loadImbalance = Double(loads.max() ?? 0) / mean
    let squares = loads.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) }
    loadVariation = (squares / Double(n)).squareRoot() / mean
  }
}
