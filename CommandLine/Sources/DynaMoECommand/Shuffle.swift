/// Random orders that depend on nothing but the seed: SplitMix64 (Steele, Lea and Flood 2014).
struct Shuffle: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64, stream: UInt64) {
    state = seed &+ stream &* 0x9E37_79B9_7F4A_7C15
    for _ in 0..<4 { _ = next() }
  }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }

  /// Fisher–Yates; the order is fixed here, not by the standard library.
  mutating func order(_ values: [Int]) -> [Int] {
    var values = values
    for index in stride(from: values.count - 1, to: 0, by: -1) {
      let other = Int(next().multipliedFullWidth(by: UInt64(index + 1)).high)
      values.swapAt(index, other)
    }
    return values
  }
}

extension Table {
  /// Two parts, the second with about `share` of the rows of every class.
  func split(share: Double, seed: UInt64) -> (Table, Table) {
    var groups: [String: [Int]] = [:]
    for row in 0..<rows {
      if case .labels(let labels) = targets {
        groups[labels[row], default: []].append(row)
      } else {
        groups["", default: []].append(row)
      }
    }
    var shuffle = Shuffle(seed: seed, stream: 1)
    var first: [Int] = []
    var second: [Int] = []
    for name in groups.keys.sorted() {
      let group = shuffle.order(groups[name] ?? [])
      let count = Int((Double(group.count) * share).rounded())
      second += group[..<count]
      first += group[count...]
    }
    return (selecting(first.sorted()), selecting(second.sorted()))
  }
}
