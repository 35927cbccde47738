import Foundation

/// A row-major matrix in double precision.
struct Matrix {
  var rows: Int
  var columns: Int
  var values: [Double]

  init(_ rows: Int, _ columns: Int) {
    self.rows = rows
    self.columns = columns
    values = Array(repeating: 0, count: rows * columns)
  }

  init(_ rows: Int, _ columns: Int, _ values: [Double]) {
    precondition(values.count == rows * columns)
    self.rows = rows
    self.columns = columns
    self.values = values
  }

  subscript(row: Int, column: Int) -> Double {
    get { values[row * columns + column] }
    set { values[row * columns + column] = newValue }
  }

  func row(_ index: Int) -> ArraySlice<Double> {
    values[index * columns..<(index + 1) * columns]
  }
}

/// Quantile q of `values`, linear between the sorted neighbours, as `numpy.quantile`.
func referenceQuantile(_ values: some Sequence<Double>, _ q: Double) -> Double {
  let sorted = values.sorted()
  let position = q * Double(sorted.count - 1)
  let nearest = position.rounded()
  if abs(position - nearest) <= 1e-9 { return sorted[Int(nearest)] }
  let below = Int(position.rounded(.down))
  return sorted[below] + (position - Double(below)) * (sorted[below + 1] - sorted[below])
}

func referenceSoftmax(_ values: some Sequence<Double>) -> [Double] {
  let values = Array(values)
  let largest = values.max() ?? 0
  let exponentials = values.map { exp($0 - largest) }
  let sum = exponentials.reduce(0, +)
  return exponentials.map { $0 / sum }
}

func referenceLogSumExp(_ values: some Sequence<Double>) -> Double {
  let values = Array(values)
  let largest = values.max() ?? 0
  return largest + log(values.reduce(0) { $0 + exp($1 - largest) })
}

/// What is held constant while parameters are varied: selections, noise and, for `top_any`, the
/// point at which its straight-through weights are linear.
struct FrozenRouting {
  var active: [Bool]? = nil
  var noise: [Double]? = nil
  var straightThroughOrigin: Matrix? = nil
}

/// Everything that one routing decided, T rows and N experts.
struct ReferenceRouting {
  var z: Matrix
  /// Clean scores s; for `top_any` σ(z), which do not sum to one.
  var s: Matrix
  /// Scores that the losses see: each row sums to one.
  var lossScores: Matrix
  /// What the gate reads, u.
  var u: Matrix
  var active: [Bool]
  var weights: Matrix
  /// What the rule itself would select here, before any frozen selection is imposed.
  var ownActive: [Bool]
  /// Per row: was K changed by min or max?
  var limited: [Bool]
  /// Per row: how near the closest decision was to turning out otherwise.
  var margin: [Double]
  /// θ₀ of the clean scores, which the stored thresholds follow.
  var cleanThresholds: [Double]
  /// s - θ (`top_any`).
  var excess: Matrix?

  var counts: [Int] {
    (0..<z.columns).map { e in (0..<z.rows).count { active[$0 * z.columns + e] } }
  }
}

/// The router of the mathematics page, §3, written row by row.
struct ReferenceRouter {
  var settings: RouterSettings
  var weight: Matrix
  var gates: [Double]
  var bias: [Double]
  var stored: [Double]
  /// control[0]: p of a controlled `top_p`.
  var control: Double?

  func route(_ x: Matrix, training: Bool, frozen: FrozenRouting) -> ReferenceRouting {
    let count = weight.rows
    let z = logits(x)
    var s = Matrix(x.rows, count)
    var lossScores = Matrix(x.rows, count)
    for t in 0..<x.rows {
      let row: [Double]
      if settings.kind == "top_any" {
        row = z.row(t).map { 1 / (1 + exp(-$0)) }
        let sum = row.reduce(0, +)
        for e in 0..<count { lossScores[t, e] = row[e] / sum }
      } else {
        row = referenceSoftmax(z.row(t).map { $0 / settings.temperature })
        for e in 0..<count { lossScores[t, e] = row[e] }
      }
      for e in 0..<count { s[t, e] = row[e] }
    }
    var u = s
    if training, let noise = frozen.noise {
      for i in u.values.indices { u.values[i] += settings.noise * noise[i] }
    }
    var v = settings.kind == "relu" ? z : u
    if settings.balanceRate > 0 {
      for t in 0..<x.rows { for e in 0..<count { v[t, e] += bias[e] } }
    }
    var routing = ReferenceRouting(
      z: z, s: s, lossScores: lossScores, u: u, active: [], weights: Matrix(x.rows, count),
      ownActive: [], limited: [], margin: [], cleanThresholds: cleanThresholds(s), excess: nil)
    if settings.kind == "top_any" {
      var excess = s
      for t in 0..<x.rows {
        for e in 0..<count { excess[t, e] -= 1 / (1 + exp(-settings.scale * gates[e])) }
      }
      routing.excess = excess
    }
    select(&routing, v, training: training)
    routing.active = frozen.active ?? routing.ownActive
    weigh(&routing, frozen.straightThroughOrigin)
    return routing
  }

