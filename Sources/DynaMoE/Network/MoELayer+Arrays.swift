// The verbs of a single layer for arrays.

extension MoELayer {
  /// y [T · D] of x [T · D]; see ``forward(_:rows:training:into:)``.
  public func forward(_ x: [Float], training: Bool = false) throws(DynaMoEError) -> [Float] {
    let rows = try rows(of: x)
    return try borrowing(x) { x throws(DynaMoEError) in
      try filled(rows: rows, outputs: configuration.width) { y throws(DynaMoEError) in
        try forward(x, rows: rows, training: training, into: y)
      }
    }
  }

  /// dL/dx [T · D] from dL/dy [T · D] of the rows of the latest training forward; adds to the
  /// gradients, see ``backward(_:inputGradient:)``.
  @discardableResult
  public func backward(_ outputGradient: [Float]) throws(DynaMoEError) -> [Float] {
    let rows = pendingRows ?? 0
    return try borrowing(outputGradient) { outputGradient throws(DynaMoEError) in
      try filled(rows: rows, outputs: configuration.width) { inputGradient throws(DynaMoEError) in
        try backward(outputGradient, inputGradient: inputGradient)
      }
    }
  }

  /// dL/dx [T · D] from dL/dy [T · D] of the rows of the latest training forward, and a step with gradients from zero; see
  /// ``backwardStep(_:inputGradient:learningRate:)``.
  @discardableResult
  public func backwardStep(
    _ outputGradient: [Float], learningRate: Double? = nil
  ) throws(DynaMoEError) -> [Float] {
    let rows = pendingRows ?? 0
    return try borrowing(outputGradient) { outputGradient throws(DynaMoEError) in
      try filled(rows: rows, outputs: configuration.width) { inputGradient throws(DynaMoEError) in
        try backwardStep(
          outputGradient, inputGradient: inputGradient, learningRate: learningRate)
      }
    }
  }

  /// Sets the stored thresholds so that x [T · D] routes with a mean K of `targetActive`; see
  /// ``calibrate(_:rows:targetActive:)``.
  public func calibrate(_ x: [Float], targetActive: Double) throws(DynaMoEError) {
    let rows = try rows(of: x)
    try borrowing(x) { x throws(DynaMoEError) in
      try calibrate(x, rows: rows, targetActive: targetActive)
    }
  }

  private func rows(of x: [Float]) throws(DynaMoEError) -> Int {
    let width = configuration.width
    guard x.count % width == 0 else {
      throw .argument("x has \(x.count) values, allowed: a multiple of width = \(width)")
    }
    return x.count / width
  }
}
