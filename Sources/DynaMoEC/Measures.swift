import CDynaMoE
import DynaMoE

@_cdecl("dynamoe_model_measure")
public func modelMeasure(_ model: OpaquePointer?, _ measures: UInt32) -> dynamoe_status {
  measure(model, Model.self, measures)
}

@_cdecl("dynamoe_layer_measure")
public func layerMeasure(_ layer: OpaquePointer?, _ measures: UInt32) -> dynamoe_status {
  measure(layer, MoELayer.self, measures)
}

@_cdecl("dynamoe_model_gradient_variance")
public func modelGradientVariance(
  _ model: OpaquePointer?, _ values: UnsafeMutablePointer<Double>?, _ count: Int
) -> dynamoe_status {
  gradientVariance(model, Model.self, values, count)
}

@_cdecl("dynamoe_layer_gradient_variance")
public func layerGradientVariance(
  _ layer: OpaquePointer?, _ values: UnsafeMutablePointer<Double>?, _ count: Int
) -> dynamoe_status {
  gradientVariance(layer, MoELayer.self, values, count)
}

// MARK: - Shared

private func measure<Network: ExportedNetwork>(
  _ handle: OpaquePointer?, _: Network.Type, _ measures: UInt32
) -> dynamoe_status {
  guarded(handle, Network.self) { (network: Network) throws(DynaMoEError) in
    try network.measure(Measures(rawValue: Int(measures)))
  }
}

private func gradientVariance<Network: ExportedNetwork>(
  _ handle: OpaquePointer?, _: Network.Type, _ values: UnsafeMutablePointer<Double>?,
  _ count: Int
) -> dynamoe_status {
  guarded(handle, Network.self) { (network: Network) throws(DynaMoEError) in
    let destination = try output(
      "values", values, "count", count,
      shape: Shape(formula: "tensor_count", rows: network.parameterTensorCount))
    for (index, value) in try network.gradientVariance().enumerated()
    where index < destination.count { destination[index] = value }
  }
}
