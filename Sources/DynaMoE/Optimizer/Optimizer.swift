import DynaMoEKernels

/// Beyond these a step would leave single precision: the square of a gradient, and what is added to
/// a parameter.
private let largestGradient = 1e18
private let largestRate = 1e6

/// AdamW or SGD over all parameters of a network, and its state.
final class Optimizer {
  /// Neighbouring parameters that are treated alike.
  private struct Run {
    let start: Int
    var count: Int
    let decays: Bool
  }

  let configuration: OptimizerConfiguration
  private let settings: ResolvedOptimizer
  private let parameters: TensorStore
  private let backend: Backend
  /// m of AdamW or the momentum of SGD, and v; laid out as the parameters.
  private let first: Buffer<Float>
  private let second: Buffer<Float>
  private let runs: [Run]
  /// Parameters whose step may follow at once on their gradients, and the runs of all others.
  private var separate: [Range<Int>] = []
  private var otherRuns: [Run]
  /// Steps so far.
  var steps = 0

  init(
    _ configuration: OptimizerConfiguration, parameters: TensorStore, backend: Backend
  ) throws(DynaMoEError) {
    self.configuration = configuration
    let settings = try configuration.resolved()
    self.settings = settings
    self.parameters = parameters
    self.backend = backend
    let hasFirst = settings.kind == .adamw || settings.momentum > 0
    do throws(AllocationError) {
      first = try Buffer(zeroed: hasFirst ? parameters.extent : 0)
      second = try Buffer(zeroed: settings.kind == .adamw ? parameters.extent : 0)
    } catch {
      throw .memory("no memory for the optimizer: \(error)")
    }
    var runs: [Run] = []
    for entry in parameters.entries {
      let decays =
        settings.weightDecay > 0 && (settings.decayAll || entry.specification.decays)
      // The padding between tensors is zero with zero gradient and stays so.
      if let last = runs.last, last.decays == decays {
        runs[runs.count - 1].count = entry.offset + entry.count - last.start
      } else {
        runs.append(Run(start: entry.offset, count: entry.count, decays: decays))
      }
    }
    self.runs = runs
    otherRuns = runs
  }

  // MARK: - Separate steps

  /// Whether a parameter's step needs no gradient but its own.
  var isSeparable: Bool { settings.clip == nil }

  /// Names the weights whose step may follow at once on their gradients: matrices that decay.
  func separate(_ ranges: [Range<Int>]) {
    separate = ranges.sorted { $0.lowerBound < $1.lowerBound }
    otherRuns = []
    var next = 0
    for run in runs {
      var start = run.start
      let end = run.start + run.count
      while next < separate.count, separate[next].lowerBound < end {
        let range = separate[next]
        if range.lowerBound > start {
          otherRuns.append(Run(start: start, count: range.lowerBound - start, decays: run.decays))
        }
        start = range.upperBound
        next += 1
      }
      if start < end { otherRuns.append(Run(start: start, count: end - start, decays: run.decays)) }
    }
  }

  func zeroSeparateGradients() {
    let start = Profile.begin()
    defer { Profile.end(.optimizer, start) }
    for range in separate {
      backend.fill(parameters.gradientBase + range.lowerBound, with: 0, count: range.count)
    }
  }

  func zeroOtherGradients() {
    let start = Profile.begin()
    defer { Profile.end(.optimizer, start) }
    for run in otherRuns {
      backend.fill(parameters.gradientBase + run.start, with: 0, count: run.count)
    }
  }

  /// Throws when the gradient of one of the other parameters is not finite or too large; those of the
  /// separate weights count as 0 or are so.
  func checkOtherGradients() throws(DynaMoEError) {
    let start = Profile.begin()
    defer { Profile.end(.check, start) }
    var sum = 0.0
    for run in otherRuns {
      sum += backend.sumOfSquares(parameters.gradientBase + run.start, run.count)
    }
    if !(sum.squareRoot() <= largestGradient) { try checkGradients(scale: 1) }
  }

  /// Whether a step can be made with gradients up to `bound`.
  static func allows(_ bound: Double) -> Bool { bound <= largestGradient }

