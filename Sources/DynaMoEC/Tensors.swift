import CDynaMoE
import DynaMoE
import Glibc

@_cdecl("dynamoe_model_parameter")
public func modelParameter(
  _ model: OpaquePointer?, _ index: Int, _ tensor: UnsafeMutablePointer<dynamoe_tensor>?
) -> dynamoe_status {
  tensorAt(model, Model.self, .parameters, index, tensor)
}

@_cdecl("dynamoe_model_buffer")
public func modelBuffer(
  _ model: OpaquePointer?, _ index: Int, _ tensor: UnsafeMutablePointer<dynamoe_tensor>?
) -> dynamoe_status {
  tensorAt(model, Model.self, .buffers, index, tensor)
}

@_cdecl("dynamoe_layer_parameter")
public func layerParameter(
  _ layer: OpaquePointer?, _ index: Int, _ tensor: UnsafeMutablePointer<dynamoe_tensor>?
) -> dynamoe_status {
  tensorAt(layer, MoELayer.self, .parameters, index, tensor)
}

@_cdecl("dynamoe_layer_buffer")
public func layerBuffer(
  _ layer: OpaquePointer?, _ index: Int, _ tensor: UnsafeMutablePointer<dynamoe_tensor>?
) -> dynamoe_status {
  tensorAt(layer, MoELayer.self, .buffers, index, tensor)
}

@_cdecl("dynamoe_model_parameter_set")
public func modelParameterSet(
  _ model: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ values: UnsafePointer<Float>?,
  _ count: Int
) -> dynamoe_status {
  setTensor(model, Model.self, .parameters, name, values, count)
}

@_cdecl("dynamoe_model_buffer_set")
public func modelBufferSet(
  _ model: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ values: UnsafePointer<Float>?,
  _ count: Int
) -> dynamoe_status {
  setTensor(model, Model.self, .buffers, name, values, count)
}

@_cdecl("dynamoe_layer_parameter_set")
public func layerParameterSet(
  _ layer: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ values: UnsafePointer<Float>?,
  _ count: Int
) -> dynamoe_status {
  setTensor(layer, MoELayer.self, .parameters, name, values, count)
}

@_cdecl("dynamoe_layer_buffer_set")
public func layerBufferSet(
  _ layer: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ values: UnsafePointer<Float>?,
  _ count: Int
) -> dynamoe_status {
  setTensor(layer, MoELayer.self, .buffers, name, values, count)
}

@_cdecl("dynamoe_model_parameter_get")
public func modelParameterGet(
  _ model: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ values: UnsafeMutablePointer<Float>?,
  _ count: Int
) -> dynamoe_status {
  getParameter(model, Model.self, name, values, count)
}

@_cdecl("dynamoe_layer_parameter_get")
public func layerParameterGet(
  _ layer: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ values: UnsafeMutablePointer<Float>?,
  _ count: Int
) -> dynamoe_status {
  getParameter(layer, MoELayer.self, name, values, count)
}

// MARK: - Shared

/// The two lists of tensors that a network has.
private enum TensorList {
  case parameters, buffers

  var countName: String {
    switch self {
    case .parameters: "tensor_count"
    case .buffers: "buffer_count"
    }
  }
}

private func tensorAt<Network: ExportedNetwork>(
  _ handle: OpaquePointer?, _: Network.Type, _ list: TensorList, _ index: Int,
  _ tensor: UnsafeMutablePointer<dynamoe_tensor>?
) -> dynamoe_status {
  guarded(handle, Network.self) { (network: Network, entry) throws(DynaMoEError) in
    let result = try ResultStruct("tensor", tensor)
    let count = list == .parameters ? network.parameterTensorCount : network.bufferTensorCount
    guard 0..<count ~= index else {
      throw .argument(
        "index is \(unsigned(index)), allowed: 0 to \(list.countName) - 1, \(list.countName) is \(count)"
      )
    }
    let tensor = list == .parameters ? network.parameter(at: index) : network.buffer(at: index)
    let names = list == .parameters ? entry.parameterNames : entry.bufferNames
    result.write(dynamoe_tensor(tensor, name: try names.name(index, of: tensor)))
  }
}

private func setTensor<Network: ExportedNetwork>(
  _ handle: OpaquePointer?, _: Network.Type, _ list: TensorList,
  _ name: UnsafePointer<CChar>?, _ values: UnsafePointer<Float>?, _ count: Int
) -> dynamoe_status {
  guarded(handle, Network.self) { (network: Network) throws(DynaMoEError) in
    if list == .parameters { try network.requireTraining() }
    let tensor = try named(name, list == .parameters ? network.parameters : network.buffers)
    let name = tensor.name
    let values = try array(
      "values", values, "count", count,
      shape: Shape(formula: "elements of \(name)", rows: tensor.count))
    switch list {
    case .parameters: try network.setParameter(name, values)
    case .buffers: try network.setBuffer(name, values)
    }
  }
}

private func getParameter<Network: ExportedNetwork>(
  _ handle: OpaquePointer?, _: Network.Type, _ name: UnsafePointer<CChar>?,
  _ values: UnsafeMutablePointer<Float>?, _ count: Int
) -> dynamoe_status {
  guarded(handle, Network.self) { (network: Network) throws(DynaMoEError) in
    let tensor = try named(name, network.parameters)
    let shape = Shape(formula: "elements of \(tensor.name)", rows: tensor.count)
    let values = try output("values", values, "count", count, shape: shape)
    try network.copyParameter(tensor.name, into: values)
  }
}

private func named(
  _ name: UnsafePointer<CChar>?, _ tensors: [Tensor]
) throws(DynaMoEError) -> Tensor {
  let name = try text("name", name, limit: Int(PATH_MAX))
  guard let tensor = tensors.first(where: { $0.name == name }) else {
    let allowed = tensors.map(\.name).joined(separator: ", ")
    throw .argument("name is \"\(name)\", allowed: \(allowed.isEmpty ? "none" : allowed)")
  }
  return tensor
}

extension dynamoe_tensor {
  fileprivate init(_ tensor: Tensor, name: UnsafePointer<CChar>) {
    self.init()
    rank = UInt32(tensor.shape.count)
    self.name = name
    withUnsafeMutableBytes(of: &shape) { bytes in
      let shape = bytes.bindMemory(to: Int64.self)
      for (axis, size) in tensor.shape.enumerated() where axis < shape.count {
        shape[axis] = Int64(size)
      }
    }
    count = tensor.count
    data = tensor.precision == .float32 ? tensor.values.baseAddress : nil
    gradient = tensor.gradient?.baseAddress
  }
}

/// Tensor names as C strings which live as long as the handle.
final class BorrowedNames {
  private var names: [Int: UnsafeMutablePointer<CChar>] = [:]

  func name(_ index: Int, of tensor: Tensor) throws(DynaMoEError) -> UnsafePointer<CChar> {
    if let name = names[index] { return UnsafePointer(name) }
    guard let copy = strdup(tensor.name) else {
      throw .memory("no memory for the name of \(tensor.name)")
    }
    names[index] = copy
    return UnsafePointer(copy)
  }

  deinit {
    for name in names.values { free(name) }
  }
}
