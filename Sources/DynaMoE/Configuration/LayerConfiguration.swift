/// A single layer to drive by hand: y = Σ w·E(x) over the active experts, plus the shared ones. No
/// norm, no residual.
///
///     let configuration = LayerConfiguration(width: 64, experts: 8, router: .topK(2))
public struct LayerConfiguration: Equatable, Sendable {
  /// Width D of inputs and outputs, at least 1.
  public var width: Int
  /// Experts N, at least 1.
  public var experts: Int
  /// Hidden size H of the experts. Default 4·`width`.
  public var hidden: Int?
  /// Experts J that are active for every row, at least 0. Default 0.
  public var sharedExperts: Int
  /// Default `gelu`.
  public var activation: Activation
  /// Whether experts have biases. Default true.
  public var bias: Bool
  /// How the active experts of a row are chosen, and their weights.
  public var router: RouterConfiguration
  /// Coefficients of the auxiliary losses.
  public var losses: LossConfiguration
  /// How `step` changes the parameters.
  public var optimizer: OptimizerConfiguration

  /// A layer whose settings are checked by ``validate()`` and by ``MoELayer``.
  public init(
    width: Int, experts: Int, router: RouterConfiguration, hidden: Int? = nil,
    sharedExperts: Int = 0, activation: Activation = .gelu, bias: Bool = true,
    losses: LossConfiguration = LossConfiguration(),
    optimizer: OptimizerConfiguration = OptimizerConfiguration()
  ) {
    self.width = width
    self.experts = experts
    self.hidden = hidden
    self.sharedExperts = sharedExperts
    self.activation = activation
    self.bias = bias
    self.router = router
    self.losses = losses
    self.optimizer = optimizer
  }

  /// Checks every setting and their combinations.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)`` with the key, what came and what is allowed.
  public func validate() throws(DynaMoEError) { _ = try resolved() }
}

extension LayerConfiguration {
  /// The layer that the engine builds; checks everything on the way.
  func resolved() throws(DynaMoEError) -> (ResolvedLayer, ResolvedOptimizer) {
    try Check.integer(experts, "experts", 1...Limit.experts)
    let settings = LayerSettings(
      width: width, experts: [experts], hidden: hidden.map(LayerCounts.all),
      sharedExperts: sharedExperts, activation: activation, bias: bias, routers: [router],
      routersAreList: false)
    let layers = try settings.resolved()
    try losses.validate()
    let optimizer = try optimizer.resolved()
    try LayerSettings.checkParameterCount(settings.parameterCount(layers))
    return (layers[0], optimizer)
  }
}
