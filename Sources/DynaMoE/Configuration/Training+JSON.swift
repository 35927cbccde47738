extension LossConfiguration {
  static let keys = ["balance", "z", "entropy", "sparsity"]

  init(_ value: JSONValue) throws(DynaMoEError) {
    let reader = try ObjectReader(
      value, path: "losses", keys: Self.keys, elsewhere: ConfigurationKeys.places(besides: "losses")
    )
    self.init()
    balance = try reader.number("balance") ?? balance
    z = try reader.number("z") ?? z
    entropy = try reader.number("entropy") ?? entropy
    sparsity = try reader.number("sparsity") ?? sparsity
  }

  var value: JSONValue {
    var object = JSONObject()
    object.append("balance", .real(balance))
    object.append("z", .real(z))
    object.append("entropy", .real(entropy))
    object.append("sparsity", .real(sparsity))
    return .object(object)
  }
}

extension OptimizerConfiguration {
  static let keys = [
    "kind", "lr", "betas", "eps", "momentum", "nesterov", "weight_decay", "decay_all", "clip",
    "warmup", "total", "floor",
  ]

  init(_ value: JSONValue) throws(DynaMoEError) {
    let reader = try ObjectReader(
      value, path: "optimizer", keys: Self.keys,
      elsewhere: ConfigurationKeys.places(besides: "optimizer"))
    self.init(kind: try reader.choice("kind", Kind.self) ?? .adamw)
    lr = try reader.number("lr") ?? lr
    if let value = reader["betas"] {
      let betas = try value.list(
        "optimizer.betas", { (value, path) throws(DynaMoEError) in try value.number(path) })
      guard let betas, betas.count == 2 else {
        throw .argument("optimizer.betas must be a list of two numbers; got \(value.summary)")
      }
      beta1 = betas[0]
      beta2 = betas[1]
    }
    eps = try reader.number("eps")
    momentum = try reader.number("momentum")
    nesterov = try reader.boolean("nesterov")
    weightDecay = try reader.number("weight_decay")
    decayAll = try reader.boolean("decay_all") ?? false
    clip = try reader.numberOrNull("clip")
    warmup = try reader.integer("warmup") ?? 0
    total = try reader.integerOrNull("total")
    floor = try reader.number("floor") ?? 0
  }

  /// With every default that the kind uses.
  var value: JSONValue {
    var object = JSONObject()
    object.append("kind", .string(kind.rawValue))
    object.append("lr", .real(lr))
    switch kind {
    case .adamw:
      object.append("betas", .array([.real(beta1 ?? 0.9), .real(beta2 ?? 0.999)]))
      object.append("eps", .real(eps ?? 1e-8))
    case .sgd:
      object.append("momentum", .real(momentum ?? 0))
      object.append("nesterov", .boolean(nesterov ?? false))
    }
    object.append("weight_decay", .real(weightDecay ?? defaultWeightDecay))
    object.append("decay_all", .boolean(decayAll))
    object.append("clip", clip.map(JSONValue.real) ?? .null)
    object.append("warmup", .integer(warmup))
    object.append("total", total.map(JSONValue.integer) ?? .null)
    object.append("floor", .real(floor))
    return .object(object)
  }
}

/// Where keys belong, for the message about one in the wrong object.
enum ConfigurationKeys {
  static func places(besides section: String) -> [String: String] {
    let sections = [
      ("", ModelConfiguration.keys), ("router", RouterConfiguration.keys),
      ("optimizer", OptimizerConfiguration.keys), ("losses", LossConfiguration.keys),
    ]
    var places: [String: String] = [:]
    for (name, keys) in sections where name != section {
      for key in keys {
        let place = name.isEmpty ? "the top of the configuration" : name
        places[key] = places[key].map { "\($0) or \(place)" } ?? place
      }
    }
    return places
  }
}
