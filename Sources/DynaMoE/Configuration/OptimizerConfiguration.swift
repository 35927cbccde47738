import Glibc

/// How `step` changes the parameters. Nil is the default of the kind; settings of the other kind
/// must stay nil.
public struct OptimizerConfiguration: Equatable, Sendable {
  /// The raw value is the spelling in a configuration.
  public enum Kind: String, Sendable, CaseIterable {
    /// Adam with decoupled weight decay (Loshchilov, Hutter, arXiv 1711.05101, algorithm 2).
    case adamw
    /// Gradient descent with momentum; weight decay is L2 in the gradient.
    case sgd
  }

  /// Default `adamw`.
  public var kind: Kind
  /// Learning rate, at least 0. Default 0.001.
  public var lr: Double
  /// Decay rates of the moments, at least 0 and below 1. Default 0.9 and 0.999. `adamw` only.
  public var beta1, beta2: Double?
  /// Added to the square root, above 0. Default 1e-8. `adamw` only.
  public var eps: Double?
  /// At least 0 and below 1. Default 0. `sgd` only.
  public var momentum: Double?
  /// Nesterov's momentum, only with `momentum` above 0. Default false. `sgd` only.
  public var nesterov: Bool?
  /// At least 0. Default 0.01 with `adamw`, 0 with `sgd`.
  public var weightDecay: Double?
  /// Whether biases, norms and learned gate thresholds decay too. Default false.
  public var decayAll = false
  /// Largest norm of all gradients together, above 0. Default nil: no clipping.
  public var clip: Double?
  /// Steps of linear warm-up, at least 0. Default 0.
  public var warmup = 0
  /// Last step of the cosine, above `warmup`. Default nil: constant after the warm-up.
  public var total: Int?
  /// Last learning rate as a share of `lr`, from 0 to 1. Default 0.
  public var floor: Double = 0

  /// What is not among the arguments is set afterwards.
  public init(
    kind: Kind = .adamw, lr: Double = 0.001, weightDecay: Double? = nil, clip: Double? = nil,
    warmup: Int = 0, total: Int? = nil
  ) {
    self.kind = kind
    self.lr = lr
    self.weightDecay = weightDecay
    self.clip = clip
    self.warmup = warmup
    self.total = total
  }

  /// The learning rate of step i = 1, 2, …; a step below 1 counts as 1.
  ///
  /// `lr·i/warmup` while i ≤ warmup; then `lr`, or with `total` the cosine
  /// `lr·(floor + (1 - floor)·(1 + cos(π·min(1, (i - warmup)/(total - warmup))))/2)`.
  public func learningRate(step: Int) -> Double {
    let i = Double(max(1, step))
    let warmup = Double(warmup)
    if i <= warmup { return lr * i / warmup }
    guard let total else { return lr }
    let progress = min(1, (i - warmup) / (Double(total) - warmup))
    return lr * (floor + (1 - floor) * (1 + cos(Double.pi * progress)) / 2)
  }
}

extension OptimizerConfiguration {
  /// Whether a key of the configuration belongs to one kind only, and which.
  private var unused: (key: String, kind: Kind)? {
    switch kind {
    case .adamw:
      if momentum != nil { return ("momentum", .sgd) }
      if nesterov != nil { return ("nesterov", .sgd) }
    case .sgd:
      if beta1 != nil || beta2 != nil { return ("betas", .adamw) }
      if eps != nil { return ("eps", .adamw) }
    }
    return nil
  }

  func validate() throws(DynaMoEError) {
    if let unused {
      throw .argument(
        "optimizer.\(unused.key) is not used by kind \(kind.rawValue); it belongs to \(unused.kind.rawValue)"
      )
    }
    try Check.number(lr, "optimizer.lr", .nonNegative)
    if let beta1 { try Check.number(beta1, "optimizer.betas[0]", .decay) }
    if let beta2 { try Check.number(beta2, "optimizer.betas[1]", .decay) }
    if let eps { try Check.number(eps, "optimizer.eps", .positive) }
    if let momentum { try Check.number(momentum, "optimizer.momentum", .decay) }
    if nesterov == true && momentum ?? 0 == 0 {
      throw .argument(
        "optimizer.nesterov requires optimizer.momentum above 0; got momentum \(momentum ?? 0)")
    }
    if let weightDecay { try Check.number(weightDecay, "optimizer.weight_decay", .nonNegative) }
    if let clip { try Check.number(clip, "optimizer.clip", .positive) }
    try Check.integer(warmup, "optimizer.warmup", 0...Limit.steps)
    if let total {
      guard total > warmup else {
        throw .argument(
          "optimizer.total must be an integer above optimizer.warmup, \(warmup); got \(total)")
      }
      try Check.integer(total, "optimizer.total", 1...Limit.steps)
    }
    try Check.number(floor, "optimizer.floor", .unit)
  }

  func resolved() throws(DynaMoEError) -> ResolvedOptimizer {
    try validate()
    return ResolvedOptimizer(
      kind: kind, lr: lr, beta1: beta1 ?? 0.9, beta2: beta2 ?? 0.999, eps: eps ?? 1e-8,
      momentum: momentum ?? 0, nesterov: nesterov ?? false,
      weightDecay: weightDecay ?? defaultWeightDecay, decayAll: decayAll, clip: clip,
      warmup: warmup, total: total, floor: floor)
  }

  var defaultWeightDecay: Double { kind == .adamw ? 0.01 : 0 }
}
