/// How a layer chooses the active experts of a row, and their weights.
///
/// Scores s = softmax(z / temperature) of the logits z = x·Wᵀ `[tokens, experts]`; larger first,
/// ties to the lower expert index. A setting is nil where it is not given: then the default of the
/// kind applies. A setting that the chosen kind does not use must stay nil:
/// ``ModelConfiguration/validate()`` refuses it by name.
///
///     var router = RouterConfiguration.threshold(targetActive: 2)
///     router.maxActive = 4
public struct RouterConfiguration: Equatable, Sendable {
  /// The rule of selection; the raw value is its spelling in a configuration.
  public enum Kind: String, Sendable, CaseIterable {
    /// Active above the `percentile` of the row's own scores (arXiv 2603.01697). A rank statistic:
    /// without ties every row has the same number of active experts.
    case percentile
    /// Active above one threshold per layer, which follows the batch so that the mean number of
    /// active experts is `targetActive`: the number of active experts follows the input.
    case threshold
    /// As `threshold`, with one threshold per expert.
    case expertThreshold = "expert_threshold"
    /// The `k` best.
    case topK = "top_k"
    /// The shortest prefix in order whose cumulated score reaches `p`.
    case topP = "top_p"
    /// Cosine similarity above a learned threshold per expert.
    case topAny = "top_any"
    /// Active where the logit is above 0, which is also the weight.
    case relu
    /// All.
    case dense
  }

  /// The rule of selection.
  public var kind: Kind
  /// Default `softmax` with `percentile`, `normalized` with `topK` and `dense`, otherwise `raw`.
  /// Not with `topAny`, `relu`.
  public var gate: Gate?
  /// Above 0. Default 1. Not with `topAny`; with `relu` only of the auxiliary losses.
  public var temperature: Double?
  /// Standard deviation of the noise added to the scores in training, at least 0. Default 0. Not
  /// with `topAny`, `relu`.
  public var noise: Double?
  /// Fewest active experts of a row, at least 0; above N counts as N. Default 1.
  public var minActive: Int?
  /// Most active experts of a row, at least 1 and `minActive`. Default: no bound.
  public var maxActive: Int?
  /// Step of the loss-free balancing of the load, at least 0. Default 0. `percentile`, `threshold`,
  /// `topK` and `topP` only.
  public var balanceRate: Double?
  /// τ from 0 to 1. Default 0.5. `percentile` only.
  public var percentile: Double?
  /// Mean number of active experts aimed at, above 0; above N counts as N. Required by `threshold`
  /// and `expertThreshold`, optional with `relu` and `topP`.
  public var targetActive: LayerValues?
  /// Momentum of the stored thresholds, at least 0 and below 1. Default 0.9. `threshold` and
  /// `expertThreshold` only.
  public var momentum: Double?
  /// At least 1; above N counts as N. Required by `topK`.
  public var k: Int?
  /// Above 0, at most 1. Default 0.4. `topP` only; its starting value when `targetActive` is given.
  public var p: Double?
  /// Factor on the cosine, above 0. Default 1. `topAny` only.
  public var scale: Double?

  /// A router with every setting at the default of its kind.
  public init(kind: Kind) { self.kind = kind }

  /// One threshold per layer with a mean of `targetActive` active experts.
  public static func threshold(targetActive: LayerValues) -> RouterConfiguration {
    var router = RouterConfiguration(kind: .threshold)
    router.targetActive = targetActive
    return router
  }

  /// One threshold per expert with a mean of `targetActive` active experts.
  public static func expertThreshold(targetActive: LayerValues) -> RouterConfiguration {
    var router = RouterConfiguration(kind: .expertThreshold)
    router.targetActive = targetActive
    return router
  }

  /// The `k` best experts of every row.
  public static func topK(_ k: Int) -> RouterConfiguration {
    var router = RouterConfiguration(kind: .topK)
    router.k = k
    return router
  }

  /// The experts above the percentile of the row's own scores.
  public static func percentile(_ percentile: Double) -> RouterConfiguration {
    var router = RouterConfiguration(kind: .percentile)
    router.percentile = percentile
    return router
  }

