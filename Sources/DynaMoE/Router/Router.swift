import DynaMoEKernels

#if canImport(Glibc)
  import Glibc
#else
  import Musl
#endif

/// The router of one layer: logits, scores, selection and gate of every kind.
///
/// T rows, D width, N experts; z logits, s scores, u noisy scores, v selection scores, A active
/// set, w weights.
final class Router {
  let settings: ResolvedRouter
  let layer: Int
  let width: Int
  let experts: Int
  let backend: Backend
  let projection: Projection
  /// G [N] (top_any)
  let gates: UnsafePointer<Float>?
  let gateGradient: UnsafeMutablePointer<Float>?
  /// θ̄, one or one per expert
  let storedThresholds: UnsafeMutablePointer<Float>?
  let bias: UnsafeMutablePointer<Float>?
  let control: UnsafeMutablePointer<Float>?
  /// Rows per expert and rows of all training forwards since the last optimizer step.
  var rowsSinceStep = 0
  var expertRowsSinceStep: [Int]

  init(
    settings: ResolvedRouter, layer: Int, width: Int, experts: Int, prefix: String,
    parameters: TensorStore, buffers: TensorStore, matrices: MatrixRegistry
  ) throws(DynaMoEError) {
    self.settings = settings
    self.layer = layer
    self.width = width
    self.experts = experts
    backend = matrices.backend
    projection = try Projection(
      weight: prefix + "router.weight", outputs: experts,
      inputs: width, parameters: parameters, matrices: matrices)
    gates = parameters.pointer(prefix + "router.gates").map { UnsafePointer($0) }
    gateGradient = parameters.gradientPointer(prefix + "router.gates")
    storedThresholds =
      buffers.pointer(prefix + "router.threshold")
      ?? buffers.pointer(prefix + "router.expert_thresholds")
    bias = buffers.pointer(prefix + "router.bias")
    control = buffers.pointer(prefix + "router.control")
    expertRowsSinceStep = Array(repeating: 0, count: experts)
  }

  /// z and s of x [T, D]; in training also noise and the thresholds of this batch. Then A and w of
  /// every row.
  func forward(
    _ x: UnsafePointer<Float>, rows: Int, training: TrainingMoment?, _ pass: inout RoutingPass,
    active: UnsafeMutablePointer<UInt8>, weights: UnsafeMutablePointer<Float>
  ) throws(AllocationError) {
    try reserve(&pass, rows: rows)
    var start = Profile.begin()
    score(x, rows: rows, &pass)
    Profile.end(.router, start, flops: 2 * Double(rows * experts) * Double(width))
    start = Profile.begin()
    select(rows: rows, training: training, &pass, active: active, weights: weights)
    Profile.end(.selection, start)
  }

  func reserve(_ pass: inout RoutingPass, rows: Int) throws(AllocationError) {
    let count = rows * experts
    try pass.logits.reserve(count)
    try pass.scores.reserve(count)
    try pass.logSumExp.reserve(rows)
    try pass.entropy.reserve(rows)
    try pass.limited.reserve(rows)
    try pass.thresholds.reserve(experts)
    try pass.cleanThresholds.reserve(experts)
    try pass.scratch.reserve(count)
    try pass.order.reserve(count)
    if settings.noise > 0 { try pass.noisy.reserve(count) }
    if bias != nil { try pass.selection.reserve(count) }
    if settings.kind == .expertThreshold { try pass.columns.reserve(count) }
    if settings.kind == .topAny {
      try pass.inputNorms.reserve(rows)
      try pass.weightNorms.reserve(experts)
    }
  }

  /// Fills logits, scores, logSumExp and entropy.
  func score(_ x: UnsafePointer<Float>, rows: Int, _ pass: inout RoutingPass) {
    let z = pass.logits.base
    RowGroups.withAll(rows: rows) { projection.forward($0, x, into: z) }
    if settings.kind == .topAny {
      scoreCosine(x, rows: rows, &pass)
    } else {
      scoreSoftmax(rows: rows, &pass)
    }
    pass.isFinite = backend.isFinite(pass.logSumExp.base, rows)
  }

  private func scoreSoftmax(rows: Int, _ pass: inout RoutingPass) {
    let z = pass.logits.base
    let s = pass.scores.base
    let logSumExp = pass.logSumExp.base
    let entropy = pass.entropy.base
    let spare = pass.scratch.base
    let n = experts
    let backend = backend
    let temperature = settings.temperature
    let inverse = Float(1 / temperature)
    backend.pool.forRanges(rows, grain: 64) { range in
      for row in range {
        let zRow = z + row * n
        let sRow = s + row * n
        let tempered = backend.softmax(zRow, n, inverseTemperature: inverse, into: sRow)
        logSumExp[row] =
          temperature == 1
          ? tempered : backend.softmax(zRow, n, inverseTemperature: 1, into: spare + row * n)
        entropy[row] = Self.entropy(zRow, sRow, n, inverseTemperature: Double(inverse))
      }
    }
  }

  /// -Σ s log s = -log s_max - Σ s (z - z_max) / temperature: exact also where scores are all but 0
  /// or 1.
  private static func entropy(
    _ z: UnsafePointer<Float>, _ s: UnsafePointer<Float>, _ n: Int, inverseTemperature: Double
  ) -> Double {
    var largest = 0
    for expert in 1..<max(n, 1) where z[expert] > z[largest] { largest = expert }
    let top = Double(z[largest])
    var sum = -log(Double(s[largest]))
    for expert in 0..<n where s[expert] > 0 {
      sum -= Double(s[expert]) * (Double(z[expert]) - top) * inverseTemperature
    }
    return sum
  }

  /// v of the latest `select`, in its training form when `pass` has noise.
  func selectionScores(_ pass: borrowing RoutingPass) -> UnsafeMutablePointer<Float> {
    pass.hasBias ? pass.selection.base : noisyScores(pass)
  }

  func noisyScores(_ pass: borrowing RoutingPass) -> UnsafeMutablePointer<Float> {
    pass.hasNoise ? pass.noisy.base : pass.scores.base
  }
}

/// When in training a forward happens: what keys the noise.
struct TrainingMoment {
  var seed: UInt64
  /// Training forwards before this one.
  var step: Int
}
