import DynaMoEKernels

/// What one forward through a layer computes, kept for its backward.
final class LayerPass {
  var routing = RoutingPass()
  var dispatch = Dispatch()
  var activations = ExpertActivations()
  var sharedDispatch = Dispatch()
  var sharedActivations = ExpertActivations()
  /// λ at the time of a training forward: its losses keep it when a step has moved the router's.
  var sparsity = 0.0
}

/// Memory of a backward, shared by all layers of a network.
final class LayerScratch {
  /// dL/dx of every pair [P, D], and of those with shared experts
  var pairs = Buffer<Float>()
  var sharedPairs = Buffer<Float>()
  /// dL/dw of each pair [P]
  var weightGradient = Buffer<Float>()
  /// dL/dz [T, N]
  var logitGradient = Buffer<Float>()
}

/// One layer: y_t = Σ_{e∈A_t} w_te · E_e(x_t) + Σ_j S_j(x_t).
///
/// T rows, D width, N experts, J shared experts, P pairs of a row and an active expert.
final class RoutedLayer {
  let index: Int
  let width: Int
  let router: Router
  let experts: ExpertBank
  let shared: ExpertBank?
  /// Of the network's own forwards.
  let statistics: LayerStatistics
  private let backend: Backend

  init(
    _ layer: ResolvedLayer, index: Int, width: Int, sharedExperts: Int, activation: Activation,
    prefix: String, parameters: TensorStore, buffers: TensorStore, matrices: MatrixRegistry
  ) throws(DynaMoEError) {
    self.index = index
    self.width = width
    backend = matrices.backend
    router = try Router(
      settings: layer.router, layer: index, width: width, experts: layer.experts, prefix: prefix,
      parameters: parameters, buffers: buffers, matrices: matrices)
    experts = try ExpertBank(
      prefix: prefix + "experts.", count: layer.experts, width: width, hidden: layer.hidden,
      activation: activation, parameters: parameters, matrices: matrices)
    shared =
      sharedExperts == 0
      ? nil
      : try ExpertBank(
        prefix: prefix + "shared.", count: sharedExperts, width: width, hidden: layer.hidden,
        activation: activation, parameters: parameters, matrices: matrices)
    statistics = try LayerStatistics(layer: index, experts: layer.experts)
  }

  var expertCount: Int { router.experts }

  /// Places of the experts' weights among all parameters.
  var weightRanges: [Range<Int>] { experts.weightRanges + (shared?.weightRanges ?? []) }

  /// Most pairs that `rows` rows can have.
  private func mostPairs(_ rows: Int) -> Int { rows * router.settings.maxActive }

  // MARK: - Forward

  /// y [T, D] of x [T, D], plus `base [T, D]` if given, which may be y itself; x is added to
  /// `moments`. Without `training` nothing of the layer itself changes.
  func forward(
    _ x: UnsafePointer<Float>, rows: Int, training: TrainingMoment?, base: UnsafePointer<Float>?,
    into y: UnsafeMutablePointer<Float>, _ pass: LayerPass, moments: InputMoments?,
    active: UnsafeMutablePointer<UInt8>, weights: UnsafeMutablePointer<Float>
  ) throws(AllocationError) {
    try router.forward(
      x, rows: rows, training: training, &pass.routing, active: active, weights: weights)
    var start = Profile.begin()
    try pass.dispatch.build(
      active: active, rows: rows, experts: expertCount, mostActive: router.settings.maxActive)
    Profile.end(.dispatch, start)
    start = Profile.begin()
    try experts.forward(
      x, groups: pass.dispatch.gathered, pairs: pass.dispatch.pairs, mostPairs: mostPairs(rows),
      isTraining: training != nil, &pass.activations)
    if let shared {
      try pass.sharedDispatch.buildAll(rows: rows, experts: shared.count)
      let pairs = rows * shared.count
      try shared.forward(
        x, groups: pass.sharedDispatch.gathered, pairs: pairs, mostPairs: pairs,
        isTraining: training != nil, &pass.sharedActivations)
    }
    Profile.end(.expertsForward, start, flops: flops(rows: rows, pass))
    pass.sparsity = router.sparsityCoefficient
    if let moments {
      if training != nil { moments.reset() }
      try moments.add(x, rows: rows, backend)
    }
    start = Profile.begin()
    combine(rows: rows, weights: weights, base: base, pass, into: y)
    Profile.end(.combine, start)
  }

