import DynaMoEKernels

#if canImport(Glibc)
  import Glibc
#else
  import Musl
#endif

/// What one layer's auxiliary losses add to its router's gradients: each a coefficient of
/// dL/d(score or logit or weight).
struct AuxiliaryGradients {
  /// times f_e: dL/ds_e of the balance loss, coefficient · N / T
  var balance: Double = 0
  /// times logsumexp z · softmax(z): dL/dz of the z loss, coefficient · 2 / T
  var z: Double = 0
  /// times -(log s_e + 1): dL/ds_e of the entropy, coefficient / T
  var entropy: Double = 0
  /// times n_e: dL/dw_e of the sparsity loss, λ · N / (target_active · T²)
  var sparsity: Double = 0

  var reachScores: Bool { balance != 0 || entropy != 0 }
}

/// What a backward through a router reads besides the pass.
struct RouterBackward {
  let rows: Int
  /// The pairs, sorted by expert.
  let offsets: UnsafePointer<Int32>
  let firstOfRow: UnsafePointer<Int32>
  let pairOfRow: UnsafePointer<Int32>
  let rowOfPair: UnsafePointer<Int32>
  let active: UnsafePointer<UInt8>
  let weights: UnsafePointer<Float>
  /// dL/dw of each pair [P]
  let weightGradient: UnsafePointer<Float>
  let auxiliary: AuxiliaryGradients
}

extension Router {
  /// From dL/dw of the active pairs: adds to the gradients of the router's parameters, writes dL/dx
  /// [T, D] if that is wanted.
  ///
  /// Selection and thresholds are constants. `logitGradient [T, N]` is scratch.
  func backward(
    _ x: UnsafePointer<Float>, _ pass: borrowing RoutingPass, _ step: RouterBackward,
    logitGradient dz: UnsafeMutablePointer<Float>, into dx: UnsafeMutablePointer<Float>?
  ) {
    let n = experts
    let rows = step.rows
    let row = RowBackward(router: self, pass: pass, step: step)
    backend.pool.forRanges(rows, grain: 32) { range in
      for t in range { row.write(t, into: dz + t * n) }
    }
    guard settings.kind != .topAny else {
      addGateGradients(pass, step)
      backwardCosine(x, rows: rows, pass, logitGradient: dz, into: dx)
      return
    }
    RowGroups.withAll(rows: rows) { groups in
      projection.weightGradients(groups, outputGradient: dz, x)
      if let dx { projection.inputGradient(groups, outputGradient: dz, into: dx) }
    }
  }

  /// dL/dG_e = -Σ_t (dL/dw_te)/K_t · θ_e (1 - θ_e) · scale over the active pairs (top_any).
  private func addGateGradients(_ pass: borrowing RoutingPass, _ step: RouterBackward) {
    guard let gateGradient else { return }
    let thresholds = pass.thresholds.base
    for e in 0..<experts {
      var sum = 0.0
      for pair in Int(step.offsets[e])..<Int(step.offsets[e + 1]) {
        let row = Int(step.rowOfPair[pair])
        let k = step.firstOfRow[row + 1] - step.firstOfRow[row]
        sum += Double(step.weightGradient[pair]) / Double(k)
      }
      let theta = thresholds[e]
      gateGradient[e] += Float(-sum * theta * (1 - theta) * settings.scale)
    }
  }
}

/// dL/dz of single rows. Holds pointers only, so that threads may share it.
private struct RowBackward {
  private let kind: RouterConfiguration.Kind
  private let gate: Gate
  private let count: Int
  private let inverseTemperature: Float
  private let z, s, u, logSumExp: UnsafePointer<Float>
  private let totalPairs: Double
  private let step: RouterBackward

  init(router: Router, pass: borrowing RoutingPass, step: RouterBackward) {
    kind = router.settings.kind
    gate = router.settings.gate
    count = router.experts
    inverseTemperature = Float(1 / router.settings.temperature)
    z = UnsafePointer(pass.logits.base)
    s = UnsafePointer(pass.scores.base)
    u = UnsafePointer(router.noisyScores(pass))
    logSumExp = UnsafePointer(pass.logSumExp.base)
    totalPairs = Double(step.offsets[router.experts])
    self.step = step
  }

  func write(_ t: Int, into g: UnsafeMutablePointer<Float>) {
    spreadWeightGradient(t, into: g)
    switch kind {
    case .relu:
      reluGradient(t, into: g)
    case .topAny:
      addScoreLossesOfShares(t, to: g)
      for e in 0..<count {
        let score = s[t * count + e]
        g[e] *= score * (1 - score)
      }
    default:
      gateGradient(t, into: g)
      addScoreLosses(t, to: g)
      throughSoftmax(t, g)
    }
    addZLoss(t, to: g)
  }

