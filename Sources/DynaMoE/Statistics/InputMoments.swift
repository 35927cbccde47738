import DynaMoEKernels

/// Mean and covariance of the rows that a layer reads, as they come in.
///
/// Each forward is centred on its own mean and then merged (Chan, Golub, LeVeque, "Updating
/// formulae and a pairwise algorithm for computing sample variances", 1979), so that a large mean
/// costs no precision.
final class InputMoments {
  private let width: Int
  private var rows = 0
  /// [D], and Σ (x - mean)(x - mean)ᵀ [D, D]
  private let mean: Buffer<Double>
  private let products: Buffer<Double>
  private let batchMean: Buffer<Double>
  private let batchProducts: Buffer<Float>
  private var centred = Buffer<Float>()

  init(width: Int) throws(AllocationError) {
    self.width = width
    mean = try Buffer(zeroed: width)
    products = try Buffer(zeroed: width * width)
    batchMean = try Buffer(zeroed: width)
    batchProducts = try Buffer(zeroed: width * width)
  }

  func reset() {
    rows = 0
    mean.base.update(repeating: 0, count: width)
    products.base.update(repeating: 0, count: width * width)
  }

  /// Adds x [count, D].
  func add(
    _ x: UnsafePointer<Float>, rows count: Int, _ backend: Backend
  ) throws(AllocationError) {
    let d = width
    try centred.reserve(count * d)
    let batch = batchMean.base
    let centred = centred.base
    backend.pool.forRanges(d, grain: 16) { range in
      for column in range {
        var sum = 0.0
        for row in 0..<count { sum += Double(x[row * d + column]) }
        batch[column] = sum / Double(count)
      }
    }
    backend.pool.forRanges(count, grain: 64) { range in
      for row in range {
        for column in 0..<d {
          centred[row * d + column] = Float(Double(x[row * d + column]) - batch[column])
        }
      }
    }
    RowGroups.withAll(rows: count) { groups in
      backend.gradientProduct(
        groups, centred, outputs: d, centred, inputs: d, into: batchProducts.base, bias: nil,
        accumulate: false)
    }
    merge(count, batch) { Double(self.batchProducts.base[$0]) }
  }

  func add(_ other: InputMoments) {
    guard other.rows > 0 else { return }
    merge(other.rows, other.mean.base) { other.products.base[$0] }
  }

  private func merge(
    _ count: Int, _ otherMean: UnsafePointer<Double>, _ otherProduct: (Int) -> Double
  ) {
    let d = width
    let total = rows + count
    let factor = Double(rows) * Double(count) / Double(total)
    let mean = mean.base
    let products = products.base
    for i in 0..<d {
      let difference = otherMean[i] - mean[i]
      for j in 0..<d {
        products[i * d + j] +=
          otherProduct(i * d + j) + factor * difference * (otherMean[j] - mean[j])
      }
    }
    for i in 0..<d { mean[i] += (otherMean[i] - mean[i]) * Double(count) / Double(total) }
    rows = total
  }

  /// (tr C)²/tr C² of the covariance C; 0 if C = 0.
  var participation: Double {
    var trace = 0.0
    var squares = 0.0
    for i in 0..<width {
      trace += products.base[i * width + i]
      for j in 0..<width {
        let product = products.base[i * width + j]
        squares += product * product
      }
    }
    return squares > 0 ? trace * trace / squares : 0
  }
}