  /// Of one product with every matrix of the experts, 2 per multiply-add.
  private func flops(rows: Int, _ pass: LayerPass) -> Double {
    let pairs = Double(pass.dispatch.pairs) * experts.multiplyAddsPerRow
    let sharedPairs = Double(rows * (shared?.count ?? 0)) * (shared?.multiplyAddsPerRow ?? 0)
    return 2 * (pairs + sharedPairs)
  }

  /// Sums in the order base, experts, shared experts.
  private func combine(
    rows: Int, weights: UnsafePointer<Float>, base: UnsafePointer<Float>?, _ pass: LayerPass,
    into y: UnsafeMutablePointer<Float>
  ) {
    let first = pass.dispatch.firstOfRow
    let pairOfRow = pass.dispatch.pairOfRow
    let expertOfRow = pass.dispatch.expertOfRow
    let output = pass.activations.output.base
    let sharedOutput = pass.sharedActivations.output.base
    let sharedCount = shared?.count ?? 0
    let n = expertCount
    let d = width
    let backend = backend
    backend.pool.forRanges(rows, grain: 32) { range in
      for row in range {
        let yRow = y + row * d
        if let base {
          if base != UnsafePointer(y) { yRow.update(from: base + row * d, count: d) }
        } else {
          yRow.update(repeating: 0, count: d)
        }
        for index in Int(first[row])..<Int(first[row + 1]) {
          backend.addScaled(
            output + Int(pairOfRow[index]) * d, by: weights[row * n + Int(expertOfRow[index])],
            to: yRow, d)
        }
        for j in 0..<sharedCount {
          backend.add(sharedOutput + (j * rows + row) * d, to: yRow, d)
        }
      }
    }
  }

  // MARK: - Backward

  /// Room for the backward of `pass`.
  func reserve(_ scratch: LayerScratch, rows: Int, _ pass: LayerPass) throws(AllocationError) {
    let pairs = pass.dispatch.pairs
    try scratch.pairs.reservePairs(pairs, most: mostPairs(rows), stride: width)
    try scratch.weightGradient.reservePairs(pairs, most: mostPairs(rows), stride: 1)
    try scratch.logitGradient.reserve(rows * expertCount)
    if let shared { try scratch.sharedPairs.reserve(rows * shared.count * width) }
  }

  /// From dL/dy [T, D]: adds to the gradients of the router's parameters, writes dL/dx [T, D] if that
  /// is wanted. Those of the experts follow with `weightGradients`.
  func backward(
    _ x: UnsafePointer<Float>, rows: Int, outputGradient dy: UnsafePointer<Float>,
    losses: LossConfiguration, _ pass: LayerPass, _ record: RoutingRecord,
    _ scratch: LayerScratch, into dx: UnsafeMutablePointer<Float>?
  ) {
    var start = Profile.begin()
    spread(dy, rows: rows, pass, record, scratch)
    Profile.end(.spread, start)
    start = Profile.begin()
    experts.backward(
      groups: pass.dispatch.gathered, pass.activations,
      into: dx == nil ? nil : scratch.pairs.base)
    shared?.backward(
      groups: pass.sharedDispatch.gathered, pass.sharedActivations,
      into: dx == nil ? nil : scratch.sharedPairs.base)
    Profile.end(.expertsInputGradient, start, flops: flops(rows: rows, pass))
    start = Profile.begin()
    router.backward(
      x, pass.routing,
      RouterBackward(
        rows: rows, offsets: pass.dispatch.offsets, firstOfRow: pass.dispatch.firstOfRow,
        pairOfRow: pass.dispatch.pairOfRow, rowOfPair: pass.dispatch.rowOfPair,
        active: record.active, weights: record.weights,
        weightGradient: scratch.weightGradient.base,
        auxiliary: router.auxiliaryGradients(losses, sparsity: pass.sparsity, rows: rows)),
      logitGradient: scratch.logitGradient.base, into: dx)
    Profile.end(.routerGradient, start, flops: 4 * Double(rows * expertCount) * Double(width))
    guard let dx else { return }
    start = Profile.begin()
    gather(rows: rows, pass, scratch, into: dx)
    Profile.end(.gather, start)
  }

  /// The gradients of the experts' weights and biases, after `backward`.
  func weightGradients(_ x: UnsafePointer<Float>, _ pass: LayerPass, _ use: GradientUse) {
    let start = Profile.begin()
    experts.weightGradients(x, groups: pass.dispatch.gathered, pass.activations, use)
    shared?.weightGradients(x, groups: pass.sharedDispatch.gathered, pass.sharedActivations, use)
    Profile.end(
      .expertsWeightGradient, start, flops: flops(rows: pass.sharedDispatch.rows, pass))
  }

