import DynaMoE
import Glibc

/// Mean 0 and standard deviation 1 for every column while a model trains; afterwards the model's own
/// first and last map take it over, so that the model reads and gives the data's own units.
struct Standardization {
  private let mean: [Double]
  /// 1/σ; 0 for a column that is constant, which carries nothing.
  private let scale: [Double]
  private let targetMean: [Double]
  private let targetDeviation: [Double]
  /// Columns that vary, but by less than single precision holds beside their mean: they count as
  /// constant.
  let unresolved: [Int]

  init(_ table: Table) {
    let (mean, deviation) = Self.moments(table.x, columns: table.columns)
    let least = mean.map { Self.resolution * abs($0) }
    self.mean = mean
    scale = zip(deviation, least).map { $0 > $1 ? 1 / $0 : 0 }
    unresolved = mean.indices.filter { deviation[$0] > 0 && deviation[$0] <= least[$0] }
    if case .values(let values, let columns) = table.targets {
      let (mean, deviation) = Self.moments(values, columns: columns)
      targetMean = mean
      targetDeviation = deviation.map { $0 > 0 ? $0 : 1 }
    } else {
      targetMean = []
      targetDeviation = []
    }
  }

  /// Of a standard deviation beside the mean, so that the map in f32 still tells values apart.
  private static let resolution = 1e-6

  private static func moments(_ values: [Float], columns: Int) -> ([Double], [Double]) {
    let rows = values.count / columns
    var mean = [Double](repeating: 0, count: columns)
    var variance = mean
    for index in values.indices { mean[index % columns] += Double(values[index]) }
    for column in 0..<columns { mean[column] /= Double(rows) }
    for index in values.indices {
      let difference = Double(values[index]) - mean[index % columns]
      variance[index % columns] += difference * difference
    }
    return (mean, variance.map { ($0 / Double(rows)).squareRoot() })
  }

  func applied(to table: Table) -> Table {
    var result = table
    for index in result.x.indices {
      let column = index % table.columns
      result.x[index] = Float((Double(table.x[index]) - mean[column]) * scale[column])
    }
    if case .values(var values, let columns) = table.targets, columns == targetMean.count {
      for index in values.indices {
        let column = index % columns
        values[index] = Float(
          (Double(values[index]) - targetMean[column]) / targetDeviation[column])
      }
      result.targets = .values(values, columns: columns)
    }
    return result
  }

  /// W ← W/σ and b ← b - W·μ/σ of the input, and of a regression W ← σW, b ← σb + μ of the head.
  func fold(into model: Model) throws {
    try change(model, "input") { weight, bias in
      for output in bias.indices {
        for (column, mean) in mean.enumerated() {
          let index = output * self.mean.count + column
          weight[index] *= scale[column]
          bias[output] -= weight[index] * mean
        }
      }
    }
    guard !targetMean.isEmpty else { return }
    try change(model, "head") { weight, bias in
      let width = weight.count / bias.count
      for output in bias.indices {
        for index in output * width..<(output + 1) * width {
          weight[index] *= targetDeviation[output]
        }
        bias[output] = bias[output] * targetDeviation[output] + targetMean[output]
      }
    }
  }

  /// In f64, rounded once.
  private func change(
    _ model: Model, _ name: String, _ body: (inout [Double], inout [Double]) -> Void
  ) throws {
    var weight = try model.parameterValues("\(name).weight").map { Double($0) }
    var bias = try model.parameterValues("\(name).bias").map { Double($0) }
    body(&weight, &bias)
    try set(model, "\(name).weight", weight)
    try set(model, "\(name).bias", bias)
  }

  private func set(_ model: Model, _ name: String, _ values: [Double]) throws {
    try values.map { Float($0) }.withUnsafeBufferPointer { try model.setParameter(name, $0) }
  }
}
