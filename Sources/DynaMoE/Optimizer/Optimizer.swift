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
  }

  /// The factor of all gradients: min(1, clip / (global norm + 1e-6)).
  ///
  /// Throws when a gradient is not finite, or so large that its square would not be.
  func gradientScale() throws(DynaMoEError) -> Float {
    let norm = backend.sumOfSquares(parameters.gradientBase, parameters.extent).squareRoot()
    let clip = norm.isFinite ? settings.clip : nil
    let scale = clip.map { Float(min(1, $0 / (norm + 1e-6))) } ?? 1
    guard norm * Double(scale) <= largestGradient else {
      for (index, entry) in parameters.entries.enumerated() {
        let bad = parameters.gradient(index)?.first {
          !(Double($0.magnitude) * Double(scale) <= largestGradient)
        }
        guard let bad else { continue }
        throw .failed(
          "the gradient of \(entry.specification.name) has \(bad), allowed: finite, at most \(largestGradient); nothing was changed"
        )
      }
      return scale
    }
    return scale
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
    for run in runs {
      let w = parameters.base + run.start
      let g = parameters.gradientBase + run.start
      let decay = run.decays ? settings.weightDecay : 0
      switch settings.kind {
      case .adamw:
        backend.adamw(
          w, g, first.base + run.start, second.base + run.start, count: run.count,
          AdamWStep(
            lr: learningRate, beta1: settings.beta1, beta2: settings.beta2, eps: settings.eps,
            decay: decay, step: steps, gradientScale: gradientScale))
      case .sgd:
        backend.sgd(
          w, g, momentum: first.capacity > 0 ? first.base + run.start : nil, count: run.count,
          SGDStep(
            lr: learningRate, momentum: settings.momentum, decay: decay,
            nesterov: settings.nesterov, first: steps == 1, gradientScale: gradientScale))
      }
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
