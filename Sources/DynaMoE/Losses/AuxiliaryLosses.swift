import DynaMoEKernels

/// The auxiliary losses of one layer, unscaled. T rows, N experts, n_e rows of expert e, f_e = n_e
/// / Σn.
///
///     balance   N · Σ_e f_e P_e,  P_e = mean over rows of s_e    Fedus et al., arXiv 2101.03961, eq. 4
///     z         mean over rows of (logsumexp z)²                 Zoph et al., arXiv 2202.08906, eq. 5
///     entropy   mean over rows of -Σ_e s_e log s_e
///     sparsity  N / (target_active · T²) · Σ_e n_e · Σ_t w_te    after Wang et al., arXiv 2412.14711
struct AuxiliaryLosses {
  var balance = 0.0
  var z = 0.0
  var entropy = 0.0
  var sparsity = 0.0

  /// Sums run over rows in order: the same bits for any number of threads.
  init(
    router: Router, pass: borrowing RoutingPass, offsets: UnsafePointer<Int32>,
    weights: UnsafePointer<Float>, rows: Int
  ) {
    let n = router.experts
    let count = Double(rows)
    for row in 0..<rows {
      let logSumExp = Double(pass.logSumExp.base[row])
      z += logSumExp * logSumExp
      entropy += pass.entropy.base[row]
    }
    z /= count
    entropy /= count
    let pairs = Double(offsets[n])
    if pairs > 0 {
      balance = Self.balance(router, pass, offsets, rows: rows) / pairs
    }
    if let target = router.sparsityTarget {
      for e in 0..<n {
        var sum = 0.0
        for row in 0..<rows { sum += Double(weights[row * n + e]) }
        sparsity += Double(offsets[e + 1] - offsets[e]) * sum
      }
      sparsity *= Double(n) / (target * count * count)
    }
  }

  /// N · Σ_e n_e P_e.
  private static func balance(
    _ router: Router, _ pass: borrowing RoutingPass, _ offsets: UnsafePointer<Int32>, rows: Int
  ) -> Double {
    let n = router.experts
    let s = pass.scores.base
    var sum = 0.0
    for row in 0..<rows {
      let scores = s + row * n
      var weighted = 0.0
      var total = 0.0
      for e in 0..<n {
        weighted += Double(offsets[e + 1] - offsets[e]) * Double(scores[e])
        total += Double(scores[e])
      }
      // The scores of top_any do not sum to 1, those of a softmax do but for rounding.
      sum += router.settings.kind == .topAny ? (total > 0 ? weighted / total : 0) : weighted
    }
    return Double(n) * sum / Double(rows)
  }
}

extension Router {
  /// The mean K that relu's sparsity loss aims at; nil when the layer has no such loss.
  var sparsityTarget: Double? { settings.kind == .relu ? settings.targetActive : nil }

  /// λ, the layer's own coefficient of the sparsity loss.
  var sparsityCoefficient: Double {
    sparsityTarget == nil ? 0 : control.map { Double($0[0]) } ?? 0
  }

  /// Coefficients of the gradients of the weighted losses in a batch of `rows` rows.
  func auxiliaryGradients(
    _ losses: LossConfiguration, sparsity: Double, rows: Int
  ) -> AuxiliaryGradients {
    let n = Double(experts)
    let count = Double(rows)
    return AuxiliaryGradients(
      balance: losses.balance * n / count, z: 2 * losses.z / count,
      entropy: losses.entropy / count,
      sparsity: sparsityTarget.map { sparsity * n / ($0 * count * count) } ?? 0)
  }
}
