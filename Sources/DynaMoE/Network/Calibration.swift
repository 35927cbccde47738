import DynaMoEKernels

extension RoutedNetwork {
  /// One target for each layer, each of a kind with stored thresholds and within its limits.
  func checkCalibration(_ targets: [Double]) throws(DynaMoEError) {
    guard targets.count == layers.count else {
      throw .argument(
        "target_active has \(targets.count) values, allowed: one per layer = \(layers.count)")
    }
    for (layer, target) in zip(layers, targets) {
      let settings = layer.router.settings
      guard settings.kind == .threshold || settings.kind == .expertThreshold else {
        throw .argument(
          "layer \(layer.index) has a router of kind \(settings.kind.rawValue), allowed to calibrate: threshold, expert_threshold"
        )
      }
      let most = min(layer.expertCount, settings.maxActive)
      guard target >= Double(settings.minActive), target <= Double(most) else {
        throw .argument(
          "target_active of layer \(layer.index) is \(target), allowed: \(settings.minActive) (min_active) to \(most) (experts, max_active)"
        )
      }
    }
  }
}

extension Model {
  /// Sets the stored thresholds, layer by layer, each on the output of its calibrated predecessor,
  /// so that the rows route with the mean K of `targetActive [L]`; later training moves them on.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)`` naming the layer for a router without stored
  ///   thresholds or a target outside `minActive` to `min(N, maxActive)`; also for no rows.
  ///   ``DynaMoEError/busy(_:)`` while a session evaluates.
  public func calibrate(_ input: Input, targetActive: [Double]) throws(DynaMoEError) {
    let rows = input.rows
    let source = try checkInput(input)
    try checkCalibration(targetActive)
    guard let source else { throw .argument("rows is 0, allowed to calibrate: at least 1") }
    try changes.beginChange()
    defer { changes.endChange() }
    let before = storage.buffers.snapshot()
    do throws(DynaMoEError) {
      let isFinite = try withMemory(for: "a calibration on \(rows) rows") {
        () throws(AllocationError) in
        try calibrateBlocks(source, rows: rows, targetActive)
      }
      guard isFinite else {
        throw .failed(
          "the hidden rows are not finite: parameters or input have grown too large; nothing was changed"
        )
      }
    } catch {
      storage.buffers.restore(before)
      throw error
    }
  }

  /// Returns whether all hidden rows were finite.
  private func calibrateBlocks(
    _ source: RowSource, rows: Int, _ targets: [Double]
  ) throws(AllocationError) -> Bool {
    let hidden = try Buffer<Float>(uninitialized: rows * width)
    let chunk = min(rows, evaluation.chunkRows)
    try evaluation.reserve(rows: chunk, width: width, experts: mostExperts)
    for first in stride(from: 0, to: rows, by: chunk) {
      input.forward(
        source.advanced(first, inputs: input.inputs), rows: min(chunk, rows - first),
        into: hidden.base + first * width)
    }
    for index in blocks.indices {
      let scores = try SelectionScores(rows: rows, experts: layers[index].expertCount)
      for first in stride(from: 0, to: rows, by: chunk) {
        let count = min(chunk, rows - first)
        let x = try blocks[index].norm.normalise(
          hidden.base + first * width, rows: count, into: evaluation.normalised.base,
          &evaluation.norm)
        try scores.fill(
          x, first: first, rows: count, layers[index].router, &evaluation.layer.routing)
        guard evaluation.layer.routing.isFinite else { return false }
      }
      try layers[index].router.calibrate(scores, rows: rows, targetActive: targets[index])
      for first in stride(from: 0, to: rows, by: chunk) {
        try evaluateBlock(
          index, hidden.base + first * width, rows: min(chunk, rows - first), firstRow: nil,
          evaluation)
        guard evaluation.layer.routing.isFinite else { return false }
      }
    }
    return backend.isFinite(hidden.base, rows * width)
  }
}
