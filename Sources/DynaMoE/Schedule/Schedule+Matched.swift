extension Schedule {
  /// Counts in proportion to `heights` (all at least 1) that sum to `total` ≥ number of layers
  /// exactly, none below 1.
  ///
  /// Largest remainders: quota a = total·height/Σheight, count = max(1, ⌊a + 1e-9⌋); then 1 is
  /// added where a - count is largest, or taken where it is smallest among counts above 1, until
  /// the sum fits. Remainders within 1e-9 are ties and go to the lower layer.
  static func matched(_ heights: [Double], total: Int) -> [Int] {
    let sum = heights.reduce(0, +)
    let quotas = heights.map { Double(total) * $0 / sum }
    var counts = quotas.map { max(1, Int(($0 + 1e-9).rounded(.down))) }
    var difference = total - counts.reduce(0, +)
    while difference != 0 {
      let step = difference > 0 ? 1 : -1
      let candidates = counts.indices.filter { step > 0 || counts[$0] > 1 }
      // Within one pass no layer can come first twice: a step moves its remainder by a whole 1,
      // past all others.
      let order = inOrder(candidates, urgency: { Double(step) * (quotas[$0] - Double(counts[$0])) })
      for layer in order.prefix(abs(difference)) {
        counts[layer] += step
        difference -= step
      }
    }
    return counts
  }

  /// The candidates by falling urgency; at each place those within 1e-9 of the largest left are
  /// ties, to the lowest layer.
  private static func inOrder(_ candidates: [Int], urgency: (Int) -> Double) -> [Int] {
    let sorted = candidates.map { (layer: $0, urgency: urgency($0)) }
      .sorted { ($0.urgency, $1.layer) > ($1.urgency, $0.layer) }
    var result: [Int] = []
    result.reserveCapacity(sorted.count)
    var isTaken = [Bool](repeating: false, count: sorted.count)
    var first = 0
    var end = 0
    var ties = LowestFirst()
    while first < sorted.count {
      guard !isTaken[first] else {
        first += 1
        continue
      }
      while end < sorted.count, sorted[end].urgency >= sorted[first].urgency - 1e-9 {
        ties.insert((sorted[end].layer, end))
        end += 1
      }
      let next = ties.removeLowest()
      isTaken[next.place] = true
      result.append(next.layer)
    }
    return result
  }
}

/// A binary heap of layers, lowest first: ties stay cheap for any number of layers.
private struct LowestFirst {
  private var elements: [(layer: Int, place: Int)] = []

  mutating func insert(_ element: (layer: Int, place: Int)) {
    elements.append(element)
    var child = elements.count - 1
    while child > 0, elements[child].layer < elements[(child - 1) / 2].layer {
      elements.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  /// There is at least one element.
  mutating func removeLowest() -> (layer: Int, place: Int) {
    let lowest = elements[0]
    let last = elements.removeLast()
    guard !elements.isEmpty else { return lowest }
    elements[0] = last
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2]
      where child < elements.count && elements[child].layer < elements[least].layer {
        least = child
      }
      guard least != parent else { return lowest }
      elements.swapAt(parent, least)
      parent = least
    }
  }
}
