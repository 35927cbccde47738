import CDynaMoE
import DynaMoE

@_cdecl("dynamoe_layer_create")
public func layerCreate(
  _ config: UnsafePointer<dynamoe_layer_config>?, _ seed: UInt64,
  _ out: UnsafeMutablePointer<OpaquePointer?>?
) -> dynamoe_status {
  create(out) { () throws(DynaMoEError) in
    try MoELayer(layerConfiguration(config), seed: seed)
  }
}

@_cdecl("dynamoe_layer_create_json")
public func layerCreateJSON(
  _ json: UnsafePointer<CChar>?, _ length: Int, _ seed: UInt64,
  _ out: UnsafeMutablePointer<OpaquePointer?>?
) -> dynamoe_status {
  create(out) { () throws(DynaMoEError) in
    try MoELayer(LayerConfiguration(json: text("json", json, length: length)), seed: seed)
  }
}

@_cdecl("dynamoe_layer_free")
public func layerFree(_ layer: OpaquePointer?) -> dynamoe_status {
  release(layer, MoELayer.self)
}

@_cdecl("dynamoe_layer_info")
public func layerInfo(
  _ layer: OpaquePointer?, _ info: UnsafeMutablePointer<dynamoe_info>?
) -> dynamoe_status {
  guarded(layer, MoELayer.self) { (layer: MoELayer) throws(DynaMoEError) in
    let result = try ResultStruct("info", info)
    var info = sharedInfo(layer)
    let width = Int64(layer.configuration.width)
    info.task = -1
    info.inputs = width
    info.outputs = width
    info.width = width
    result.write(info)
  }
}

@_cdecl("dynamoe_layer_config_json")
public func layerConfigurationJSON(
  _ layer: OpaquePointer?, _ text: UnsafeMutablePointer<CChar>?, _ capacity: Int,
  _ length: UnsafeMutablePointer<Int>?
) -> dynamoe_status {
  configurationJSON(layer, MoELayer.self, text, capacity, length)
}

@_cdecl("dynamoe_layer_forward")
public func layerForward(
  _ layer: OpaquePointer?, _ x: UnsafePointer<Float>?, _ xCount: Int, _ rows: Int,
  _ training: Int32, _ y: UnsafeMutablePointer<Float>?, _ yCount: Int
) -> dynamoe_status {
  guarded(layer, MoELayer.self) { (layer: MoELayer) throws(DynaMoEError) in
    let shape = rowShape(layer, rows)
    let x = try array("x", x, "x_count", xCount, shape: shape)
    let y = try output("y", y, "y_count", yCount, shape: shape)
    try layer.forward(x, rows: rows, training: training != 0, into: y)
  }
}

@_cdecl("dynamoe_layer_losses")
public func layerLosses(
  _ layer: OpaquePointer?, _ losses: UnsafeMutablePointer<dynamoe_losses>?
) -> dynamoe_status {
  guarded(layer, MoELayer.self) { (layer: MoELayer) throws(DynaMoEError) in
    let result = try ResultStruct("losses", losses)
    result.write(dynamoe_losses(try layer.losses()))
  }
}

@_cdecl("dynamoe_layer_backward")
public func layerBackward(
  _ layer: OpaquePointer?, _ outputGradient: UnsafePointer<Float>?,
  _ outputGradientCount: Int, _ inputGradient: UnsafeMutablePointer<Float>?,
  _ inputGradientCount: Int
) -> dynamoe_status {
  guarded(layer, MoELayer.self) { (layer: MoELayer) throws(DynaMoEError) in
    let outputGradient = try array(
      "output_gradient", outputGradient, "output_gradient_count", outputGradientCount)
    let gradient = try inputGradientOutput(inputGradient, inputGradientCount)
    try layer.backward(outputGradient, inputGradient: gradient)
  }
}

@_cdecl("dynamoe_layer_backward_step")
public func layerBackwardStep(
  _ layer: OpaquePointer?, _ outputGradient: UnsafePointer<Float>?,
  _ outputGradientCount: Int, _ inputGradient: UnsafeMutablePointer<Float>?,
  _ inputGradientCount: Int, _ lr: Double
) -> dynamoe_status {
  guarded(layer, MoELayer.self) { (layer: MoELayer) throws(DynaMoEError) in
    let outputGradient = try array(
      "output_gradient", outputGradient, "output_gradient_count", outputGradientCount)
    let gradient = try inputGradientOutput(inputGradient, inputGradientCount)
    try layer.backwardStep(
      outputGradient, inputGradient: gradient, learningRate: learningRate(lr))
  }
}

@_cdecl("dynamoe_layer_calibrate")
public func layerCalibrate(
  _ layer: OpaquePointer?, _ x: UnsafePointer<Float>?, _ xCount: Int, _ rows: Int,
  _ targetActive: Double
) -> dynamoe_status {
  guarded(layer, MoELayer.self) { (layer: MoELayer) throws(DynaMoEError) in
    let x = try array("x", x, "x_count", xCount, shape: rowShape(layer, rows))
    try layer.calibrate(x, rows: rows, targetActive: targetActive)
  }
}

private func rowShape(_ layer: MoELayer, _ rows: Int) -> Shape {
  Shape(formula: "rows * width", rows: rows, columns: layer.configuration.width)
}
