/// R² of a regression as its rows come in: of each output 1 - Σ(y - ŷ)²/Σ(y - ȳ)², averaged over
/// outputs.
struct ExplainedVariance {
  private let rows: Int
  private let outputs: Int
  private let values: UnsafePointer<Float>
  private var squaredErrors: [Double]

  /// nil for classes.
  init?(_ targets: Targets, rows: Int, outputs: Int) {
    guard case .values(let values) = targets, let base = values.baseAddress else { return nil }
    self.rows = rows
    self.outputs = outputs
    self.values = base
    squaredErrors = Array(repeating: 0, count: outputs)
  }

  mutating func add(_ predictions: UnsafePointer<Float>, first: Int, count: Int) {
    for row in 0..<count {
      for column in 0..<outputs {
        let difference =
          Double(predictions[row * outputs + column])
          - Double(values[(first + row) * outputs + column])
        squaredErrors[column] += difference * difference
      }
    }
  }

  /// nil for fewer than two rows.
  var value: Double? {
    guard rows >= 2 else { return nil }
    var sum = 0.0
    for column in 0..<outputs {
      var mean = 0.0
      for row in 0..<rows { mean += Double(values[row * outputs + column]) }
      mean /= Double(rows)
      var spread = 0.0
      for row in 0..<rows {
        let difference = Double(values[row * outputs + column]) - mean
        spread += difference * difference
      }
      sum +=
        spread > 0
        ? 1 - squaredErrors[column] / spread : squaredErrors[column] == 0 ? 1 : 0
    }
    return sum / Double(outputs)
  }
}