  /// No gradient of the experts' weights and biases is larger; see `ExpertBank`.
  func gradientBound(_ x: UnsafePointer<Float>, rows: Int, _ pass: LayerPass) -> Double {
    let input = backend.largestMagnitude(x, rows * width)
    let bound = experts.gradientBound(
      largestInput: input, groups: pass.dispatch.gathered, pass.activations)
    guard let shared else { return bound }
    return max(
      bound,
      shared.gradientBound(
        largestInput: input, groups: pass.sharedDispatch.gathered, pass.sharedActivations))
  }

  /// dL/dE_p = w_p dy, in the place of E_p, and dL/dw_p = dy · E_p of every pair p; dL/dS = dy of the
  /// shared.
  private func spread(
    _ dy: UnsafePointer<Float>, rows: Int, _ pass: LayerPass, _ record: RoutingRecord,
    _ scratch: LayerScratch
  ) {
    let first = pass.dispatch.firstOfRow
    let pairOfRow = pass.dispatch.pairOfRow
    let expertOfRow = pass.dispatch.expertOfRow
    let output = pass.activations.output.base
    let weights = record.weights
    let weightGradient = scratch.weightGradient.base
    let sharedOutput = pass.sharedActivations.output.base
    let sharedCount = shared?.count ?? 0
    let n = expertCount
    let d = width
    let backend = backend
    backend.pool.forRanges(rows, grain: 32) { range in
      for row in range {
        let gradient = dy + row * d
        for index in Int(first[row])..<Int(first[row + 1]) {
          let pair = Int(pairOfRow[index])
          weightGradient[pair] = backend.dot(gradient, output + pair * d, d)
          backend.scale(
            gradient, by: weights[row * n + Int(expertOfRow[index])], into: output + pair * d, d)
        }
        for j in 0..<sharedCount {
          (sharedOutput + (j * rows + row) * d).update(from: gradient, count: d)
        }
      }
    }
  }

  /// Adds dL/dx of the pairs to that of the router, in the order of the experts, then of the
  /// shared.
  private func gather(
    rows: Int, _ pass: LayerPass, _ scratch: LayerScratch, into dx: UnsafeMutablePointer<Float>
  ) {
    let first = pass.dispatch.firstOfRow
    let pairOfRow = pass.dispatch.pairOfRow
    let pairs = scratch.pairs.base
    let sharedPairs = scratch.sharedPairs.base
    let sharedCount = shared?.count ?? 0
    let d = width
    let backend = backend
    backend.pool.forRanges(rows, grain: 32) { range in
      for row in range {
        let dxRow = dx + row * d
        for index in Int(first[row])..<Int(first[row + 1]) {
          backend.add(pairs + Int(pairOfRow[index]) * d, to: dxRow, d)
        }
        for j in 0..<sharedCount {
          backend.add(sharedPairs + (j * rows + row) * d, to: dxRow, d)
        }
      }
    }
  }

  // MARK: - After a forward

  /// What a training forward changes once it has succeeded: stored thresholds, counts, statistics.
  func commit(_ pass: LayerPass, _ record: RoutingRecord, rows: Int) {
    let start = Profile.begin()
    defer { Profile.end(.statistics, start) }
    router.followThresholds(pass.routing)
    router.countForControl(expertOffsets: pass.dispatch.offsets, rows: rows)
    statistics.counters.add(pass.dispatch, pass.routing, weights: record.weights)
    statistics.commitInputMoments()
  }

  /// Refuses a forward whose scores are not numbers, which its output need not show.
  func checkFinite(_ pass: LayerPass) throws(DynaMoEError) {
    guard pass.routing.isFinite else {
      throw .failed(
        "the router's logits in layer \(index) are not finite: parameters or input have grown too large; nothing was changed"
      )
    }
  }

  /// Mean K: measured since the last reset, before any row what the router aims at.
  var meanActive: Double { statistics.counters.meanActive ?? router.expectedActive }
}

extension Router {
  /// Mean K that the settings aim at; N for kinds that say nothing of it.
  var expectedActive: Double {
    let n = Double(experts)
    let free: Double =
      switch settings.kind {
      case .topK: Double(settings.k)
      case .percentile: n - 1 - (settings.percentile * (n - 1)).rounded(.down)
      case .threshold, .expertThreshold, .topP, .relu: settings.targetActive ?? n
      case .topAny, .dense: n
      }
    return min(max(free, Double(settings.minActive)), Double(settings.maxActive))
  }
}