  /// dL/dw on the active, zero elsewhere; with the sparsity loss.
  private func spreadWeightGradient(_ t: Int, into g: UnsafeMutablePointer<Float>) {
    g.update(repeating: 0, count: count)
    let active = step.active + t * count
    var index = Int(step.firstOfRow[t])
    for e in 0..<count where active[e] != 0 {
      var gradient = step.weightGradient[Int(step.pairOfRow[index])]
      if step.auxiliary.sparsity != 0 {
        let load = Double(step.offsets[e + 1] - step.offsets[e])
        gradient += Float(step.auxiliary.sparsity * load)
      }
      g[e] = gradient
      index += 1
    }
    if kind == .topAny, index > Int(step.firstOfRow[t]) {
      let share = 1 / Float(index - Int(step.firstOfRow[t]))
      for e in 0..<count { g[e] *= share }
    }
  }

  /// dL/dw → dL/du.
  private func gateGradient(_ t: Int, into g: UnsafeMutablePointer<Float>) {
    let active = step.active + t * count
    let w = step.weights + t * count
    switch gate {
    case .raw: return
    case .softmax:
      var mean: Float = 0
      for e in 0..<count { mean += w[e] * g[e] }
      for e in 0..<count { g[e] = w[e] * (g[e] - mean) }
    case .normalized:
      let scores = u + t * count
      var sum: Float = 0
      var mean: Float = 0
      for e in 0..<count where active[e] != 0 {
        sum += scores[e]
        mean += w[e] * g[e]
      }
      let isClamped = sum < leastScoreSum
      let inverse = 1 / max(sum, leastScoreSum)
      for e in 0..<count where active[e] != 0 {
        g[e] = (isClamped ? g[e] : g[e] - mean) * inverse
      }
    }
  }

  /// dL/ds of balance and entropy. The -1 of d(-s log s)/ds vanishes in the softmax.
  private func addScoreLosses(_ t: Int, to g: UnsafeMutablePointer<Float>) {
    guard step.auxiliary.reachScores else { return }
    for e in 0..<count {
      g[e] += Float(balanceGradient(e) + entropyGradient(Double(s[t * count + e])))
    }
  }

  /// The same of the shares s_e/Σs, for top_any.
  private func addScoreLossesOfShares(_ t: Int, to g: UnsafeMutablePointer<Float>) {
    guard step.auxiliary.reachScores else { return }
    let scores = s + t * count
    var sum = 0.0
    for e in 0..<count { sum += Double(scores[e]) }
    guard sum > 0 else { return }
    var mean = 0.0
    for e in 0..<count {
      let share = Double(scores[e]) / sum
      mean += share * (balanceGradient(e) + entropyGradient(share))
    }
    for e in 0..<count {
      let share = Double(scores[e]) / sum
      g[e] += Float((balanceGradient(e) + entropyGradient(share) - mean) / sum)
    }
  }

  private func balanceGradient(_ e: Int) -> Double {
    guard step.auxiliary.balance != 0, totalPairs > 0 else { return 0 }
    return step.auxiliary.balance * Double(step.offsets[e + 1] - step.offsets[e]) / totalPairs
  }

  private func entropyGradient(_ s: Double) -> Double {
    step.auxiliary.entropy == 0 || s <= 0 ? 0 : -step.auxiliary.entropy * log(s)
  }

  /// dz = s ⊙ (ds - Σ s ds) / temperature.
  private func throughSoftmax(_ t: Int, _ g: UnsafeMutablePointer<Float>) {
    let scores = s + t * count
    var mean: Float = 0
    for e in 0..<count { mean += scores[e] * g[e] }
    for e in 0..<count { g[e] = scores[e] * (g[e] - mean) * inverseTemperature }
  }

  /// w = relu(z); the softmax serves the losses only.
  private func reluGradient(_ t: Int, into g: UnsafeMutablePointer<Float>) {
    let logits = z + t * count
    for e in 0..<count where !(logits[e] > 0) { g[e] = 0 }
    guard step.auxiliary.reachScores else { return }
    let scores = s + t * count
    var mean = 0.0
    for e in 0..<count {
      mean += Double(scores[e]) * (balanceGradient(e) + entropyGradient(Double(scores[e])))
    }
    for e in 0..<count {
      let score = Double(scores[e])
      let gradient = score * (balanceGradient(e) + entropyGradient(score) - mean)
      g[e] += Float(gradient) * inverseTemperature
    }
  }

  private func addZLoss(_ t: Int, to g: UnsafeMutablePointer<Float>) {
    guard step.auxiliary.z != 0 else { return }
    let logits = z + t * count
    let factor = Float(step.auxiliary.z) * logSumExp[t]
    for e in 0..<count { g[e] += factor * expf(logits[e] - logSumExp[t]) }
  }
}
