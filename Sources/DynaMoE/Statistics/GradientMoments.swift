import DynaMoEKernels

/// Mean and variance of each element's gradient over micro-batches (Welford, "Note on a method for
/// calculating corrected sums of squares and products", Technometrics 4, 1962).
///
/// A micro-batch's own gradient is what its backward added, so that the gradients have the same
/// bits with and without.
final class GradientMoments {
  private let parameters: TensorStore
  /// The gradients before the running backward, and of the micro-batches the mean and Σ (g -
  /// mean)².
  private let before: Buffer<Float>
  private let mean: Buffer<Float>
  private let squares: Buffer<Float>
  /// Micro-batches since the last reset.
  private(set) var count = 0

  init(_ parameters: TensorStore) throws(AllocationError) {
    self.parameters = parameters
    before = try Buffer(zeroed: parameters.extent)
    mean = try Buffer(zeroed: parameters.extent)
    squares = try Buffer(zeroed: parameters.extent)
  }

  func reset() { count = 0 }

  /// Before a backward adds to the gradients.
  func begin(_ backend: Backend) {
    let gradient = parameters.gradientBase
    let before = before.base
    backend.pool.forRanges(parameters.extent, grain: 1 << 15) { range in
      (before + range.lowerBound).update(from: gradient + range.lowerBound, count: range.count)
    }
  }

  /// After it has.
  func end(_ backend: Backend) {
    count += 1
    let isFirst = count == 1
    let share = 1 / Float(count)
    let gradient = parameters.gradientBase
    let before = before.base
    let mean = mean.base
    let squares = squares.base
    backend.pool.forRanges(parameters.extent, grain: 1 << 15) { range in
      for i in range {
        let own = gradient[i] - before[i]
        let average = isFirst ? 0 : mean[i]
        let difference = own - average
        let moved = average + difference * share
        mean[i] = moved
        squares[i] = isFirst ? 0 : squares[i] + difference * (own - moved)
      }
    }
  }

  /// Mean over the elements of parameter `index` of the variance over the micro-batches.
  func variance(_ index: Int) -> Double {
    let entry = parameters.entries[index]
    var sum = 0.0
    for i in entry.offset..<entry.offset + entry.count { sum += Double(squares.base[i]) }
    return sum / Double(max(count, 1)) / Double(max(entry.count, 1))
  }
}
