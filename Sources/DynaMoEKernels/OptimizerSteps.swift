import Glibc

/// Settings of one step of `torch.optim.AdamW` (Loshchilov and Hutter, arXiv 1711.05101, algorithm
/// 2).
public struct AdamWStep: Sendable {
  public var lr: Double
  public var beta1: Double
  public var beta2: Double
  public var eps: Double
  /// Decoupled weight decay, multiplied with `lr`.
  public var decay: Double
  /// 1 for the first step; bias correction.
  public var step: Int
  /// Multiplies the gradient first.
  public var gradientScale: Float

  public init(
    lr: Double = 1e-3, beta1: Double = 0.9, beta2: Double = 0.999, eps: Double = 1e-8,
    decay: Double = 0.01, step: Int, gradientScale: Float = 1
  ) {
    self.lr = lr
    self.beta1 = beta1
    self.beta2 = beta2
    self.eps = eps
    self.decay = decay
    self.step = step
    self.gradientScale = gradientScale
  }
}

/// Settings of one step of `torch.optim.SGD`.
public struct SGDStep: Sendable {
  public var lr: Double
  /// Used only with a momentum buffer.
  public var momentum: Double
  /// L2 penalty, added to the gradient.
  public var decay: Double
  public var nesterov: Bool
  /// True at the first step: the momentum buffer becomes the gradient.
  public var first: Bool
  /// Multiplies the gradient first.
  public var gradientScale: Float

  public init(
    lr: Double, momentum: Double = 0, decay: Double = 0, nesterov: Bool = false,
    first: Bool = false, gradientScale: Float = 1
  ) {
    self.lr = lr
    self.momentum = momentum
    self.decay = decay
    self.nesterov = nesterov
    self.first = first
    self.gradientScale = gradientScale
  }
}

/// One step of an optimizer over elements that lie alike in the parameters `w` and in the
/// optimizer's state; in f32.
public struct ParameterStep {
  private enum Rule {
    case adamw(
      gradientScale: Float, keep: Float, beta1: Double, beta2: Double, stepSize: Float,
      correction: Float, eps: Float)
    case sgd(SGDStep)
  }

  private let rule: Rule
  private let w: UnsafeMutablePointer<Float>
  private let first: UnsafeMutablePointer<Float>?
  private let second: UnsafeMutablePointer<Float>?

  /// As `torch.optim.AdamW`, from the gradient g:
  ///
  ///     g ← gradientScale·g;  w ← w - lr·decay·w
  ///     m = β₁m + (1-β₁)g;  v = β₂v + (1-β₂)g²
  ///     w ← w - lr/(1-β₁ᵗ) · m/(√v/√(1-β₂ᵗ) + eps)
  public static func adamw(
    _ w: UnsafeMutablePointer<Float>, _ m: UnsafeMutablePointer<Float>,
    _ v: UnsafeMutablePointer<Float>, _ s: AdamWStep
  ) -> ParameterStep {
    let step = Double(max(1, s.step))
    let rule = Rule.adamw(
      gradientScale: s.gradientScale, keep: Float(1 - s.lr * s.decay), beta1: s.beta1,
      beta2: s.beta2, stepSize: Float(s.lr / (1 - pow(s.beta1, step))),
      correction: Float(1 / (1 - pow(s.beta2, step)).squareRoot()), eps: Float(s.eps))
    return ParameterStep(rule: rule, w: w, first: m, second: v)
  }

  /// As `torch.optim.SGD`, from the gradient g:
  ///
  ///     g ← gradientScale·g + decay·w;  buffer = momentum·buffer + g  (first step: buffer = g)
  ///     w ← w - lr·(nesterov: g + momentum·buffer, else buffer; without buffer: g)
  public static func sgd(
    _ w: UnsafeMutablePointer<Float>, momentum buffer: UnsafeMutablePointer<Float>?, _ s: SGDStep
  ) -> ParameterStep {
    ParameterStep(rule: .sgd(s), w: w, first: buffer, second: nil)
  }

  /// The same from element `offset` on.
  public func advanced(by offset: Int) -> ParameterStep {
    ParameterStep(
      rule: rule, w: w + offset, first: first.map { $0 + offset },
      second: second.map { $0 + offset })
  }

  /// Calls `body` with every array that a step reads and writes.
  func forArrays(_ body: (UnsafePointer<Float>) -> Void) {
    body(w)
    if let first { body(first) }
    if let second { body(second) }
  }

  /// The step of the elements from `offset` on.
  func apply(_ table: KernelTable, _ offset: Int, _ gradient: UnsafePointer<Float>, count: Int) {
    switch rule {
    case .adamw(
      let gradientScale, let keep, let beta1, let beta2, let stepSize, let correction, let eps):
      guard let first, let second else { return }
      table.adamw(
        w + offset, gradient, first + offset, second + offset, count, gradientScale, keep, beta1,
        beta2, stepSize, correction, eps)
    case .sgd(let s):
      table.sgd(
        w + offset, gradient, first.map { $0 + offset }, count, s.gradientScale, Float(s.decay),
        Float(s.momentum), Float(s.lr), s.nesterov, s.first)
    }
  }
}
