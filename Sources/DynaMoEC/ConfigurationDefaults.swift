import CDynaMoE
import DynaMoE

// The defaults that the header prints beside each field. What must be filled in starts as a value
// that is refused.

@_cdecl("dynamoe_router_config_init")
public func routerConfigurationInitialize(
  _ config: UnsafeMutablePointer<dynamoe_router_config>?, _ size: Int
) -> dynamoe_status {
  guarded { () throws(DynaMoEError) in try initialize(config, size) }
}

@_cdecl("dynamoe_losses_config_init")
public func lossesConfigurationInitialize(
  _ config: UnsafeMutablePointer<dynamoe_losses_config>?, _ size: Int
) -> dynamoe_status {
  guarded { () throws(DynaMoEError) in try initialize(config, size) }
}

@_cdecl("dynamoe_optimizer_config_init")
public func optimizerConfigurationInitialize(
  _ config: UnsafeMutablePointer<dynamoe_optimizer_config>?, _ size: Int
) -> dynamoe_status {
  guarded { () throws(DynaMoEError) in try initialize(config, size) }
}

@_cdecl("dynamoe_model_config_init")
public func modelConfigurationInitialize(
  _ config: UnsafeMutablePointer<dynamoe_model_config>?, _ size: Int
) -> dynamoe_status {
  guarded { () throws(DynaMoEError) in try initialize(config, size) }
}

@_cdecl("dynamoe_layer_config_init")
public func layerConfigurationInitialize(
  _ config: UnsafeMutablePointer<dynamoe_layer_config>?, _ size: Int
) -> dynamoe_status {
  guarded { () throws(DynaMoEError) in try initialize(config, size) }
}

extension dynamoe_router_config: ConfigurationStruct {
  static var firstSize: Int { 120 }

  static var defaults: Self {
    var config = Self()
    config.kind = -1
    config.gate = Int32(DYNAMOE_GATE_DEFAULT)
    config.temperature = .nan
    config.noise = .nan
    config.min_active = -1
    config.max_active = -1
    config.balance_rate = .nan
    config.percentile = .nan
    config.target_active = .nan
    config.momentum = .nan
    config.k = -1
    config.p = .nan
    config.scale = .nan
    return config
  }
}

extension dynamoe_losses_config: ConfigurationStruct {
  static var firstSize: Int { 40 }

  static var defaults: Self {
    var config = Self()
    config.sparsity = 1e-8
    return config
  }
}

extension dynamoe_optimizer_config: ConfigurationStruct {
  static var firstSize: Int { 96 }

  static var defaults: Self {
    var config = Self()
    config.kind = Int32(DYNAMOE_OPTIMIZER_ADAMW)
    config.lr = 1e-3
    config.beta1 = .nan
    config.beta2 = .nan
    config.eps = .nan
    config.momentum = .nan
    config.nesterov = -1
    config.weight_decay = .nan
    config.clip = .nan
    config.total = -1
    return config
  }
}

extension dynamoe_schedule_config {
  static var defaults: Self {
    var config = Self()
    config.minimum = 1
    config.cycles = 2
    return config
  }
}

extension dynamoe_model_config: ConfigurationStruct {
  static var firstSize: Int { 216 }

  static var defaults: Self {
    var config = Self()
    config.task = -1
    config.expert_schedule = .defaults
    config.hidden_schedule = .defaults
    config.activation = Int32(DYNAMOE_ACTIVATION_GELU)
    config.norm = Int32(DYNAMOE_NORM_LAYER)
    config.bias = 1
    config.residual = 1
    return config
  }
}

extension dynamoe_layer_config: ConfigurationStruct {
  static var firstSize: Int { 72 }

  static var defaults: Self {
    var config = Self()
    config.activation = Int32(DYNAMOE_ACTIVATION_GELU)
    config.bias = 1
    return config
  }
}
