import CDynaMoE
import DynaMoE

/// The engine's form of the C struct. Structure is checked here, the settings themselves by the
/// engine.
func modelConfiguration(
  _ pointer: UnsafePointer<dynamoe_model_config>?
) throws(DynaMoEError) -> ModelConfiguration {
  let config = try read("config", pointer)
  try checkReserved("config.reserved", config.reserved)
  guard 1...maximumLayers ~= config.layers else {
    throw .argument(
      "config.layers is \(unsigned(config.layers)), allowed: 1 to \(maximumLayers)")
  }
  let routers = try routerConfigurations(config)
  var configuration = ModelConfiguration(
    task: try choice("config.task", config.task, Constants.tasks, "DYNAMOE_TASK"),
    width: Int(config.width), experts: try expertCounts(config), router: routers[0])
  configuration.routers = routers
  configuration.inputs = given(config.inputs)
  configuration.vocabulary = given(config.vocabulary)
  configuration.outputs = given(config.outputs)
  configuration.hidden = try hiddenCounts(config)
  configuration.sharedExperts = Int(config.shared_experts)
  configuration.activation = try choice(
    "config.activation", config.activation, Constants.activations, "DYNAMOE_ACTIVATION")
  configuration.norm = try choice(
    "config.norm", config.norm, Constants.norms, "DYNAMOE_NORM")
  configuration.bias = try boolean("config.bias", config.bias)
  configuration.residual = try boolean("config.residual", config.residual)
  configuration.tiedEmbedding = try boolean(
    "config.tied_embedding", config.tied_embedding)
  configuration.losses = try lossConfiguration(config.losses)
  configuration.optimizer = try optimizerConfiguration(config.optimizer)
  try configuration.validate()
  return configuration
}

/// The engine's form of the C struct of a single layer.
func layerConfiguration(
  _ pointer: UnsafePointer<dynamoe_layer_config>?
) throws(DynaMoEError) -> LayerConfiguration {
  let config = try read("config", pointer)
  try checkReserved("config.reserved", config.reserved)
  var configuration = LayerConfiguration(
    width: Int(config.width), experts: Int(config.experts),
    router: try routerConfiguration(
      "config.router", read("config.router", config.router), layers: 1))
  configuration.hidden = given(config.hidden)
  configuration.sharedExperts = Int(config.shared_experts)
  configuration.activation = try choice(
    "config.activation", config.activation, Constants.activations, "DYNAMOE_ACTIVATION")
  configuration.bias = try boolean("config.bias", config.bias)
  configuration.losses = try lossConfiguration(config.losses)
  configuration.optimizer = try optimizerConfiguration(config.optimizer)
  try configuration.validate()
  return configuration
}

// MARK: - Counts per layer

private func expertCounts(
  _ config: dynamoe_model_config
) throws(DynaMoEError) -> ExpertCounts {
  let schedule = try optionalSchedule("config.expert_schedule", config.expert_schedule)
  switch (config.experts, schedule) {
  case (nil, nil):
    throw .argument(
      "config.experts and config.expert_schedule.name are both NULL, allowed: one of the two")
  case (.some, .some):
    throw .argument(
      "config.experts and config.expert_schedule.name are both given, allowed: one of the two")
  case (nil, let schedule?):
    return .schedule(schedule, layers: config.layers)
  case (let experts?, nil):
    return .list(
      try array("config.experts", experts, "config.layers", config.layers).map { Int($0) })
  }
}

private func hiddenCounts(
  _ config: dynamoe_model_config
) throws(DynaMoEError) -> LayerCounts? {
  let schedule = try optionalSchedule("config.hidden_schedule", config.hidden_schedule)
  guard let pointer = config.hidden else {
    guard config.hidden_count == 0 else {
      throw .argument(
        "config.hidden is NULL while config.hidden_count is \(unsigned(config.hidden_count)), allowed: 0 without an array"
      )
    }
    return schedule.map { .schedule($0) }
  }
  guard schedule == nil else {
    throw .argument(
      "config.hidden and config.hidden_schedule.name are both given, allowed: at most one of the two"
    )
  }
  guard config.hidden_count == 1 || config.hidden_count == config.layers else {
    throw .argument(
      "config.hidden_count is \(unsigned(config.hidden_count)), allowed: 1 or config.layers = \(config.layers)"
    )
  }
  let hidden = try array(
    "config.hidden", pointer, "config.hidden_count", config.hidden_count)
  return hidden.count == 1 ? .all(Int(hidden[0])) : .list(hidden.map { Int($0) })
}

private func optionalSchedule(
  _ name: String, _ config: dynamoe_schedule_config
) throws(DynaMoEError) -> Schedule? {
  guard config.name != nil else {
    // Somebody who sets the rest has forgotten the name, and would silently get another network.
    guard config.maximum == 0, config.minimum <= 1, config.total == 0 else {
      throw .argument(
        "\(name).name is NULL while its other fields are set, allowed: the name of a schedule")
    }
    return nil
  }
  return try engineSchedule(
    name + ".", config.name, config.minimum, config.maximum, config.cycles, config.total)
}

// MARK: - Routers

