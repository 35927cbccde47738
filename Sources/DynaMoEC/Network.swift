import CDynaMoE
import DynaMoE

// What models and layers share: each entry of theirs is one line that names its kind.

/// Makes what the handle stands for and gives it to the caller; *out is NULL until that has succeeded.
func create<Object: Exported>(
  _ out: UnsafeMutablePointer<OpaquePointer?>?,
  _ make: () throws(DynaMoEError) -> Object
) -> dynamoe_status {
  guarded { () throws(DynaMoEError) in
    let out = try required("out", out)
    out.pointee = nil
    out.pointee = try HandleTable.insert(make())
  }
}

/// Ends a handle. NULL is fine; what another thread uses lives on.
func release<Object: Exported>(
  _ handle: OpaquePointer?, _: Object.Type
) -> dynamoe_status {
  guard handle != nil else { return dynamoe_status(DYNAMOE_OK) }
  switch HandleTable.remove(handle, Object.kind) {
  case .entered: return dynamoe_status(DYNAMOE_OK)
  case .refused(let refusal): return fail(refusal.status, refusal.message(Object.kind))
  }
}

/// The counters that every network has.
func sharedInfo(_ network: some ExportedNetwork) -> dynamoe_info {
  var info = dynamoe_info()
  info.layers = Int64(network.layerCount)
  info.parameter_count = Int64(network.parameterCount)
  info.active_parameter_count = network.activeParameterCount
  info.flops_per_row = network.flopsPerRow
  info.optimizer_steps = Int64(network.optimizerSteps)
  info.training_forwards = Int64(network.trainingForwards)
  info.tensor_count = Int64(network.parameterTensorCount)
  info.buffer_count = Int64(network.bufferTensorCount)
  info.precision = Constants.constant(of: network.precision)
  return info
}

func configurationJSON<Network: ExportedNetwork>(
  _ handle: OpaquePointer?, _: Network.Type, _ text: UnsafeMutablePointer<CChar>?,
  _ capacity: Int, _ length: UnsafeMutablePointer<Int>?
) -> dynamoe_status {
  guarded(handle, Network.self) { (network: Network) throws(DynaMoEError) in
    try writeText(network.configurationJSON, text, capacity, length)
  }
}

/// A text for a caller who may ask for its length first: NULL with 0 writes the length only.
func writeText(
  _ value: String, _ text: UnsafeMutablePointer<CChar>?, _ capacity: Int,
  _ length: UnsafeMutablePointer<Int>?
) throws(DynaMoEError) {
  let length = try required("length", length)
  guard text != nil || capacity == 0 else {
    throw .argument(
      "text is NULL while capacity is \(unsigned(capacity)), allowed: NULL with 0 to ask for the length"
    )
  }
  var value = value
  let needed = value.utf8.count
  length.pointee = needed
  guard let text else { return }
  // As a size_t: a capacity in the upper half of its range is more than enough.
  guard unsigned(capacity) > unsigned(needed) else {
    throw .argument("capacity is \(capacity), allowed: at least \(needed + 1) bytes")
  }
  value.withUTF8 { bytes in
    for (index, byte) in bytes.enumerated() { text[index] = CChar(bitPattern: byte) }
  }
  text[needed] = 0
}

// MARK: - Optimizer

@_cdecl("dynamoe_model_step")
public func modelStep(_ model: OpaquePointer?, _ lr: Double) -> dynamoe_status {
  step(model, Model.self, lr)
}

@_cdecl("dynamoe_layer_step")
public func layerStep(_ layer: OpaquePointer?, _ lr: Double) -> dynamoe_status {
  step(layer, MoELayer.self, lr)
}

private func step<Network: ExportedNetwork>(
  _ handle: OpaquePointer?, _: Network.Type, _ lr: Double
) -> dynamoe_status {
  guarded(handle, Network.self) { (network: Network) throws(DynaMoEError) in
    try network.step(learningRate: learningRate(lr))
  }
}

/// The caller's learning rate, nil for the configured one.
func learningRate(_ lr: Double) throws(DynaMoEError) -> Double? {
  guard lr.isNaN || (lr.isFinite && lr >= 0) else {
    throw .argument("lr is \(lr), allowed: NaN for the configured one, or 0 to 1e6")
  }
  return lr.isNaN ? nil : lr
}

@_cdecl("dynamoe_model_zero_gradients")
public func modelZeroGradients(_ model: OpaquePointer?) -> dynamoe_status {
  zeroGradients(model, Model.self)
}

@_cdecl("dynamoe_layer_zero_gradients")
public func layerZeroGradients(_ layer: OpaquePointer?) -> dynamoe_status {
  zeroGradients(layer, MoELayer.self)
}

private func zeroGradients<Network: ExportedNetwork>(
  _ handle: OpaquePointer?, _: Network.Type
) -> dynamoe_status {
  guarded(handle, Network.self) { (network: Network) throws(DynaMoEError) in
    try network.requireTraining()
    network.zeroGradients()
  }
}

// MARK: - Auxiliary losses

@_cdecl("dynamoe_model_auxiliary_losses")
public func modelAuxiliaryLosses(
  _ model: OpaquePointer?, _ values: UnsafeMutablePointer<Double>?, _ count: Int
) -> dynamoe_status {
  auxiliaryLosses(model, Model.self, values, count)
}

@_cdecl("dynamoe_layer_auxiliary_losses")
public func layerAuxiliaryLosses(
  _ layer: OpaquePointer?, _ values: UnsafeMutablePointer<Double>?, _ count: Int
) -> dynamoe_status {
  auxiliaryLosses(layer, MoELayer.self, values, count)
}

private func auxiliaryLosses<Network: ExportedNetwork>(
  _ handle: OpaquePointer?, _: Network.Type, _ values: UnsafeMutablePointer<Double>?,
  _ count: Int
) -> dynamoe_status {
  guarded(handle, Network.self) { (network: Network) throws(DynaMoEError) in
    let destination = try output(
      "values", values, "count", count,
      shape: Shape(formula: "layers * 4", rows: network.layerCount, columns: 4))
    let losses = try network.auxiliaryLosses()
    for (index, loss) in losses.enumerated() where index < destination.count {
      destination[index] = loss
    }
  }
}

// MARK: - Gradients

/// input_gradient of a backward pass, or nil when the caller does not want it. The engine knows how
/// many rows it must hold.
func inputGradientOutput(
  _ inputGradient: UnsafeMutablePointer<Float>?, _ count: Int
) throws(DynaMoEError) -> UnsafeMutableBufferPointer<Float>? {
  if inputGradient == nil && count == 0 { return nil }
  let lent = try array(
    "input_gradient", UnsafePointer(inputGradient), "input_gradient_count", count)
  return UnsafeMutableBufferPointer(mutating: lent)
}
