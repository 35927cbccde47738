import CDynaMoE
import DynaMoE

@_cdecl("dynamoe_model_create")
public func modelCreate(
  _ config: UnsafePointer<dynamoe_model_config>?, _ seed: UInt64,
  _ out: UnsafeMutablePointer<OpaquePointer?>?
) -> dynamoe_status {
  create(out) { () throws(DynaMoEError) in
    try Model(modelConfiguration(config), seed: seed)
  }
}

@_cdecl("dynamoe_model_create_json")
public func modelCreateJSON(
  _ json: UnsafePointer<CChar>?, _ length: Int, _ seed: UInt64,
  _ out: UnsafeMutablePointer<OpaquePointer?>?
) -> dynamoe_status {
  create(out) { () throws(DynaMoEError) in
    try Model(ModelConfiguration(json: text("json", json, length: length)), seed: seed)
  }
}

@_cdecl("dynamoe_model_free")
public func modelFree(_ model: OpaquePointer?) -> dynamoe_status {
  release(model, Model.self)
}

@_cdecl("dynamoe_model_info")
public func modelInfo(
  _ model: OpaquePointer?, _ info: UnsafeMutablePointer<dynamoe_info>?
) -> dynamoe_status {
  guarded(model, Model.self) { (model: Model) throws(DynaMoEError) in
    let result = try ResultStruct("info", info)
    var info = sharedInfo(model)
    info.task = Constants.constant(of: model.configuration.task)
    info.inputs = Int64(model.configuration.inputs ?? 0)
    info.vocabulary = Int64(model.configuration.vocabulary ?? 0)
    info.outputs = Int64(model.outputs)
    info.width = Int64(model.configuration.width)
    result.write(info)
  }
}

@_cdecl("dynamoe_model_config_json")
public func modelConfigurationJSON(
  _ model: OpaquePointer?, _ text: UnsafeMutablePointer<CChar>?, _ capacity: Int,
  _ length: UnsafeMutablePointer<Int>?
) -> dynamoe_status {
  configurationJSON(model, Model.self, text, capacity, length)
}

// MARK: - Forward, loss and backward

@_cdecl("dynamoe_model_forward")
public func modelForward(
  _ model: OpaquePointer?, _ x: UnsafePointer<Float>?, _ xCount: Int, _ rows: Int,
  _ training: Int32, _ logits: UnsafeMutablePointer<Float>?, _ logitsCount: Int
) -> dynamoe_status {
  guarded(model, Model.self) { (model: Model) throws(DynaMoEError) in
    let input = try features(model, x, xCount, rows)
    try forward(model, input, rows, training, logits, logitsCount)
  }
}

@_cdecl("dynamoe_model_forward_tokens")
public func modelForwardTokens(
  _ model: OpaquePointer?, _ ids: UnsafePointer<Int32>?, _ rows: Int, _ training: Int32,
  _ logits: UnsafeMutablePointer<Float>?, _ logitsCount: Int
) -> dynamoe_status {
  guarded(model, Model.self) { (model: Model) throws(DynaMoEError) in
    let input = try tokens(model, ids, rows)
    try forward(model, input, rows, training, logits, logitsCount)
  }
}

@_cdecl("dynamoe_model_loss")
public func modelLoss(
  _ model: OpaquePointer?, _ targets: UnsafePointer<dynamoe_targets>?,
  _ losses: UnsafeMutablePointer<dynamoe_losses>?
) -> dynamoe_status {
  guarded(model, Model.self) { (model: Model) throws(DynaMoEError) in
    let result = try ResultStruct("losses", losses)
    let targets = try engineTargets(model, targets, rows: nil)
    result.write(dynamoe_losses(try model.loss(targets)))
  }
}

@_cdecl("dynamoe_model_backward")
public func modelBackward(
  _ model: OpaquePointer?, _ targets: UnsafePointer<dynamoe_targets>?,
  _ inputGradient: UnsafeMutablePointer<Float>?, _ inputGradientCount: Int
) -> dynamoe_status {
  guarded(model, Model.self) { (model: Model) throws(DynaMoEError) in
    let targets = try engineTargets(model, targets, rows: nil)
    let gradient = try inputGradientOutput(inputGradient, inputGradientCount)
    try model.backward(targets, inputGradient: gradient)
  }
}

