import DynaMoEKernels

#if canImport(Glibc)
  import Glibc
#else
  import Musl
#endif

// top_any: z = scale · cos(x, W_e), s = σ(z). Guo et al., "Dynamic Mixture of Experts: An
// Auto-Tuning Approach for Efficient Transformer Models", arXiv 2405.14297, §3.1.

/// Norms below this count as this.
private let leastNorm: Float = 1e-8

extension Router {
  /// Turns the products x·W in `pass.logits` into z; fills scores, logSumExp and entropy.
  func scoreCosine(_ x: UnsafePointer<Float>, rows: Int, _ pass: inout RoutingPass) {
    let n = experts
    let z = pass.logits.base
    let s = pass.scores.base
    let logSumExp = pass.logSumExp.base
    let entropy = pass.entropy.base
    let scratch = pass.scratch.base
    let inputNorms = pass.inputNorms.base
    let weightNorms = pass.weightNorms.base
    let backend = backend
    let width = width
    let scale = Float(settings.scale)
    for e in 0..<n { weightNorms[e] = norm(projection.weight + e * width) }
    backend.pool.forRanges(rows, grain: 32) { range in
      for row in range {
        let zRow = z + row * n
        let sRow = s + row * n
        let inputNorm = self.norm(x + row * width)
        inputNorms[row] = inputNorm
        var sum = 0.0
        for e in 0..<n {
          zRow[e] = scale * (zRow[e] / (inputNorm * weightNorms[e]))
          sRow[e] = 1 / (1 + expf(-zRow[e]))
          sum += Double(sRow[e])
        }
        logSumExp[row] = backend.softmax(
          zRow, n, inverseTemperature: 1, into: scratch + row * n)
        var total = 0.0
        for e in 0..<n {
          let share = Double(sRow[e]) / sum
          if share > 0 { total -= share * log(share) }
        }
        entropy[row] = total
      }
    }
  }

  private func norm(_ row: UnsafePointer<Float>) -> Float {
    max(backend.dot(row, row, width).squareRoot(), leastNorm)
  }

  /// From dL/dz in `logitGradient [T, N]`, which becomes dL/dcos / (‖x‖ ‖W‖): adds to dL/dW, writes
  /// dL/dx.
  ///
  ///     dx_t = Σ_e a_te W_e - (Σ_e dcos_te cos_te) x_t / ‖x_t‖²    a_te = dcos_te / (‖x_t‖ ‖W_e‖)
  ///     dW_e = Σ_t a_te x_t - (Σ_t dcos_te cos_te) W_e / ‖W_e‖²
  ///
  /// A norm that was raised to its least value is a constant.
  func backwardCosine(
    _ x: UnsafePointer<Float>, rows: Int, _ pass: borrowing RoutingPass,
    logitGradient a: UnsafeMutablePointer<Float>, into dx: UnsafeMutablePointer<Float>?
  ) {
    let n = experts
    let width = width
    let z = pass.logits.base
    let inputNorms = pass.inputNorms.base
    let weightNorms = pass.weightNorms.base
    let scale = Float(settings.scale)
    let backend = backend
    // dcos·cos = dz·z: the scale cancels.
    for e in 0..<n where weightNorms[e] > leastNorm {
      var sum = 0.0
      for row in 0..<rows { sum += Double(a[row * n + e]) * Double(z[row * n + e]) }
      let factor = Float(-sum) / (weightNorms[e] * weightNorms[e])
      backend.addScaled(
        projection.weight + e * width, by: factor, to: projection.weightGradient + e * width,
        width)
    }
    let corrections = pass.scratch.base
    backend.pool.forRanges(rows, grain: 64) { range in
      for row in range {
        let gradient = a + row * n
        var sum: Float = 0
        for e in 0..<n {
          sum += gradient[e] * z[row * n + e]
          gradient[e] *= scale / (inputNorms[row] * weightNorms[e])
        }
        let norm = inputNorms[row]
        corrections[row] = norm > leastNorm ? -sum / (norm * norm) : 0
      }
    }
    RowGroups.withAll(rows: rows) { groups in
      projection.weightGradients(groups, outputGradient: a, x)
      if let dx { projection.inputGradient(groups, outputGradient: a, into: dx) }
    }
    guard let dx else { return }
    backend.pool.forRanges(rows, grain: 64) { range in
      for row in range {
        backend.addScaled(x + row * width, by: corrections[row], to: dx + row * width, width)
      }
    }
  }
}
