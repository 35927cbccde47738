import DynaMoEKernels

/// What a training forward through a block keeps for its backward.
final class BlockPass {
  /// h [T, D]
  var input = Buffer<Float>()
  /// norm(h) [T, D], when there is a norm
  var normalised = Buffer<Float>()
  var norm = NormPass()
  let layer = LayerPass()
  let record: RoutingRecord

  init(experts: Int) { record = RoutingRecord(experts: experts) }
}

/// Memory of a backward through blocks.
final class BlockScratch {
  let layer = LayerScratch()
  /// dL/d(what the layer reads) [T, D]
  var inputGradient = Buffer<Float>()
  /// [T, D]
  var normalised = Buffer<Float>()
}

/// h ← r·h + MoE(norm(h)), r = 1 with residual connections, else 0.
final class Block {
  let norm: NormLayer?
  let layer: RoutedLayer
  private let hasResidual: Bool
  private let width: Int
  private let backend: Backend

  init(
    _ model: ResolvedModel, index: Int, parameters: TensorStore, buffers: TensorStore,
    matrices: MatrixRegistry
  ) throws(DynaMoEError) {
    let prefix = TensorNames.layerPrefix(index)
    norm = NormLayer(
      model.norm, name: prefix + "norm", width: model.width, parameters: parameters,
      backend: matrices.backend)
    layer = try RoutedLayer(
      model.layers[index], index: index, width: model.width, sharedExperts: model.sharedExperts,
      activation: model.activation, prefix: prefix, parameters: parameters, buffers: buffers,
      matrices: matrices)
    hasResidual = model.residual
    width = model.width
    backend = matrices.backend
  }

  /// From `pass.input`, which the caller has filled, to `next [T, D]`.
  func forward(
    rows: Int, training: TrainingMoment, into next: UnsafeMutablePointer<Float>, _ pass: BlockPass
  ) throws(AllocationError) {
    let h = pass.input.base
    if norm != nil { try pass.normalised.reserve(rows * width) }
    let x = try norm.normalise(h, rows: rows, into: pass.normalised.base, &pass.norm)
    try pass.record.reserve(rows: rows)
    try layer.forward(
      x, rows: rows, training: training, base: hasResidual ? h : nil, into: next, pass.layer,
      moments: layer.statistics.pendingInputMoments, active: pass.record.active,
      weights: pass.record.weights)
  }

  /// h [T, D] is overwritten with the result; the routing goes to `active` and `weights [T, N]`.
  func evaluate(
    _ h: UnsafeMutablePointer<Float>, rows: Int, _ pass: EvaluationPass,
    active: UnsafeMutablePointer<UInt8>, weights: UnsafeMutablePointer<Float>
  ) throws(AllocationError) {
    let x = try norm.normalise(h, rows: rows, into: pass.normalised.base, &pass.norm)
    // The layer has read x before it writes to h.
    try layer.forward(
      x, rows: rows, training: nil, base: hasResidual ? UnsafePointer(h) : nil, into: h,
      pass.layer, moments: pass.statistics[layer.index].pendingInputMoments, active: active,
      weights: weights)
  }

  func reserve(_ scratch: BlockScratch, rows: Int, _ pass: BlockPass) throws(AllocationError) {
    try layer.reserve(scratch.layer, rows: rows, pass.layer)
    try scratch.inputGradient.reserve(rows * width)
    try scratch.normalised.reserve(rows * width)
  }

  /// From dL/dnext to dL/dh [T, D]: adds to the gradients of norm and router; those of the experts
  /// follow with `weightGradients`.
  func backward(
    rows: Int, outputGradient dNext: UnsafePointer<Float>, losses: LossConfiguration,
    _ pass: BlockPass, _ scratch: BlockScratch, into dh: UnsafeMutablePointer<Float>
  ) {
    let dx = norm == nil ? dh : scratch.inputGradient.base
    layer.backward(
      layerInput(pass), rows: rows, outputGradient: dNext, losses: losses, pass.layer,
      pass.record, scratch.layer, into: dx)
    norm?.backward(
      pass.input.base, rows: rows, outputGradient: dx, pass.norm,
      normalised: scratch.normalised.base, into: dh)
    guard hasResidual else { return }
    let start = Profile.begin()
    defer { Profile.end(.residual, start) }
    let d = width
    backend.pool.forRanges(rows, grain: 64) { range in
      backend.add(
        dNext + range.lowerBound * d, to: dh + range.lowerBound * d, range.count * d)
    }
  }

  func weightGradients(_ pass: BlockPass, _ use: GradientUse) {
    layer.weightGradients(layerInput(pass), pass.layer, use)
  }

  func gradientBound(rows: Int, _ pass: BlockPass) -> Double {
    layer.gradientBound(layerInput(pass), rows: rows, pass.layer)
  }

  private func layerInput(_ pass: BlockPass) -> UnsafePointer<Float> {
    UnsafePointer(norm == nil ? pass.input.base : pass.normalised.base)
  }
}
