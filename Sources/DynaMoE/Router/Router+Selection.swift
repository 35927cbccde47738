import DynaMoEKernels

#if canImport(Glibc)
  import Glibc
#else
  import Musl
#endif

/// Scores of a row whose sum is smaller are divided by this (gate `normalized`).
let leastScoreSum: Float = 1e-6

extension Router {
  /// u, v, the thresholds, then A and w of every row.
  func select(
    rows: Int, training: TrainingMoment?, _ pass: inout RoutingPass,
    active: UnsafeMutablePointer<UInt8>, weights: UnsafeMutablePointer<Float>
  ) {
    addNoise(rows: rows, training: training, &pass)
    addBias(rows: rows, &pass)
    setThresholds(rows: rows, training: training != nil, &pass)

    let s = UnsafePointer(pass.scores.base)
    let z = UnsafePointer(pass.logits.base)
    let u = UnsafePointer(noisyScores(pass))
    let v = UnsafePointer(selectionScores(pass))
    let ranked: UnsafePointer<Float> =
      switch settings.kind {
      case .relu: z
      case .topAny: s
      default: v
      }
    let limited = pass.limited.base
    let thresholds = UnsafePointer(pass.thresholds.base)
    let order = pass.order.base
    let scratch = pass.scratch.base
    let n = experts
    backend.pool.forRanges(rows, grain: 64) { range in
      for row in range {
        let offset = row * n
        var choice = RowChoice(
          count: n, scores: ranked + offset, active: active + offset, order: order + offset)
        self.chooseFreely(
          &choice, clean: s + offset, thresholds: thresholds, scratch: scratch + offset)
        limited[row] =
          choice.limit(least: self.settings.minActive, most: self.settings.maxActive) ? 1 : 0
        self.weigh(
          choice, u: u + offset, z: z + offset, into: weights + offset)
      }
    }
  }

  private func addNoise(rows: Int, training: TrainingMoment?, _ pass: inout RoutingPass) {
    pass.hasNoise = training != nil && settings.noise > 0
    guard pass.hasNoise, let training else { return }
    let noise = RoutingNoise(
      seed: training.seed, step: UInt64(training.step), layer: layer)
    let s = pass.scores.base
    let u = pass.noisy.base
    let n = experts
    let deviation = Float(settings.noise)
    backend.pool.forRanges(rows, grain: 16) { range in
      for row in range {
        let uRow = u + row * n
        noise.fill(row: row, experts: n, into: uRow)
        for expert in 0..<n { uRow[expert] = s[row * n + expert] + deviation * uRow[expert] }
      }
    }
  }

  private func addBias(rows: Int, _ pass: inout RoutingPass) {
    pass.hasBias = bias != nil
    guard let bias else { return }
    let u = noisyScores(pass)
    let v = pass.selection.base
    let n = experts
    backend.pool.forRanges(rows, grain: 256) { range in
      for row in range {
        for expert in 0..<n { v[row * n + expert] = u[row * n + expert] + bias[expert] }
      }
    }
  }

  /// The free choice of the kind, before `min_active` and `max_active`.
  private func chooseFreely(
    _ choice: inout RowChoice, clean: UnsafePointer<Float>, thresholds: UnsafePointer<Double>,
    scratch: UnsafeMutablePointer<Float>
  ) {
    let n = experts
    let scores = choice.scores
    switch settings.kind {
    case .percentile:
      let threshold = quantile(scores, n, settings.percentile, scratch: scratch)
      choice.activate { Double(scores[$0]) > threshold }
    case .threshold, .expertThreshold, .topAny:
      choice.activate { Double(scores[$0]) > thresholds[$0] }
    case .relu:
      choice.activate { scores[$0] > 0 }
    case .dense:
      choice.activate { _ in true }
    case .topK:
      choice.activateBest(settings.k)
    case .topP:
      let p = currentP
      choice.activatePrefix(of: clean, reaching: p)
    }
  }

  /// p of top_p: the controller's, when there is one.
  var currentP: Double {
    settings.targetActive != nil ? control.map { Double($0[0]) } ?? settings.p : settings.p
  }

