extension RouterConfiguration {
  static let keys = ["kind"] + Setting.allCases.map(\.rawValue)

  init(_ value: JSONValue, path: String) throws(DynaMoEError) {
    let reader = try ObjectReader(
      value, path: path, keys: Self.keys, elsewhere: ConfigurationKeys.places(besides: "router"))
    self.init(kind: try reader.requiredChoice("kind", Kind.self))
    // Null is "no bound" for max_active alone, which every kind uses: a nil setting is always one
    // that is absent.
    gate = try reader.choice("gate", Gate.self)
    temperature = try reader.number("temperature")
    noise = try reader.number("noise")
    minActive = try reader.integer("min_active")
    maxActive = try reader.integerOrNull("max_active")
    balanceRate = try reader.number("balance_rate")
    percentile = try reader.number("percentile")
    if let target = reader["target_active"] {
      targetActive = try LayerValues(target, path: reader.keyPath("target_active"))
    }
    momentum = try reader.number("momentum")
    k = try reader.integer("k")
    p = try reader.number("p")
    scale = try reader.number("scale")
  }

  /// One object, or a list with one per layer.
  static func routers(_ value: JSONValue) throws(DynaMoEError) -> (routers: [Self], areList: Bool) {
    if let routers = try value.list(
      "router", { (value, path) throws(DynaMoEError) in try RouterConfiguration(value, path: path) }
    ) {
      return (routers, true)
    }
    guard case .object = value else {
      throw .argument(
        "router must be an object, or a list with one per layer; got \(value.summary)")
    }
    return ([try RouterConfiguration(value, path: "router")], false)
  }

  /// With every default that the kind uses.
  var value: JSONValue {
    var object = JSONObject()
    object.append("kind", .string(kind.rawValue))
    for setting in Setting.allCases where setting.kinds.contains(kind) {
      if let value = value(of: setting) { object.append(setting.rawValue, value) }
    }
    return .object(object)
  }

  /// Nil when the setting is not given and has no default.
  private func value(of setting: Setting) -> JSONValue? {
    switch setting {
    case .gate: .string((gate ?? defaultGate).rawValue)
    case .temperature: .real(temperature ?? 1)
    case .noise: .real(noise ?? 0)
    case .minActive: .integer(minActive ?? 1)
    case .maxActive: maxActive.map(JSONValue.integer) ?? .null
    case .balanceRate: .real(balanceRate ?? 0)
    case .percentile: .real(percentile ?? 0.5)
    case .targetActive: targetActive?.value
    case .momentum: .real(momentum ?? 0.9)
    case .k: k.map(JSONValue.integer)
    case .p: .real(p ?? 0.4)
    case .scale: .real(scale ?? 1)
    }
  }
}
