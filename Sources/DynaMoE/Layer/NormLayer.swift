import DynaMoEKernels

/// What one forward through a norm keeps for its backward.
struct NormPass: ~Copyable {
  /// mean and 1/deviation of each row [T]
  var mean = Buffer<Float>()
  var inverse = Buffer<Float>()
}

/// `layer`: (x - mean)/√(variance + 1e-5) · weight + bias. `rms`: x/√(mean(x²) + 1e-6) · weight.
final class NormLayer {
  private let kind: Norm
  private let width: Int
  private let weight: UnsafePointer<Float>
  private let bias: UnsafePointer<Float>?
  private let weightGradient: UnsafeMutablePointer<Float>
  private let biasGradient: UnsafeMutablePointer<Float>?
  private let backend: Backend

  /// nil for `none`.
  init?(_ kind: Norm, name: String, width: Int, parameters: TensorStore, backend: Backend) {
    guard kind != .none, let weight = parameters.pointer(name + ".weight"),
      let gradient = parameters.gradientPointer(name + ".weight")
    else { return nil }
    self.kind = kind
    self.width = width
    self.weight = UnsafePointer(weight)
    weightGradient = gradient
    bias = parameters.pointer(name + ".bias").map { UnsafePointer($0) }
    biasGradient = parameters.gradientPointer(name + ".bias")
    self.backend = backend
  }

  /// y [T, D] of x [T, D].
  func forward(
    _ x: UnsafePointer<Float>, rows: Int, into y: UnsafeMutablePointer<Float>,
    _ pass: inout NormPass
  ) throws(AllocationError) {
    try pass.mean.reserve(rows)
    try pass.inverse.reserve(rows)
    let start = Profile.begin()
    defer { Profile.end(.norm, start) }
    let mean = pass.mean.base
    let inverse = pass.inverse.base
    let d = width
    backend.pool.forRanges(rows, grain: 64) { range in
      for row in range {
        if let bias = self.bias {
          (mean[row], inverse[row]) = self.backend.layerNorm(
            x + row * d, d, weight: self.weight, bias: bias, into: y + row * d)
        } else {
          inverse[row] = self.backend.rmsNorm(
            x + row * d, d, weight: self.weight, into: y + row * d)
        }
      }
    }
  }

  /// From dL/dy: adds to the gradients of weight and bias, writes dL/dx, which may not be dL/dy.
  /// `normalised [T, D]` is scratch.
  func backward(
    _ x: UnsafePointer<Float>, rows: Int, outputGradient dy: UnsafePointer<Float>,
    _ pass: borrowing NormPass, normalised: UnsafeMutablePointer<Float>,
    into dx: UnsafeMutablePointer<Float>
  ) {
    let start = Profile.begin()
    defer { Profile.end(.norm, start) }
    let mean = pass.mean.base
    let inverse = pass.inverse.base
    let d = width
    backend.pool.forRanges(rows, grain: 64) { range in
      for row in range {
        let offset = row * d
        if self.bias != nil {
          self.backend.layerNormGradient(
            dy + offset, x + offset, d, weight: self.weight, mean: mean[row], rstd: inverse[row],
            into: dx + offset, normalised: normalised + offset)
        } else {
          self.backend.rmsNormGradient(
            dy + offset, x + offset, d, weight: self.weight, rstd: inverse[row],
            into: dx + offset, normalised: normalised + offset)
        }
      }
    }
    backend.addColumnSums(dy, times: normalised, rows: rows, columns: d, to: weightGradient)
    if let biasGradient {
      backend.addColumnSums(dy, times: nil, rows: rows, columns: d, to: biasGradient)
    }
  }
}

extension Optional where Wrapped == NormLayer {
  /// norm(x) in `y`, or x itself when there is no norm.
  func normalise(
    _ x: UnsafePointer<Float>, rows: Int, into y: UnsafeMutablePointer<Float>,
    _ pass: inout NormPass
  ) throws(AllocationError) -> UnsafePointer<Float> {
    guard let self else { return x }
    try self.forward(x, rows: rows, into: y, &pass)
    return UnsafePointer(y)
  }
}