  /// Begins a step and returns that of the separate weights.
  func beginSeparateStep(learningRate: Double) -> ParameterStep {
    steps += 1
    return parameterStep(learningRate, gradientScale: 1, decays: true)
  }

  func finishSeparateStep(learningRate: Double) {
    apply(otherRuns, learningRate, gradientScale: 1)
  }

  // MARK: - Whole steps

  /// The factor of all gradients: min(1, clip / (global norm + 1e-6)).
  ///
  /// Throws when a gradient is not finite, or so large that its square would not be.
  func gradientScale() throws(DynaMoEError) -> Float {
    let start = Profile.begin()
    defer { Profile.end(.check, start) }
    let norm = backend.sumOfSquares(parameters.gradientBase, parameters.extent).squareRoot()
    let clip = norm.isFinite ? settings.clip : nil
    let scale = clip.map { Float(min(1, $0 / (norm + 1e-6))) } ?? 1
    if !(norm * Double(scale) <= largestGradient) { try checkGradients(scale: scale) }
    return scale
  }

  /// Throws when a gradient is not finite or too large, and names it.
  private func checkGradients(scale: Float) throws(DynaMoEError) {
    for (index, entry) in parameters.entries.enumerated() {
      let bad = parameters.gradient(index)?.first {
        !(Double($0.magnitude) * Double(scale) <= largestGradient)
      }
      guard let bad else { continue }
      throw .failed(
        "the gradient of \(entry.specification.name) has \(bad), allowed: finite, at most \(largestGradient); no parameter was changed"
      )
    }
  }

  /// The learning rate of the next step.
  func learningRate(override: Double?) throws(DynaMoEError) -> Double {
    let rate = override ?? configuration.learningRate(step: steps + 1)
    guard rate >= 0, rate <= largestRate else {
      throw .argument("learning rate is \(rate), allowed: 0 to \(largestRate)")
    }
    return rate
  }

  func apply(learningRate: Double, gradientScale: Float) {
    steps += 1
    apply(runs, learningRate, gradientScale: gradientScale)
  }

  private func apply(_ runs: [Run], _ learningRate: Double, gradientScale: Float) {
    let start = Profile.begin()
    defer { Profile.end(.optimizer, start) }
    for run in runs {
      let step = parameterStep(learningRate, gradientScale: gradientScale, decays: run.decays)
      backend.step(
        step.advanced(by: run.start), parameters.gradientBase + run.start, count: run.count)
    }
  }

  /// The current step of all parameters, as if all did or did not decay.
  private func parameterStep(
    _ learningRate: Double, gradientScale: Float, decays: Bool
  ) -> ParameterStep {
    let decay = decays ? settings.weightDecay : 0
    switch settings.kind {
    case .adamw:
      return .adamw(
        parameters.base, first.base, second.base,
        AdamWStep(
          lr: learningRate, beta1: settings.beta1, beta2: settings.beta2, eps: settings.eps,
          decay: decay, step: steps, gradientScale: gradientScale))
    case .sgd:
      return .sgd(
        parameters.base, momentum: first.capacity > 0 ? first.base : nil,
        SGDStep(
          lr: learningRate, momentum: settings.momentum, decay: decay,
          nesterov: settings.nesterov, first: steps == 1, gradientScale: gradientScale))
    }
  }

  typealias StateTensor = (
    name: String, shape: [Int], values: UnsafeMutableBufferPointer<Float>
  )

  /// The state of each parameter as tensors of a file, `optimizer.m.{name}` and so on; none before
  /// the first step.
  var stateTensors: [StateTensor] {
    guard steps > 0, first.capacity > 0 else { return [] }
    return settings.kind == .adamw
      ? tensors("m", first.base) + tensors("v", second.base) : tensors("momentum", first.base)
  }

  private func tensors(_ state: String, _ base: UnsafeMutablePointer<Float>) -> [StateTensor] {
    parameters.entries.map { entry in
      (
        "optimizer.\(state).\(entry.specification.name)", entry.specification.shape,
        UnsafeMutableBufferPointer(start: base + entry.offset, count: entry.count)
      )
    }
  }
}