  /// w on A, zero elsewhere.
  private func weigh(
    _ choice: borrowing RowChoice, u: UnsafePointer<Float>, z: UnsafePointer<Float>,
    into w: UnsafeMutablePointer<Float>
  ) {
    let n = experts
    let active = choice.active
    switch settings.kind {
    case .relu:
      for e in 0..<n { w[e] = active[e] != 0 && z[e] > 0 ? z[e] : 0 }
      return
    case .topAny:
      let share = choice.activeCount > 0 ? 1 / Float(choice.activeCount) : 0
      for e in 0..<n { w[e] = active[e] != 0 ? share : 0 }
      return
    default: break
    }
    switch settings.gate {
    case .raw:
      for e in 0..<n { w[e] = active[e] != 0 ? u[e] : 0 }
    case .normalized:
      var sum: Float = 0
      for e in 0..<n where active[e] != 0 { sum += u[e] }
      let inverse = 1 / max(sum, leastScoreSum)
      for e in 0..<n { w[e] = active[e] != 0 ? u[e] * inverse : 0 }
    case .softmax:
      var largest = -Float.infinity
      for e in 0..<n where active[e] != 0 { largest = max(largest, u[e]) }
      var sum: Float = 0
      for e in 0..<n {
        w[e] = active[e] != 0 ? expf(u[e] - largest) : 0
        sum += w[e]
      }
      let inverse = sum > 0 ? 1 / sum : 0
      for e in 0..<n { w[e] *= inverse }
    }
  }
}

/// The choice of one row among N experts. Larger score first, ties to the lower index.
struct RowChoice {
  let count: Int
  let scores: UnsafePointer<Float>
  let active: UnsafeMutablePointer<UInt8>
  private let order: UnsafeMutablePointer<Int32>
  private var isOrdered = false
  private(set) var activeCount = 0

  init(
    count: Int, scores: UnsafePointer<Float>, active: UnsafeMutablePointer<UInt8>,
    order: UnsafeMutablePointer<Int32>
  ) {
    self.count = count
    self.scores = scores
    self.active = active
    self.order = order
  }

  mutating func activate(where isActive: (Int) -> Bool) {
    activeCount = 0
    for expert in 0..<count {
      let chosen = isActive(expert)
      active[expert] = chosen ? 1 : 0
      activeCount += chosen ? 1 : 0
    }
  }

  mutating func activateBest(_ k: Int) {
    sort()
    active.update(repeating: 0, count: count)
    for place in 0..<k { active[Int(order[place])] = 1 }
    activeCount = k
  }

  /// The shortest prefix in order whose cumulated `shares` reach `p`; all when they never do.
  mutating func activatePrefix(of shares: UnsafePointer<Float>, reaching p: Double) {
    sort()
    active.update(repeating: 0, count: count)
    var sum = 0.0
    var place = 0
    while place < count {
      let expert = Int(order[place])
      active[expert] = 1
      sum += Double(shares[expert])
      place += 1
      if sum >= p { break }
    }
    activeCount = place
  }

  /// Keeps the `most` best, or adds the best not yet active up to `least`. Returns whether K
  /// changed.
  mutating func limit(least: Int, most: Int) -> Bool {
    if activeCount > most {
      sort()
      var kept = 0
      for place in 0..<count {
        let expert = Int(order[place])
        guard active[expert] != 0 else { continue }
        if kept < most { kept += 1 } else { active[expert] = 0 }
      }
      activeCount = kept
      return true
    }
    if activeCount < least {
      sort()
      var place = 0
      while activeCount < least, place < count {
        let expert = Int(order[place])
        if active[expert] == 0 {
          active[expert] = 1
          activeCount += 1
        }
        place += 1
      }
      return true
    }
    return false
  }

  private func precedes(_ a: Int32, _ b: Int32) -> Bool {
    let x = scores[Int(a)]
    let y = scores[Int(b)]
    return x > y || (x == y && a < b)
  }

  private mutating func sort() {
    guard !isOrdered else { return }
    isOrdered = true
    for index in 0..<count { order[index] = Int32(truncatingIfNeeded: index) }
    if count <= 32 {
      insertionSort()
    } else {
      heapSort()
    }
  }

  private func insertionSort() {
    for index in 1..<max(count, 1) {
      let moved = order[index]
      var place = index
      while place > 0, precedes(moved, order[place - 1]) {
        order[place] = order[place - 1]
        place -= 1
      }
      order[place] = moved
    }
  }

  private func heapSort() {
    func sift(_ start: Int, _ end: Int) {
      var root = start
      while 2 * root + 1 < end {
        var child = 2 * root + 1
        if child + 1 < end, precedes(order[child], order[child + 1]) { child += 1 }
        guard precedes(order[root], order[child]) else { return }
        swap(&order[root], &order[child])
        root = child
      }
    }
    for start in stride(from: count / 2 - 1, through: 0, by: -1) { sift(start, count) }
    for end in stride(from: count - 1, to: 0, by: -1) {
      swap(&order[0], &order[end])
      sift(0, end)
    }
  }
}