@_cdecl("dynamoe_model_backward_output")
public func modelBackwardOutput(
  _ model: OpaquePointer?, _ outputGradient: UnsafePointer<Float>?,
  _ outputGradientCount: Int, _ inputGradient: UnsafeMutablePointer<Float>?,
  _ inputGradientCount: Int
) -> dynamoe_status {
  guarded(model, Model.self) { (model: Model) throws(DynaMoEError) in
    let outputGradient = try array(
      "output_gradient", outputGradient, "output_gradient_count", outputGradientCount)
    let gradient = try inputGradientOutput(inputGradient, inputGradientCount)
    try model.backward(outputGradient: outputGradient, inputGradient: gradient)
  }
}

// MARK: - Whole batches

@_cdecl("dynamoe_model_train_batch")
public func modelTrainBatch(
  _ model: OpaquePointer?, _ x: UnsafePointer<Float>?, _ xCount: Int, _ rows: Int,
  _ targets: UnsafePointer<dynamoe_targets>?, _ sampleWeight: UnsafePointer<Float>?,
  _ weightCount: Int, _ losses: UnsafeMutablePointer<dynamoe_losses>?
) -> dynamoe_status {
  guarded(model, Model.self) { (model: Model) throws(DynaMoEError) in
    let input = try features(model, x, xCount, rows)
    try trainBatch(model, input, rows, targets, sampleWeight, weightCount, losses)
  }
}

@_cdecl("dynamoe_model_train_batch_tokens")
public func modelTrainBatchTokens(
  _ model: OpaquePointer?, _ ids: UnsafePointer<Int32>?, _ rows: Int,
  _ targets: UnsafePointer<dynamoe_targets>?, _ sampleWeight: UnsafePointer<Float>?,
  _ weightCount: Int, _ losses: UnsafeMutablePointer<dynamoe_losses>?
) -> dynamoe_status {
  guarded(model, Model.self) { (model: Model) throws(DynaMoEError) in
    let input = try tokens(model, ids, rows)
    try trainBatch(model, input, rows, targets, sampleWeight, weightCount, losses)
  }
}

@_cdecl("dynamoe_model_evaluate")
public func modelEvaluate(
  _ model: OpaquePointer?, _ x: UnsafePointer<Float>?, _ xCount: Int, _ rows: Int,
  _ targets: UnsafePointer<dynamoe_targets>?,
  _ evaluation: UnsafeMutablePointer<dynamoe_evaluation>?,
  _ meanK: UnsafeMutablePointer<Double>?, _ meanKCount: Int
) -> dynamoe_status {
  guarded(model, Model.self) { (model: Model) throws(DynaMoEError) in
    let input = try features(model, x, xCount, rows)
    try evaluate(model, input, rows, targets, evaluation, meanK, meanKCount)
  }
}

@_cdecl("dynamoe_model_evaluate_tokens")
public func modelEvaluateTokens(
  _ model: OpaquePointer?, _ ids: UnsafePointer<Int32>?, _ rows: Int,
  _ targets: UnsafePointer<dynamoe_targets>?,
  _ evaluation: UnsafeMutablePointer<dynamoe_evaluation>?,
  _ meanK: UnsafeMutablePointer<Double>?, _ meanKCount: Int
) -> dynamoe_status {
  guarded(model, Model.self) { (model: Model) throws(DynaMoEError) in
    let input = try tokens(model, ids, rows)
    try evaluate(model, input, rows, targets, evaluation, meanK, meanKCount)
  }
}

@_cdecl("dynamoe_model_calibrate")
public func modelCalibrate(
  _ model: OpaquePointer?, _ x: UnsafePointer<Float>?, _ xCount: Int, _ rows: Int,
  _ targetActive: UnsafePointer<Double>?, _ targetCount: Int
) -> dynamoe_status {
  guarded(model, Model.self) { (model: Model) throws(DynaMoEError) in
    let input = try features(model, x, xCount, rows)
    try calibrate(model, input, targetActive, targetCount)
  }
}

@_cdecl("dynamoe_model_calibrate_tokens")
public func modelCalibrateTokens(
  _ model: OpaquePointer?, _ ids: UnsafePointer<Int32>?, _ rows: Int,
  _ targetActive: UnsafePointer<Double>?, _ targetCount: Int
) -> dynamoe_status {
  guarded(model, Model.self) { (model: Model) throws(DynaMoEError) in
    let input = try tokens(model, ids, rows)
    try calibrate(model, input, targetActive, targetCount)
  }
}