private func routerConfigurations(
  _ config: dynamoe_model_config
) throws(DynaMoEError) -> [RouterConfiguration] {
  guard let pointer = config.routers else {
    throw .argument("config.routers is NULL, allowed: an array of dynamoe_router_config")
  }
  guard config.router_count == 1 || config.router_count == config.layers else {
    throw .argument(
      "config.router_count is \(unsigned(config.router_count)), allowed: 1 or config.layers = \(config.layers)"
    )
  }
  let structs = try read("config.routers", pointer, count: config.router_count)
  var routers: [RouterConfiguration] = []
  for (index, router) in structs.enumerated() {
    routers.append(
      try routerConfiguration("config.routers[\(index)]", router, layers: config.layers))
  }
  return routers
}

private func routerConfiguration(
  _ name: String, _ config: dynamoe_router_config, layers: Int
) throws(DynaMoEError) -> RouterConfiguration {
  try checkReserved("\(name).reserved", config.reserved)
  var configuration = RouterConfiguration(
    kind: try choice("\(name).kind", config.kind, Constants.routers, "DYNAMOE_ROUTER"))
  configuration.gate = try choice(
    "\(name).gate", config.gate, Constants.gates, "DYNAMOE_GATE")
  configuration.temperature = given(config.temperature)
  configuration.noise = given(config.noise)
  configuration.minActive = try optionalSize("\(name).min_active", config.min_active)
  configuration.maxActive = try optionalSize("\(name).max_active", config.max_active)
  configuration.balanceRate = given(config.balance_rate)
  configuration.percentile = given(config.percentile)
  configuration.targetActive = try targetActive(name, config, layers: layers)
  configuration.momentum = given(config.momentum)
  configuration.k = try optionalSize("\(name).k", config.k)
  configuration.p = given(config.p)
  configuration.scale = given(config.scale)
  return configuration
}

private func targetActive(
  _ name: String, _ config: dynamoe_router_config, layers: Int
) throws(DynaMoEError) -> LayerValues? {
  let count = config.target_active_layer_count
  guard let pointer = config.target_active_layers else {
    guard count == 0 else {
      throw .argument(
        "\(name).target_active_layers is NULL while \(name).target_active_layer_count is \(unsigned(count)), allowed: 0 without an array"
      )
    }
    return given(config.target_active).map { .all($0) }
  }
  guard config.target_active.isNaN else {
    throw .argument(
      "\(name).target_active and \(name).target_active_layers are both given, allowed: one of the two"
    )
  }
  guard count == layers else {
    throw .argument(
      "\(name).target_active_layer_count is \(unsigned(count)), allowed: the number of layers, \(layers)"
    )
  }
  let values = try array(
    "\(name).target_active_layers", pointer, "\(name).target_active_layer_count", count)
  return .list(Array(values))
}

// MARK: - Losses and optimizer

private func lossConfiguration(
  _ pointer: UnsafePointer<dynamoe_losses_config>?
) throws(DynaMoEError) -> LossConfiguration {
  var configuration = LossConfiguration()
  guard let pointer else { return configuration }
  let config = try read("config.losses", pointer)
  try checkReserved("config.losses.reserved", Int32(bitPattern: config.reserved))
  configuration.balance = config.balance
  configuration.z = config.z
  configuration.entropy = config.entropy
  configuration.sparsity = config.sparsity
  return configuration
}

private func optimizerConfiguration(
  _ pointer: UnsafePointer<dynamoe_optimizer_config>?
) throws(DynaMoEError) -> OptimizerConfiguration {
  guard let pointer else { return OptimizerConfiguration() }
  let config = try read("config.optimizer", pointer)
  var configuration = OptimizerConfiguration(
    kind: try choice(
      "config.optimizer.kind", config.kind, Constants.optimizers, "DYNAMOE_OPTIMIZER"))
  configuration.lr = config.lr
  configuration.beta1 = given(config.beta1)
  configuration.beta2 = given(config.beta2)
  configuration.eps = given(config.eps)
  configuration.momentum = given(config.momentum)
  configuration.nesterov =
    config.nesterov == -1 ? nil : try boolean("config.optimizer.nesterov", config.nesterov)
  configuration.decayAll = try boolean("config.optimizer.decay_all", config.decay_all)
  configuration.weightDecay = given(config.weight_decay)
  configuration.clip = given(config.clip)
  configuration.warmup = Int(config.warmup)
  configuration.total = try optionalSize("config.optimizer.total", config.total)
  configuration.floor = config.floor
  return configuration
}

// MARK: - Settings that may be absent

/// NaN is how C leaves a number to the default of the kind.
private func given(_ value: Double) -> Double? {
  value.isNaN ? nil : value
}

/// 0 is how C leaves a size to its default; every other value is the engine's to judge.
private func given(_ value: Int64) -> Int? {
  value == 0 ? nil : Int(value)
}

/// -1 is how C leaves an integer to the default of the kind.
private func optionalSize(
  _ name: String, _ value: Int64
) throws(DynaMoEError) -> Int? {
  guard value >= -1 else {
    throw .argument("\(name) is \(value), allowed: -1 for the default, or from 0")
  }
  return value == -1 ? nil : Int(value)
}

private func checkReserved(_ name: String, _ value: Int32) throws(DynaMoEError) {
  guard value == 0 else {
    throw .argument("\(name) is \(value), allowed: 0, as _init left it")
  }
}
