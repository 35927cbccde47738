import CDynaMoE
import DynaMoE

@_cdecl("dynamoe_model_save")
public func modelSave(
  _ model: OpaquePointer?, _ path: UnsafePointer<CChar>?
) -> dynamoe_status {
  save(model, Model.self, path)
}

@_cdecl("dynamoe_layer_save")
public func layerSave(
  _ layer: OpaquePointer?, _ path: UnsafePointer<CChar>?
) -> dynamoe_status {
  save(layer, MoELayer.self, path)
}

@_cdecl("dynamoe_model_load")
public func modelLoad(
  _ path: UnsafePointer<CChar>?, _ out: UnsafeMutablePointer<OpaquePointer?>?
) -> dynamoe_status {
  create(out) { () throws(DynaMoEError) in
    try Model(contentsOf: filePath(path))
  }
}

@_cdecl("dynamoe_layer_load")
public func layerLoad(
  _ path: UnsafePointer<CChar>?, _ out: UnsafeMutablePointer<OpaquePointer?>?
) -> dynamoe_status {
  create(out) { () throws(DynaMoEError) in
    try MoELayer(contentsOf: filePath(path))
  }
}

@_cdecl("dynamoe_model_load_as")
public func modelLoadAs(
  _ path: UnsafePointer<CChar>?, _ precision: Int32, _ out: UnsafeMutablePointer<OpaquePointer?>?
) -> dynamoe_status {
  create(out) { () throws(DynaMoEError) in
    try Model(contentsOf: filePath(path), precision: Constants.precision(precision))
  }
}

@_cdecl("dynamoe_layer_load_as")
public func layerLoadAs(
  _ path: UnsafePointer<CChar>?, _ precision: Int32, _ out: UnsafeMutablePointer<OpaquePointer?>?
) -> dynamoe_status {
  create(out) { () throws(DynaMoEError) in
    try MoELayer(contentsOf: filePath(path), precision: Constants.precision(precision))
  }
}

private func save<Network: ExportedNetwork>(
  _ handle: OpaquePointer?, _: Network.Type, _ path: UnsafePointer<CChar>?
) -> dynamoe_status {
  guarded(handle, Network.self) { (network: Network) throws(DynaMoEError) in
    try network.save(to: filePath(path))
  }
}