  private func logits(_ x: Matrix) -> Matrix {
    var z = Matrix(x.rows, weight.rows)
    for t in 0..<x.rows {
      for e in 0..<weight.rows {
        var sum = 0.0
        var xx = 0.0
        var ww = 0.0
        for d in 0..<x.columns {
          sum += x[t, d] * weight[e, d]
          xx += x[t, d] * x[t, d]
          ww += weight[e, d] * weight[e, d]
        }
        if settings.kind == "top_any" {
          sum *= settings.scale / (max(xx.squareRoot(), 1e-8) * max(ww.squareRoot(), 1e-8))
        }
        z[t, e] = sum
      }
    }
    return z
  }

  private var rank: Double { 1 - (settings.targetActive ?? 0) / Double(weight.rows) }

  private func cleanThresholds(_ s: Matrix) -> [Double] {
    let count = weight.rows
    switch settings.kind {
    case "threshold":
      return [
        referenceQuantile(s.values.indices.lazy.map { s.values[$0] + bias[$0 % count] }, rank)
      ]
    case "expert_threshold":
      return (0..<count).map { e in
        referenceQuantile((0..<s.rows).lazy.map { s[$0, e] }, rank)
      }
    default: return []
    }
  }

  /// The thresholds that row t is held against, nil for kinds without one.
  private func thresholds(_ v: Matrix, training: Bool) -> ((Int) -> [Double])? {
    let count = weight.rows
    switch settings.kind {
    case "percentile":
      return { t in
        Array(repeating: referenceQuantile(v.row(t), settings.percentile), count: count)
      }
    case "threshold":
      let value = training ? referenceQuantile(v.values, rank) : stored[0]
      return { _ in Array(repeating: value, count: count) }
    case "expert_threshold":
      let values =
        training
        ? (0..<count).map { e in referenceQuantile((0..<v.rows).lazy.map { v[$0, e] }, rank) }
        : stored
      return { _ in values }
    case "top_any":
      let values = gates.map { 1 / (1 + exp(-settings.scale * $0)) }
      return { _ in values }
    case "relu":
      return { _ in Array(repeating: 0, count: count) }
    default: return nil
    }
  }

  private func select(_ routing: inout ReferenceRouting, _ v: Matrix, training: Bool) {
    let count = weight.rows
    let thresholds = thresholds(v, training: training)
    for t in 0..<v.rows {
      let order = (0..<count).sorted {
        v[t, $0] == v[t, $1] ? $0 < $1 : v[t, $0] > v[t, $1]
      }
      var margin = Double.infinity
      var chosen: [Int]
      if let limits = thresholds?(t) {
        chosen = order.filter { v[t, $0] > limits[$0] }
        // The limit may lie between the scores of equal rows, of which OpenBLAS makes different ones.
        let equalRowsDiffer = !kernelsKeepBits && settings.kind.hasSuffix("threshold")
        for e in 0..<count where v[t, e] != limits[e] || equalRowsDiffer {
          margin = min(margin, abs(v[t, e] - limits[e]))
        }
      } else if settings.kind == "top_k" {
        chosen = Array(order.prefix(settings.k))
      } else if settings.kind == "top_p" {
        (chosen, margin) = prefix(order, routing.s, row: t)
      } else {
        chosen = order
      }
      let adjusted = min(max(chosen.count, settings.minActive), settings.maxActive)
      routing.limited.append(adjusted != chosen.count)
      if adjusted > chosen.count {
        chosen += order.filter { !chosen.contains($0) }.prefix(adjusted - chosen.count)
      }
      chosen = Array(chosen.prefix(adjusted))
      if thresholds == nil || routing.limited[t] {
        let ranked = order.map { v[t, $0] }
        for (a, b) in zip(ranked, ranked.dropFirst()) { margin = min(margin, a - b) }
      }
      routing.margin.append(margin)
      routing.ownActive += (0..<count).map { chosen.contains($0) }
    }
  }

  private func prefix(_ order: [Int], _ s: Matrix, row t: Int) -> ([Int], Double) {
    let p = control ?? settings.p
    var sum = 0.0
    var margin = Double.infinity
    var chosen: [Int] = []
    for e in order where sum < p || chosen.isEmpty {
      chosen.append(e)
      sum += s[t, e]
      margin = min(margin, abs(sum - p))
    }
    return (chosen, margin)
  }

  private func weigh(_ routing: inout ReferenceRouting, _ origin: Matrix?) {
    let count = weight.rows
    for t in 0..<routing.z.rows {
      let members = (0..<count).filter { routing.active[t * count + $0] }
      if members.isEmpty { continue }
      let weights: [Double]
      switch (settings.kind, settings.gate) {
      case ("top_any", _):
        let share = 1 / Double(members.count)
        weights = members.map { e in
          guard let origin, let excess = routing.excess else { return share }
          return share + (excess[t, e] - origin[t, e]) * share
        }
      case ("relu", _): weights = members.map { max(0, routing.z[t, $0]) }
      case (_, "softmax"): weights = referenceSoftmax(members.map { routing.u[t, $0] })
      case (_, "normalized"):
        let sum = members.reduce(0) { $0 + routing.u[t, $1] }
        weights = members.map { routing.u[t, $0] / max(sum, 1e-6) }
      default: weights = members.map { routing.u[t, $0] }
      }
      for (e, weight) in zip(members, weights) { routing.weights[t, e] = weight }
    }
  }
}
