/// A router with every default in and clamped to the N experts of its layer.
struct ResolvedRouter: Equatable, Sendable {
  var kind: RouterConfiguration.Kind
  /// `raw` for `topAny` and `relu`, which do not use it.
  var gate: Gate
  var temperature, noise: Double
  /// Both at most N, `minActive` ≤ `maxActive`.
  var minActive, maxActive: Int
  var balanceRate, percentile: Double
  /// At most N.
  var targetActive: Double?
  var momentum: Double
  /// At most N; N for kinds other than `topK`.
  var k: Int
  var p, scale: Double
}

/// An optimizer with every default in.
struct ResolvedOptimizer: Equatable, Sendable {
  var kind: OptimizerConfiguration.Kind
  var lr, beta1, beta2, eps, momentum: Double
  var nesterov: Bool
  var weightDecay: Double
  var decayAll: Bool
  var clip: Double?
  var warmup: Int
  var total: Int?
  var floor: Double
}

/// One layer: N experts of hidden size H.
struct ResolvedLayer: Equatable, Sendable {
  var experts: Int
  var hidden: Int
  var router: ResolvedRouter
}

/// A network with every default in, every schedule evaluated and every value checked: what the
/// engine reads.
struct ResolvedModel: Equatable, Sendable {
  var task: ModelConfiguration.Task
  /// Exactly one of `inputs` and `vocabulary` is given.
  var inputs: Int?
  var vocabulary: Int?
  var outputs: Int
  var width: Int
  var layers: [ResolvedLayer]
  var sharedExperts: Int
  var activation: Activation
  var bias, residual: Bool
  var norm: Norm
  var tiedEmbedding: Bool
  var losses: LossConfiguration
  var optimizer: ResolvedOptimizer
}

extension RouterConfiguration {
  /// `targetActive` is the value of this layer.
  func resolved(experts: Int, targetActive: Double?) -> ResolvedRouter {
    ResolvedRouter(
      kind: kind, gate: gate ?? defaultGate, temperature: temperature ?? 1, noise: noise ?? 0,
      minActive: min(minActive ?? 1, experts), maxActive: min(maxActive ?? experts, experts),
      balanceRate: balanceRate ?? 0, percentile: percentile ?? 0.5,
      targetActive: targetActive.map { min($0, Double(experts)) }, momentum: momentum ?? 0.9,
      k: min(k ?? experts, experts), p: p ?? 0.4, scale: scale ?? 1)
  }
}

/// The layers of a network: what ``ModelConfiguration`` and ``LayerConfiguration`` check alike.
struct LayerSettings {
  var width: Int
  var experts: [Int]
  var hidden: LayerCounts?
  var sharedExperts: Int
  var activation: Activation
  var bias: Bool
  var routers: [RouterConfiguration]
  /// Whether `routers` was written as a list, which then has one element per layer even when there
  /// is but one.
  var routersAreList: Bool

  func resolved() throws(DynaMoEError) -> [ResolvedLayer] {
    let layers = experts.count
    try Check.integer(width, "width", 1...Limit.size)
    try Check.integer(sharedExperts, "shared_experts", 0...Limit.experts)
    let hidden = try resolvedHidden(layers: layers)
    if routersAreList || routers.count != 1 {
      guard routers.count == layers else {
        throw .argument(
          "router must be one object, or a list with one per layer, which is \(layers); got a list of \(routers.count)"
        )
      }
    }
    let targets = try resolvedTargets(layers: layers)
    return (0..<layers).map { layer in
      ResolvedLayer(
        experts: experts[layer], hidden: hidden[layer],
        router: routers[routers.count == 1 ? 0 : layer].resolved(
          experts: experts[layer], targetActive: targets[layer]))
    }
  }

  /// Checks the routers; the target of each layer.
  private func resolvedTargets(layers: Int) throws(DynaMoEError) -> [Double?] {
    var targets = [Double?](repeating: nil, count: layers)
    for (index, router) in routers.enumerated() {
      let path = routersAreList || routers.count > 1 ? "router[\(index)]" : "router"
      try router.validate(path: path)
      guard let target = router.targetActive else { continue }
      if routers.count == 1 {
        targets = try target.resolved(layers: layers, path: "\(path).target_active")
      } else {
        targets[index] = try target.resolved(
          layer: index, of: layers, path: "\(path).target_active")
      }
    }
    return targets
  }

  private func resolvedHidden(layers: Int) throws(DynaMoEError) -> [Int] {
    if let hidden { return try hidden.resolved(layers: layers, path: "hidden") }
    try Check.integer(4 * width, "hidden (default 4 * width)", 1...Limit.size)
    return Array(repeating: 4 * width, count: layers)
  }

  /// Parameters of the layers without norms. Sizes are checked, so that 128 bits hold any sum of
  /// their products.
  func parameterCount(_ layers: [ResolvedLayer]) -> Int128 {
    let projections: Int128 = activation.isGated ? 3 : 2
    let width = Int128(width)
    return layers.reduce(0) { sum, layer in
      let experts = Int128(layer.experts)
      let hidden = Int128(layer.hidden)
      let expert = projections * hidden * width + (bias ? (projections - 1) * hidden + width : 0)
      return sum + experts * (width + 1) + (experts + Int128(sharedExperts)) * expert
    }
  }

  /// Refuses networks that no machine holds, before their sizes are multiplied in `Int`.
  static func checkParameterCount(_ count: Int128) throws(DynaMoEError) {
    guard count <= Int128(Limit.parameters) else {
      throw .argument(
        "width, hidden, experts and the other sizes together ask for \(count) parameters; at most \(Limit.parameters) are allowed"
      )
    }
  }
}
