/// A network: input projection or embedding, L layers of mixtures of experts, and a head.
///
/// A value: change it freely, then ``validate()``, or hand it to a model, which validates too.
///
///     let configuration = ModelConfiguration(
///       task: .classification, inputs: 784, outputs: 10, width: 64,
///       experts: .schedule(Schedule(.descending, minimum: 2, maximum: 8), layers: 4),
///       router: .threshold(targetActive: 2))
public struct ModelConfiguration: Equatable, Sendable {
  /// What the outputs mean, and which loss trains them.
  public var task: Task
  /// Features per row, at least 1. Exactly one of `inputs` and `vocabulary`; not with
  /// `languageModel`.
  public var inputs: Int?
  /// Number of token ids, at least 1; rows are then token ids.
  public var vocabulary: Int?
  /// Classes, or outputs of a regression, at least 1. Nil only with `languageModel`, where it is
  /// `vocabulary`.
  public var outputs: Int?
  /// Width D of the network, at least 1.
  public var width: Int
  /// Experts N of each layer.
  public var experts: ExpertCounts
  /// Hidden size H of the experts, also of the shared ones. Default 4·`width`.
  public var hidden: LayerCounts?
  /// Experts J of every layer that are active for every row, at least 0. Default 0.
  public var sharedExperts: Int
  /// Default `gelu`.
  public var activation: Activation
  /// Whether input, head and experts have biases. Default true.
  public var bias: Bool
  /// Whether a layer's output is added to its input. Default true.
  public var residual: Bool
  /// Default `layer`.
  public var norm: Norm
  /// Whether the head is the embedding; `languageModel` only. Default false.
  public var tiedEmbedding: Bool
  /// One for all layers, or one per layer.
  public var routers: [RouterConfiguration]
  /// Coefficients of the auxiliary losses.
  public var losses: LossConfiguration
  /// How `step` changes the parameters.
  public var optimizer: OptimizerConfiguration

  /// A network with the same router in every layer.
  public init(
    task: Task, inputs: Int? = nil, vocabulary: Int? = nil, outputs: Int? = nil, width: Int,
    experts: ExpertCounts, router: RouterConfiguration, hidden: LayerCounts? = nil,
    sharedExperts: Int = 0, activation: Activation = .gelu, bias: Bool = true,
    residual: Bool = true, norm: Norm = .layer, tiedEmbedding: Bool = false,
    losses: LossConfiguration = LossConfiguration(),
    optimizer: OptimizerConfiguration = OptimizerConfiguration()
  ) {
    self.init(
      task: task, inputs: inputs, vocabulary: vocabulary, outputs: outputs, width: width,
      experts: experts, routers: [router], hidden: hidden, sharedExperts: sharedExperts,
      activation: activation, bias: bias, residual: residual, norm: norm,
      tiedEmbedding: tiedEmbedding, losses: losses, optimizer: optimizer)
  }

  /// A network with one router per layer.
  public init(
    task: Task, inputs: Int? = nil, vocabulary: Int? = nil, outputs: Int? = nil, width: Int,
    experts: ExpertCounts, routers: [RouterConfiguration], hidden: LayerCounts? = nil,
    sharedExperts: Int = 0, activation: Activation = .gelu, bias: Bool = true,
    residual: Bool = true, norm: Norm = .layer, tiedEmbedding: Bool = false,
    losses: LossConfiguration = LossConfiguration(),
    optimizer: OptimizerConfiguration = OptimizerConfiguration()
  ) {
    self.task = task
    self.inputs = inputs
    self.vocabulary = vocabulary
    self.outputs = outputs
    self.width = width
    self.experts = experts
    self.hidden = hidden
    self.sharedExperts = sharedExperts
    self.activation = activation
    self.bias = bias
    self.residual = residual
    self.norm = norm
    self.tiedEmbedding = tiedEmbedding
    self.routers = routers
    self.losses = losses
    self.optimizer = optimizer
  }

  /// Checks every setting and their combinations.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)`` with the key, what came and what is allowed.
  public func validate() throws(DynaMoEError) { _ = try resolved() }
}

extension ModelConfiguration {
  /// The network that the engine builds; checks everything on the way.
  func resolved() throws(DynaMoEError) -> ResolvedModel {
    try resolved(routersAreList: routers.count != 1)
  }

  func resolved(routersAreList: Bool) throws(DynaMoEError) -> ResolvedModel {
    let outputs = try resolvedOutputs()
    if tiedEmbedding && task != .languageModel {
      throw .argument(
        "tied_embedding must be false unless task is language_model; got true with \(task.rawValue)"
      )
    }
    let settings = LayerSettings(
      width: width, experts: try experts.resolved(), hidden: hidden, sharedExperts: sharedExperts,
      activation: activation, bias: bias, routers: routers, routersAreList: routersAreList)
    let layers = try settings.resolved()
    try losses.validate()
    let optimizer = try optimizer.resolved()
    // Norms and biases count as two widths a layer and one beside each matrix: an upper bound is
    // enough.
    let outer =
      Int128(width)
      * (Int128(inputs ?? vocabulary ?? 0) + Int128(outputs) + 2 * Int128(layers.count) + 3)
      + Int128(outputs)
    try LayerSettings.checkParameterCount(settings.parameterCount(layers) + outer)
    return ResolvedModel(
      task: task, inputs: inputs, vocabulary: vocabulary, outputs: outputs, width: width,
      layers: layers, sharedExperts: sharedExperts, activation: activation, bias: bias,
      residual: residual, norm: norm, tiedEmbedding: tiedEmbedding, losses: losses,
      optimizer: optimizer)
  }

  /// Checks inputs, vocabulary and outputs.
  private func resolvedOutputs() throws(DynaMoEError) -> Int {
    if let inputs { try Check.integer(inputs, "inputs", 1...Limit.size) }
    if let vocabulary { try Check.integer(vocabulary, "vocabulary", 1...Limit.size) }
    if task == .languageModel && inputs != nil {
      throw .argument(
        "inputs is not used by task language_model, whose rows are token ids of vocabulary")
    }
    if inputs != nil && vocabulary != nil {
      throw .argument("inputs and vocabulary exclude each other; got both")
    }
    if let outputs { try Check.integer(outputs, "outputs", 1...Limit.size) }
    if task == .languageModel {
      guard let vocabulary else {
        throw .argument(
          "vocabulary is missing: task language_model requires an integer of at least 1")
      }
      guard outputs == nil || outputs == vocabulary else {
        throw .argument(
          "outputs must be vocabulary, \(vocabulary), with task language_model; got \(outputs ?? 0)"
        )
      }
      return vocabulary
    }
    guard inputs != nil || vocabulary != nil else {
      throw .argument(
        "inputs or vocabulary is missing: one of the two is required, an integer of at least 1")
    }
    guard let outputs else {
      throw .argument("outputs is missing: task \(task.rawValue) requires an integer of at least 1")
    }
    return outputs
  }
}
