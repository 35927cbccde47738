import DynaMoEKernels

#if canImport(Glibc)
  import Glibc
#else
  import Musl
#endif

/// The loss of one row, and whether its largest logit is the target's.
struct RowLoss: BitwiseCopyable {
  var value: Double
  var isHit: Bool
}

/// The loss of a batch as its slices of rows come in: mean softmax cross-entropy of counted rows,
/// or mean squared error.
///
/// With sample weights w the mean is Σwℓ/Σw. Rows are summed in order, in f64.
struct TaskLoss {
  let outputs: Int
  let rows: Int
  private let classes: UnsafePointer<Int32>?
  private let values: UnsafePointer<Float>?
  private let sampleWeight: UnsafePointer<Float>?
  /// Σw over counted rows.
  private let weightSum: Double
  /// Rows with a target that counts.
  let countedRows: Int
  private var sum = 0.0
  private var hits = 0

  /// The targets were checked.
  init(
    _ targets: Targets, rows: Int, outputs: Int, sampleWeight: UnsafeBufferPointer<Float>? = nil
  ) {
    self.rows = rows
    self.outputs = outputs
    self.sampleWeight = sampleWeight?.baseAddress
    var counted = rows
    switch targets {
    case .classes(let classes):
      self.classes = classes.baseAddress
      values = nil
      counted = 0
      for target in classes where target >= 0 { counted += 1 }
    case .values(let values):
      self.values = values.baseAddress
      classes = nil
    }
    countedRows = counted
    var total = 0.0
    if let weights = sampleWeight {
      for row in 0..<rows where (self.classes?[row] ?? 0) >= 0 { total += Double(weights[row]) }
    } else {
      total = Double(counted)
    }
    weightSum = total
  }

  /// The mean of what was added; 0 without rows that count.
  var mean: Double { weightSum > 0 ? sum / weightSum : 0 }
  /// nil for regression; 0 without rows that count.
  var accuracy: Double? {
    classes == nil ? nil : countedRows > 0 ? Double(hits) / Double(countedRows) : 0
  }

  /// Adds rows `first ..< first + count` with their logits [count, C]; dL/dlogits goes to
  /// `gradient`, which may be the logits themselves. `rowLoss [count]` is scratch.
  mutating func add(
    _ logits: UnsafePointer<Float>, first: Int, count: Int,
    gradient: UnsafeMutablePointer<Float>, rowLoss: UnsafeMutablePointer<RowLoss>, backend: Backend
  ) {
    let start = Profile.begin()
    defer { Profile.end(.loss, start) }
    let loss = self
    let outputs = outputs
    backend.pool.forRanges(count, grain: max(1, 4096 / max(1, outputs))) { range in
      for row in range {
        rowLoss[row] = loss.writeRow(
          first + row, logits + row * outputs, into: gradient + row * outputs, backend)
      }
    }
    for row in 0..<count {
      if rowLoss[row].isHit { hits += 1 }
      sum += rowLoss[row].value * Double(sampleWeight?[first + row] ?? 1)
    }
  }

  private func writeRow(
    _ row: Int, _ logits: UnsafePointer<Float>, into gradient: UnsafeMutablePointer<Float>,
    _ backend: Backend
  ) -> RowLoss {
    let scale =
      weightSum > 0 ? Float(Double(sampleWeight?[row] ?? 1) / weightSum) : 0
    guard let classes else {
      return RowLoss(
        value: writeSquaredError(row, logits, scale: scale, into: gradient), isHit: false)
    }
    let target = Int(classes[row])
    guard target >= 0 else {
      gradient.update(repeating: 0, count: outputs)
      return RowLoss(value: 0, isHit: false)
    }
    let logit = logits[target]
    let isHit = isLargest(target, logits)
    let logSumExp = backend.softmax(logits, outputs, inverseTemperature: 1, into: gradient)
    let loss = crossEntropy(gradient, target, fallback: Double(logSumExp) - Double(logit))
    gradient[target] -= 1
    backend.scale(gradient, by: scale, into: gradient, outputs)
    return RowLoss(value: loss, isHit: isHit)
  }

  /// -log p of the target, from the others when it has most of the probability: single precision
  /// holds those better.
  private func crossEntropy(
    _ p: UnsafePointer<Float>, _ target: Int, fallback: Double
  ) -> Double {
    let own = p[target]
    guard own > 0.5 else { return own > 1e-30 ? -log(Double(own)) : fallback }
    var others = 0.0
    for other in 0..<outputs where other != target { others += Double(p[other]) }
    return -log1p(-others)
  }

  private func isLargest(_ target: Int, _ logits: UnsafePointer<Float>) -> Bool {
    let logit = logits[target]
    for other in 0..<target where logits[other] >= logit { return false }
    for other in target..<outputs where logits[other] > logit { return false }
    return true
  }

  /// Mean over outputs of (y - target)².
  private func writeSquaredError(
    _ row: Int, _ logits: UnsafePointer<Float>, scale: Float,
    into gradient: UnsafeMutablePointer<Float>
  ) -> Double {
    guard let values else { return 0 }
    let target = values + row * outputs
    let factor = 2 * scale / Float(outputs)
    var sum = 0.0
    for column in 0..<outputs {
      let difference = logits[column] - target[column]
      sum += Double(difference) * Double(difference)
      gradient[column] = factor * difference
    }
    return sum / Double(outputs)
  }
}
