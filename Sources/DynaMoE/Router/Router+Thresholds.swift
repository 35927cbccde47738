import DynaMoEKernels

#if canImport(Glibc)
  import Glibc
#else
  import Musl
#endif

/// Bounds of relu's coefficient of sparsity, which a target out of reach would drive to 0 or
/// infinity for good.
private let leastSparsity = 1e-30
private let mostSparsity = 1e6

extension Router {
  /// θ of every expert: in training the quantile over this batch, in evaluation the stored one.
  func setThresholds(rows: Int, training: Bool, _ pass: inout RoutingPass) {
    let thresholds = pass.thresholds.base
    switch settings.kind {
    case .topAny:
      for e in 0..<experts {
        thresholds[e] = 1 / (1 + exp(-settings.scale * Double(gates?[e] ?? 0)))
      }
    case .threshold, .expertThreshold:
      guard training else {
        let isCold = control?[2] == 0
        for e in 0..<experts {
          let stored = storedThresholds?[settings.kind == .threshold ? 0 : e] ?? 0
          // Before any training all are active, also those whose score is 0.
          thresholds[e] = isCold && stored == 0 ? -Double.infinity : Double(stored)
        }
        return
      }
      batchQuantiles(
        selectionScores(pass), rows: rows, scratch: pass.scratch.base, columns: pass.columns.base,
        into: thresholds)
      setCleanThresholds(rows: rows, &pass)
    case .percentile, .topK, .topP, .relu, .dense: break
    }
  }

  /// θ₀, of the clean scores plus bias; the noisy ones served the selection and come back
  /// afterwards.
  private func setCleanThresholds(rows: Int, _ pass: inout RoutingPass) {
    let clean = pass.cleanThresholds.base
    guard pass.hasNoise else {
      clean.update(from: pass.thresholds.base, count: experts)
      return
    }
    guard pass.hasBias, let bias else {
      batchQuantiles(
        pass.scores.base, rows: rows, scratch: pass.scratch.base, columns: pass.columns.base,
        into: clean)
      return
    }
    let s = pass.scores.base
    let u = pass.noisy.base
    let v = pass.selection.base
    for row in 0..<rows {
      for e in 0..<experts { v[row * experts + e] = s[row * experts + e] + bias[e] }
    }
    batchQuantiles(
      v, rows: rows, scratch: pass.scratch.base, columns: pass.columns.base, into: clean)
    for row in 0..<rows {
      for e in 0..<experts { v[row * experts + e] = u[row * experts + e] + bias[e] }
    }
  }

  /// The quantile at 1 - target_active / N, over all scores or over each expert's.
  private func batchQuantiles(
    _ v: UnsafePointer<Float>, rows: Int, scratch: UnsafeMutablePointer<Float>,
    columns: UnsafeMutablePointer<Float>, into thresholds: UnsafeMutablePointer<Double>
  ) {
    let n = experts
    let q = 1 - (settings.targetActive ?? Double(n)) / Double(n)
    guard settings.kind == .expertThreshold else {
      let threshold = quantile(v, rows * n, q, scratch: scratch)
      for e in 0..<n { thresholds[e] = threshold }
      return
    }
    backend.pool.forRanges(n, grain: 1) { range in
      for e in range {
        let column = columns + e * rows
        for row in 0..<rows { column[row] = v[row * n + e] }
        thresholds[e] = quantile(column, rows, q, scratch: scratch + e * rows)
      }
    }
  }

  /// Moves the stored thresholds after a training forward that succeeded: θ̄ ← β θ̄ + (1 - β) θ₀,
  /// at first θ̄ = θ₀.
  func followThresholds(_ pass: borrowing RoutingPass) {
    guard let stored = storedThresholds, let control else { return }
    let clean = pass.cleanThresholds.base
    let count = settings.kind == .threshold ? 1 : experts
    for e in 0..<count {
      stored[e] =
        control[2] == 0
        ? Float(clean[e])
        : Float(settings.momentum * Double(stored[e]) + (1 - settings.momentum) * clean[e])
    }
    control[2] += 1
  }

  /// Counts the rows of a training forward for the controllers.
  func countForControl(expertOffsets offsets: UnsafePointer<Int32>, rows: Int) {
    rowsSinceStep += rows
    for e in 0..<experts { expertRowsSinceStep[e] += Int(offsets[e + 1] - offsets[e]) }
  }

  /// After an optimizer step: the sparsity coefficient of relu, p of top_p, the balancing bias.
  func control(afterStepWith losses: LossConfiguration) {
    guard rowsSinceStep > 0 else { return }
    let pairs = Double(expertRowsSinceStep.reduce(0, +))
    let rows = Double(rowsSinceStep)
    if let control, let target = settings.targetActive {
      switch settings.kind {
      case .relu where losses.sparsity > 0:
        let coefficient =
          pairs > target * rows ? Double(control[0]) * 1.2 : Double(control[0]) / 1.2
        control[0] = Float(min(max(coefficient, leastSparsity), mostSparsity))
        control[2] += 1
      case .topP:
        let error = (target - pairs / rows) / Double(experts)
        let p = Double(control[0]) + 0.1 * (error - Double(control[1])) + 0.05 * error
        control[0] = Float(min(max(p, 0), 1))
        control[1] = Float(error)
        control[2] += 1
      default: break
      }
    }
    if let bias { balance(bias) }
    rowsSinceStep = 0
    for e in 0..<experts { expertRowsSinceStep[e] = 0 }
  }

  private func balance(_ bias: UnsafeMutablePointer<Float>) {
    let mean = Double(expertRowsSinceStep.reduce(0, +)) / Double(experts)
    var sum = 0.0
    for e in 0..<experts {
      let lack = mean - Double(expertRowsSinceStep[e])
      let sign: Double = lack > 0 ? 1 : lack < 0 ? -1 : 0
      bias[e] = Float(Double(bias[e]) + settings.balanceRate * sign)
      sum += Double(bias[e])
    }
    let shift = sum / Double(experts)
    for e in 0..<experts { bias[e] = Float(Double(bias[e]) - shift) }
  }

  /// Values of the buffers of a new network that are not zero.
  func initializeBuffers(losses: LossConfiguration) {
    guard let control, settings.targetActive != nil else { return }
    switch settings.kind {
    case .relu: control[0] = Float(losses.sparsity)
    case .topP: control[0] = Float(settings.p)
    default: break
    }
  }
}