  /// The best experts whose scores sum to `p`; with `targetActive` p follows that mean.
  public static func topP(_ p: Double, targetActive: LayerValues? = nil) -> RouterConfiguration {
    var router = RouterConfiguration(kind: .topP)
    router.p = p
    router.targetActive = targetActive
    return router
  }

  /// Cosine similarity above learned thresholds.
  public static func topAny(scale: Double) -> RouterConfiguration {
    var router = RouterConfiguration(kind: .topAny)
    router.scale = scale
    return router
  }

  /// Logits above 0; with `targetActive` a sparsity loss leads to that mean.
  public static func relu(targetActive: LayerValues? = nil) -> RouterConfiguration {
    var router = RouterConfiguration(kind: .relu)
    router.targetActive = targetActive
    return router
  }

  /// Every expert for every row.
  public static let dense = RouterConfiguration(kind: .dense)
}

extension RouterConfiguration {
  /// A setting besides `kind`; the raw value is its key in a configuration.
  enum Setting: String, CaseIterable {
    case gate, temperature, noise
    case minActive = "min_active"
    case maxActive = "max_active"
    case balanceRate = "balance_rate"
    case percentile
    case targetActive = "target_active"
    case momentum, k, p, scale

    /// The kinds that use the setting.
    var kinds: [Kind] {
      switch self {
      case .gate, .noise: Kind.allCases.filter { $0 != .topAny && $0 != .relu }
      case .temperature: Kind.allCases.filter { $0 != .topAny }
      case .minActive, .maxActive: Kind.allCases
      case .balanceRate: [.percentile, .threshold, .topK, .topP]
      case .percentile: [.percentile]
      case .targetActive: [.threshold, .expertThreshold, .topP, .relu]
      case .momentum: [.threshold, .expertThreshold]
      case .k: [.topK]
      case .p: [.topP]
      case .scale: [.topAny]
      }
    }
  }

  private func isGiven(_ setting: Setting) -> Bool {
    switch setting {
    case .gate: gate != nil
    case .temperature: temperature != nil
    case .noise: noise != nil
    case .minActive: minActive != nil
    case .maxActive: maxActive != nil
    case .balanceRate: balanceRate != nil
    case .percentile: percentile != nil
    case .targetActive: targetActive != nil
    case .momentum: momentum != nil
    case .k: k != nil
    case .p: p != nil
    case .scale: scale != nil
    }
  }

  var defaultGate: Gate {
    switch kind {
    case .percentile: .softmax
    case .topK, .dense: .normalized
    default: .raw
    }
  }

  /// Checks every setting but `targetActive`, whose value depends on the number of layers.
  func validate(path: String) throws(DynaMoEError) {
    for setting in Setting.allCases where isGiven(setting) && !setting.kinds.contains(kind) {
      let kinds = setting.kinds.map(\.rawValue).joined(separator: ", ")
      throw .argument(
        "\(path).\(setting.rawValue) is not used by kind \(kind.rawValue); it belongs to \(kinds)")
    }
    if let temperature { try Check.number(temperature, "\(path).temperature", .positive) }
    if let noise { try Check.number(noise, "\(path).noise", .nonNegative) }
    if let minActive { try Check.integer(minActive, "\(path).min_active", 0...Limit.size) }
    if let maxActive {
      try Check.integer(maxActive, "\(path).max_active", 1...Limit.size)
      guard maxActive >= minActive ?? 1 else {
        throw .argument(
          "\(path).max_active must be at least \(path).min_active, \(minActive ?? 1); got \(maxActive)"
        )
      }
    }
    if let balanceRate { try Check.number(balanceRate, "\(path).balance_rate", .nonNegative) }
    if let percentile { try Check.number(percentile, "\(path).percentile", .unit) }
    if let momentum { try Check.number(momentum, "\(path).momentum", .decay) }
    if let k { try Check.integer(k, "\(path).k", 1...Limit.size) }
    if let p { try Check.number(p, "\(path).p", .share) }
    if let scale { try Check.number(scale, "\(path).scale", .positive) }
    if kind == .topK && k == nil {
      throw .argument("\(path).k is missing: kind top_k requires an integer of at least 1")
    }
    if (kind == .threshold || kind == .expertThreshold) && targetActive == nil {
      throw .argument(
        "\(path).target_active is missing: kind \(kind.rawValue) requires a number above 0, a list or a schedule"
      )
    }
  }
}
