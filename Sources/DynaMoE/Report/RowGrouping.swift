#if canImport(Glibc)
  import Glibc
#else
  import Musl
#endif

/// Which rows a report looks at together: those of a class, of a token, or with targets in the same
/// range.
struct RowGrouping {
  enum Kind {
    case classes, tokens, ranges
  }

  /// The most groups that are shown; of more, those with the most rows.
  static let mostShown = 40
  /// Ranges that the values of a regression are divided into, with about as many rows each.
  static let rangeCount = 5

  let kind: Kind
  let labels: [String]
  /// Rows of each group.
  let rows: [Int]
  /// Groups with rows that are not shown.
  let omitted: Int
  /// The group of each row, -1: none that is shown.
  let groupOfRow: [Int32]

  /// Groups rows by a number 0 ..< `count`; other numbers belong to no group.
  ///
  /// All numbers are shown, also those without rows, when there is room for them.
  init(kind: Kind, numbers: UnsafeBufferPointer<Int32>, count: Int, name: (Int) -> String) {
    var frequency = [Int](repeating: 0, count: count)
    for number in numbers where number >= 0 && Int(number) < count { frequency[Int(number)] += 1 }
    var shown: [Int]
    if count <= Self.mostShown {
      shown = Array(0..<count)
    } else {
      shown = (0..<count).filter { frequency[$0] > 0 }
      shown.sort { (frequency[$1], $0) < (frequency[$0], $1) }
      shown = Array(shown.prefix(Self.mostShown))
    }
    var groups = [Int32](repeating: -1, count: count)
    for (group, number) in shown.enumerated() { groups[number] = Int32(group) }
    self.kind = kind
    labels = shown.map(name)
    rows = shown.map { frequency[$0] }
    omitted = frequency.count { $0 > 0 } - rows.count { $0 > 0 }
    groupOfRow = numbers.map { $0 >= 0 && Int($0) < count ? groups[Int($0)] : -1 }
  }

  /// Groups rows by the range that the only value of each lies in.
  init(values: UnsafeBufferPointer<Float>) {
    let sorted = values.sorted()
    var bounds: [Float] = []
    for part in 1..<Self.rangeCount {
      let bound = sorted[part * sorted.count / Self.rangeCount]
      if bound > sorted[0] && bound != bounds.last { bounds.append(bound) }
    }
    let lowest = [sorted[0]] + bounds
    let highest = bounds + [sorted[sorted.count - 1]]
    let groupOfRow = values.map { value in
      Int32(bounds.firstIndex { value < $0 } ?? bounds.count)
    }
    var rows = [Int](repeating: 0, count: lowest.count)
    for group in groupOfRow { rows[Int(group)] += 1 }
    kind = .ranges
    labels = lowest.indices.map {
      "\(significant(Double(lowest[$0]))) to \(significant(Double(highest[$0])))"
    }
    self.rows = rows
    omitted = 0
    self.groupOfRow = groupOfRow
  }
}

/// What a report counts besides the routing statistics, while its rows are evaluated.
final class ReportCounts {
  /// Bins of the entropy between 0 and ln N.
  static let entropyBins = 16
  /// The most columns for K; of more experts several K share one.
  static let mostColumns = 64

  let groupings: [RowGrouping]
  private(set) var layers: [LayerCounts]
  /// Rows of each group whose largest logit is the target's.
  private(set) var hits: [[Int]]

  struct LayerCounts {
    let experts: Int
    /// Rows by K and entropy, [columns of K, entropyBins].
    var rowsByEntropy: [Int]
    /// Of each grouping, rows by group and expert, [groups, N].
    var expertRows: [[Int]]

    var columns: Int { min(experts, ReportCounts.mostColumns) + 1 }

    func column(ofActive k: Int) -> Int {
      experts <= ReportCounts.mostColumns ? k : k * ReportCounts.mostColumns / experts
    }
  }

  init(experts: [Int], groupings: [RowGrouping]) {
    self.groupings = groupings
    hits = groupings.map { [Int](repeating: 0, count: $0.labels.count) }
    layers = experts.map { experts in
      LayerCounts(
        experts: experts,
        rowsByEntropy: Array(
          repeating: 0, count: (min(experts, Self.mostColumns) + 1) * Self.entropyBins),
        expertRows: groupings.map { Array(repeating: 0, count: $0.labels.count * experts) })
    }
  }

  /// Counts rows `first ..< first + pass.dispatch.rows` in one layer.
  func add(layer: Int, first: Int, _ pass: LayerPass) {
    let dispatch = pass.dispatch.firstOfRow
    let expertOfRow = pass.dispatch.expertOfRow
    let most = log(Double(max(2, layers[layer].experts)))
    let n = layers[layer].experts
    for row in 0..<pass.dispatch.rows {
      let pairs = Int(dispatch[row])..<Int(dispatch[row + 1])
      let share = pass.routing.entropy.base[row] / most
      let bin = min(max(Int(share * Double(Self.entropyBins)), 0), Self.entropyBins - 1)
      let column = layers[layer].column(ofActive: pairs.count)
      layers[layer].rowsByEntropy[column * Self.entropyBins + bin] += 1
      for index in groupings.indices {
        let group = Int(groupings[index].groupOfRow[first + row])
        guard group >= 0 else { continue }
        for pair in pairs {
          layers[layer].expertRows[index][group * n + Int(expertOfRow[pair])] += 1
        }
      }
    }
  }

  /// Counts the losses of rows `first ..< first + count`.
  func add(first: Int, count: Int, _ losses: UnsafePointer<RowLoss>) {
    for index in groupings.indices {
      for row in 0..<count where losses[row].isHit {
        let group = Int(groupings[index].groupOfRow[first + row])
        if group >= 0 { hits[index][group] += 1 }
      }
    }
  }
}
