extension ModelConfiguration {
  static let keys = [
    "task", "inputs", "vocabulary", "outputs", "width", "experts", "hidden", "shared_experts",
    "activation", "bias", "residual", "norm", "tied_embedding", "router", "losses", "optimizer",
  ]

  /// Reads a configuration from JSON, checked throughout.
  ///
  /// Strict: unknown keys (the nearest known one is suggested), keys that the chosen kind does not
  /// use, keys that occur twice, wrong types (an integer is written `2`, not `2.0`), NaN and
  /// infinity are refused.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)`` with the path of the key, such as
  ///   `router[2].temperature`, what came and what is allowed; for text that is not JSON the line
  ///   and column.
  public init(json: String) throws(DynaMoEError) {
    try self.init(JSONValue.configuration(json))
  }

  /// The same with `inputs` and `outputs` of the data where the object names neither them nor a
  /// vocabulary; where it does, those count.
  @_spi(Command) public init(
    json: String, dataInputs: Int?, dataOutputs: Int?
  ) throws(DynaMoEError) {
    var value = try JSONValue.configuration(json)
    if case .object(var object) = value {
      if let dataInputs, object["inputs"] == nil, object["vocabulary"] == nil {
        object.append("inputs", .integer(dataInputs))
      }
      if let dataOutputs, object["outputs"] == nil,
        object["task"] != .string(Task.languageModel.rawValue)
      {
        object.append("outputs", .integer(dataOutputs))
      }
      value = .object(object)
    }
    try self.init(value)
  }

  /// Reads a configuration from the UTF-8 bytes of JSON; bytes that are not UTF-8 are refused.
  public init(json: UnsafeBufferPointer<UInt8>) throws(DynaMoEError) {
    try self.init(JSONValue.configuration(json))
  }

  private init(_ value: JSONValue) throws(DynaMoEError) {
    let reader = try ObjectReader(
      value, path: "", keys: Self.keys, elsewhere: ConfigurationKeys.places(besides: ""))
    let task = try reader.requiredChoice("task", Task.self)
    let experts = try ExpertCounts(
      reader.required("experts", "a list with the experts of each layer, or a schedule"),
      path: "experts")
    let (routers, areList) = try RouterConfiguration.routers(
      reader.required("router", "an object with a kind, or a list with one per layer"))
    self.init(
      task: task, inputs: try reader.integer("inputs"),
      vocabulary: try reader.integer("vocabulary"), outputs: try reader.integer("outputs"),
      width: try reader.requiredInteger("width"), experts: experts, routers: routers)
    if let value = reader["hidden"] { hidden = try LayerCounts(value, path: "hidden") }
    sharedExperts = try reader.integer("shared_experts") ?? sharedExperts
    activation = try reader.choice("activation", Activation.self) ?? activation
    bias = try reader.boolean("bias") ?? bias
    residual = try reader.boolean("residual") ?? residual
    norm = try reader.choice("norm", Norm.self) ?? norm
    tiedEmbedding = try reader.boolean("tied_embedding") ?? tiedEmbedding
    if let value = reader["losses"] { losses = try LossConfiguration(value) }
    if let value = reader["optimizer"] { optimizer = try OptimizerConfiguration(value) }
    _ = try resolved(routersAreList: areList)
  }

  /// The configuration as JSON on one line, with every default that the chosen kinds use.
  ///
  /// Reading it back gives an equal network. Of a value that ``validate()`` refuses it is a
  /// description only.
  public var json: String {
    var object = JSONObject()
    object.append("task", .string(task.rawValue))
    if let inputs { object.append("inputs", .integer(inputs)) }
    if let vocabulary { object.append("vocabulary", .integer(vocabulary)) }
    if let outputs = outputs ?? (task == .languageModel ? vocabulary : nil) {
      object.append("outputs", .integer(outputs))
    }
    object.append("width", .integer(width))
    object.append("experts", experts.value)
    object.append("hidden", hidden?.value ?? .integer(width.multipliedSaturating(by: 4)))
    object.append("shared_experts", .integer(sharedExperts))
    object.append("activation", .string(activation.rawValue))
    object.append("bias", .boolean(bias))
    object.append("residual", .boolean(residual))
    object.append("norm", .string(norm.rawValue))
    object.append("tied_embedding", .boolean(tiedEmbedding))
    object.append(
      "router", routers.count == 1 ? routers[0].value : .array(routers.map(\.value)))
    object.append("losses", losses.value)
    object.append("optimizer", optimizer.value)
    return JSONValue.object(object).text
  }
}

extension LayerConfiguration {
  static let keys = [
    "width", "experts", "hidden", "shared_experts", "activation", "bias", "router", "losses",
    "optimizer",
  ]

  /// Reads a configuration from JSON, checked throughout; as strict as
  /// ``ModelConfiguration/init(json:)-(String)``.
  ///
  /// `hidden` and `router.target_active` may also be lists of one, or schedules: a layer is a
  /// network with L = 1.
  public init(json: String) throws(DynaMoEError) {
    try self.init(JSONValue.configuration(json))
  }

  /// Reads a configuration from the UTF-8 bytes of JSON; bytes that are not UTF-8 are refused.
  public init(json: UnsafeBufferPointer<UInt8>) throws(DynaMoEError) {
    try self.init(JSONValue.configuration(json))
  }

  private init(_ value: JSONValue) throws(DynaMoEError) {
    let reader = try ObjectReader(
      value, path: "", keys: Self.keys, elsewhere: ConfigurationKeys.places(besides: ""))
    let experts = try reader.requiredInteger("experts")
    let routers = try RouterConfiguration.routers(
      reader.required("router", "an object with a kind")
    ).routers
    guard routers.count == 1 else {
      throw .argument(
        "router must be one object for a single layer; got a list of \(routers.count)")
    }
    self.init(width: try reader.requiredInteger("width"), experts: experts, router: routers[0])
    if let value = reader["hidden"] {
      hidden = try LayerCounts(value, path: "hidden").resolved(layers: 1, path: "hidden")[0]
    }
    sharedExperts = try reader.integer("shared_experts") ?? sharedExperts
    activation = try reader.choice("activation", Activation.self) ?? activation
    bias = try reader.boolean("bias") ?? bias
    if let value = reader["losses"] { losses = try LossConfiguration(value) }
    if let value = reader["optimizer"] { optimizer = try OptimizerConfiguration(value) }
    try validate()
  }

  /// The configuration as JSON on one line, with every default that the chosen kinds use.
  ///
  /// Reading it back gives an equal layer. Of a value that ``validate()`` refuses it is a
  /// description only.
  public var json: String {
    var object = JSONObject()
    object.append("width", .integer(width))
    object.append("experts", .integer(experts))
    object.append("hidden", .integer(hidden ?? width.multipliedSaturating(by: 4)))
    object.append("shared_experts", .integer(sharedExperts))
    object.append("activation", .string(activation.rawValue))
    object.append("bias", .boolean(bias))
    object.append("router", router.value)
    object.append("losses", losses.value)
    object.append("optimizer", optimizer.value)
    return JSONValue.object(object).text
  }
}

extension Int {
  fileprivate func multipliedSaturating(by factor: Int) -> Int {
    let (product, overflow) = multipliedReportingOverflow(by: factor)
    return overflow ? (self < 0 ? .min : .max) : product
  }
}
