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
