import Foundation

/// The configuration of a test network, written and read by the tests themselves: the engine gets
/// its JSON, the reference its values and the documented defaults, so that a wrong default shows.
struct NetworkDescription: Codable, Sendable {
  struct Router: Codable, Sendable {
    var kind: String
    var gate: String? = nil
    var temperature: Double? = nil
    var noise: Double? = nil
    var minActive: Int? = nil
    var maxActive: Int? = nil
    var balanceRate: Double? = nil
    var percentile: Double? = nil
    var targetActive: Double? = nil
    var momentum: Double? = nil
    var k: Int? = nil
    var p: Double? = nil
    var scale: Double? = nil
  }

  struct Losses: Codable, Sendable {
    var balance: Double? = nil
    var z: Double? = nil
    var entropy: Double? = nil
    var sparsity: Double? = nil
  }

  struct Optimizer: Codable, Sendable {
    var kind: String? = nil
    var lr: Double? = nil
    var betas: [Double]? = nil
    var eps: Double? = nil
    var momentum: Double? = nil
    var nesterov: Bool? = nil
    var weightDecay: Double? = nil
    var decayAll: Bool? = nil
    var clip: Double? = nil
    var warmup: Int? = nil
    var total: Int? = nil
    var floor: Double? = nil
  }

  var task = "classification"
  var inputs: Int? = 5
  var vocabulary: Int? = nil
  var outputs: Int? = 3
  var width = 6
  var experts = [4, 3]
  var hidden: Int? = 5
  var sharedExperts: Int? = nil
  var activation: String? = nil
  var bias: Bool? = nil
  var residual: Bool? = nil
  var norm: String? = nil
  var tiedEmbedding: Bool? = nil
  /// One router per layer.
  var router: [Router]
  var losses: Losses? = nil
  var optimizer: Optimizer? = nil

  init(_ router: Router, change: (inout NetworkDescription) -> Void = { _ in }) {
    self.router = [router]
    change(&self)
    if self.router.count == 1 {
      self.router = Array(repeating: self.router[0], count: experts.count)
    }
  }

  /// A language model or a classifier of token ids.
  static func tokens(
    _ router: Router, task: String = "language_model", vocabulary: Int = 7, outputs: Int? = nil,
    change: (inout NetworkDescription) -> Void = { _ in }
  ) -> NetworkDescription {
    NetworkDescription(router) {
      $0.task = task
      $0.inputs = nil
      $0.vocabulary = vocabulary
      $0.outputs = outputs
      change(&$0)
    }
  }

  var json: String { Self.encoded(self) }

  var outputCount: Int { outputs ?? vocabulary ?? 0 }

  static func encoded(_ value: some Encodable) -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = .sortedKeys
    guard let data = try? encoder.encode(value) else { fatalError("not encodable: \(value)") }
    return String(decoding: data, as: UTF8.self)
  }
}

/// The configuration of a single layer ("A single layer" of the configuration schema).
struct LayerDescription: Codable, Sendable {
  var width = 6
  var experts = 4
  var hidden: Int? = 5
  var sharedExperts: Int? = nil
  var activation: String? = nil
  var bias: Bool? = nil
  var router: NetworkDescription.Router
  var losses: NetworkDescription.Losses? = nil
  var optimizer: NetworkDescription.Optimizer? = nil

  init(
    _ router: NetworkDescription.Router, change: (inout LayerDescription) -> Void = { _ in }
  ) {
    self.router = router
    change(&self)
  }

  var json: String { NetworkDescription.encoded(self) }
}

/// A router's settings with every default filled in.
struct RouterSettings: Sendable {
  var kind: String
  var gate: String
  var temperature: Double
  var noise: Double
  var minActive: Int
  var maxActive: Int
  var balanceRate: Double
  var percentile: Double
  var targetActive: Double?
  var momentum: Double
  var k: Int
  var p: Double
  var scale: Double

  init(_ router: NetworkDescription.Router, experts: Int) {
    kind = router.kind
    switch (router.gate, router.kind) {
    case (let given?, _): self.gate = given
    case (nil, "percentile"): self.gate = "softmax"
    case (nil, "top_k"), (nil, "dense"): self.gate = "normalized"
    default: self.gate = "raw"
    }
    temperature = router.temperature ?? 1
    noise = router.noise ?? 0
    minActive = min(router.minActive ?? 1, experts)
    maxActive = min(router.maxActive ?? experts, experts)
    balanceRate = router.balanceRate ?? 0
    percentile = router.percentile ?? 0.5
    targetActive = router.targetActive.map { min($0, Double(experts)) }
    momentum = router.momentum ?? 0.9
    k = min(router.k ?? experts, experts)
    p = router.p ?? 0.4
    scale = router.scale ?? 1
  }
}

/// A layer's settings with every default filled in.
struct LayerSettings: Sendable {
  var width: Int
  var experts: Int
  var hidden: Int
  var sharedExperts: Int
  var activation: String
  var bias: Bool
  var router: RouterSettings
  var losses: NetworkDescription.Losses

  var isGated: Bool { activation == "swiglu" || activation == "geglu" }

  init(_ network: NetworkDescription, layer: Int) {
    width = network.width
    experts = network.experts[layer]
    hidden = network.hidden ?? 4 * network.width
    sharedExperts = network.sharedExperts ?? 0
    activation = network.activation ?? "gelu"
    bias = network.bias ?? true
    router = RouterSettings(network.router[layer], experts: experts)
    losses = network.losses ?? .init()
  }

  init(_ layer: LayerDescription) {
    width = layer.width
    experts = layer.experts
    hidden = layer.hidden ?? 4 * layer.width
    sharedExperts = layer.sharedExperts ?? 0
    activation = layer.activation ?? "gelu"
    bias = layer.bias ?? true
    router = RouterSettings(layer.router, experts: layer.experts)
    losses = layer.losses ?? .init()
  }
}
