import CDynaMoE
import DynaMoE

@_cdecl("dynamoe_model_routing_statistics")
public func modelRoutingStatistics(
  _ model: OpaquePointer?, _ layer: Int,
  _ statistics: UnsafeMutablePointer<dynamoe_routing_statistics>?,
  _ kHistogram: UnsafeMutablePointer<Int64>?, _ kHistogramCount: Int,
  _ expertRows: UnsafeMutablePointer<Int64>?, _ expertRowsCount: Int,
  _ meanWeight: UnsafeMutablePointer<Double>?, _ meanWeightCount: Int,
  _ coactivation: UnsafeMutablePointer<Int64>?, _ coactivationCount: Int
) -> dynamoe_status {
  routingStatistics(
    model, Model.self, layer, statistics, (kHistogram, kHistogramCount),
    (expertRows, expertRowsCount), (meanWeight, meanWeightCount),
    (coactivation, coactivationCount))
}

@_cdecl("dynamoe_layer_routing_statistics")
public func layerRoutingStatistics(
  _ layer: OpaquePointer?, _ statistics: UnsafeMutablePointer<dynamoe_routing_statistics>?,
  _ kHistogram: UnsafeMutablePointer<Int64>?, _ kHistogramCount: Int,
  _ expertRows: UnsafeMutablePointer<Int64>?, _ expertRowsCount: Int,
  _ meanWeight: UnsafeMutablePointer<Double>?, _ meanWeightCount: Int,
  _ coactivation: UnsafeMutablePointer<Int64>?, _ coactivationCount: Int
) -> dynamoe_status {
  routingStatistics(
    layer, MoELayer.self, 0, statistics, (kHistogram, kHistogramCount),
    (expertRows, expertRowsCount), (meanWeight, meanWeightCount),
    (coactivation, coactivationCount))
}

@_cdecl("dynamoe_model_routing_reset")
public func modelRoutingReset(_ model: OpaquePointer?) -> dynamoe_status {
  routingReset(model, Model.self)
}

@_cdecl("dynamoe_layer_routing_reset")
public func layerRoutingReset(_ layer: OpaquePointer?) -> dynamoe_status {
  routingReset(layer, MoELayer.self)
}

@_cdecl("dynamoe_model_last_rows")
public func modelLastRows(
  _ model: OpaquePointer?, _ rows: UnsafeMutablePointer<Int>?
) -> dynamoe_status {
  lastRows(model, Model.self, rows)
}

@_cdecl("dynamoe_layer_last_rows")
public func layerLastRows(
  _ layer: OpaquePointer?, _ rows: UnsafeMutablePointer<Int>?
) -> dynamoe_status {
  lastRows(layer, MoELayer.self, rows)
}

@_cdecl("dynamoe_model_last_routing")
public func modelLastRouting(
  _ model: OpaquePointer?, _ layer: Int, _ active: UnsafeMutablePointer<UInt8>?,
  _ activeCount: Int, _ weights: UnsafeMutablePointer<Float>?, _ weightsCount: Int
) -> dynamoe_status {
  lastRouting(model, Model.self, layer, (active, activeCount), (weights, weightsCount))
}

@_cdecl("dynamoe_layer_last_routing")
public func layerLastRouting(
  _ layer: OpaquePointer?, _ active: UnsafeMutablePointer<UInt8>?, _ activeCount: Int,
  _ weights: UnsafeMutablePointer<Float>?, _ weightsCount: Int
) -> dynamoe_status {
  lastRouting(layer, MoELayer.self, 0, (active, activeCount), (weights, weightsCount))
}

@_cdecl("dynamoe_session_routing_statistics")
public func sessionRoutingStatistics(
  _ session: OpaquePointer?, _ layer: Int,
  _ statistics: UnsafeMutablePointer<dynamoe_routing_statistics>?,
  _ kHistogram: UnsafeMutablePointer<Int64>?, _ kHistogramCount: Int,
  _ expertRows: UnsafeMutablePointer<Int64>?, _ expertRowsCount: Int,
  _ meanWeight: UnsafeMutablePointer<Double>?, _ meanWeightCount: Int,
  _ coactivation: UnsafeMutablePointer<Int64>?, _ coactivationCount: Int
) -> dynamoe_status {
  routingStatistics(
    session, Session.self, layer, statistics, (kHistogram, kHistogramCount),
    (expertRows, expertRowsCount), (meanWeight, meanWeightCount),
    (coactivation, coactivationCount))
}

@_cdecl("dynamoe_session_routing_reset")
public func sessionRoutingReset(_ session: OpaquePointer?) -> dynamoe_status {
  routingReset(session, Session.self)
}

@_cdecl("dynamoe_session_last_rows")
public func sessionLastRows(
  _ session: OpaquePointer?, _ rows: UnsafeMutablePointer<Int>?
) -> dynamoe_status {
  lastRows(session, Session.self, rows)
}

@_cdecl("dynamoe_session_last_routing")
public func sessionLastRouting(
  _ session: OpaquePointer?, _ layer: Int, _ active: UnsafeMutablePointer<UInt8>?,
  _ activeCount: Int, _ weights: UnsafeMutablePointer<Float>?, _ weightsCount: Int
) -> dynamoe_status {
  lastRouting(session, Session.self, layer, (active, activeCount), (weights, weightsCount))
}

// MARK: - Shared

/// What has routing to tell of: networks and sessions.
private protocol Routed: Exported {
  var layerCount: Int { get }
  var lastRows: Int { get throws(DynaMoEError) }
  func expertCount(layer: Int) -> Int
  func routingStatistics(
    layer: Int, coactivation: Bool
  ) throws(DynaMoEError) -> RoutingStatistics
  func resetRoutingStatistics() throws(DynaMoEError)
  func copyLastRouting(
    layer: Int, active: UnsafeMutableBufferPointer<UInt8>?,
    weights: UnsafeMutableBufferPointer<Float>?
  ) throws(DynaMoEError)
}

extension Model: Routed {}
extension MoELayer: Routed {}
extension Session: Routed {}

/// An array of the caller's that may be absent, and its length.
private typealias OptionalArray<Element> = (pointer: UnsafeMutablePointer<Element>?, count: Int)

private func routingStatistics<Object: Routed>(
  _ handle: OpaquePointer?, _: Object.Type, _ layer: Int,
  _ statistics: UnsafeMutablePointer<dynamoe_routing_statistics>?,
  _ kHistogram: OptionalArray<Int64>, _ expertRows: OptionalArray<Int64>,
  _ meanWeight: OptionalArray<Double>, _ coactivation: OptionalArray<Int64>
) -> dynamoe_status {
  guarded(handle, Object.self) { (object: Object) throws(DynaMoEError) in
    let result = try ResultStruct("statistics", statistics)
    try check(layer, of: object)
    let experts = object.expertCount(layer: layer)
    let histogram = try optionalOutput(
      "k_histogram", kHistogram.pointer, "k_histogram_count", kHistogram.count,
      shape: Shape(formula: "experts + 1", rows: experts + 1))
    let rows = try optionalOutput(
      "expert_rows", expertRows.pointer, "expert_rows_count", expertRows.count,
      shape: Shape(formula: "experts", rows: experts))
    let weights = try optionalOutput(
      "mean_weight", meanWeight.pointer, "mean_weight_count", meanWeight.count,
      shape: Shape(formula: "experts", rows: experts))
    let pairs = try optionalOutput(
      "coactivation", coactivation.pointer, "coactivation_count", coactivation.count,
      shape: Shape(formula: "experts * experts", rows: experts, columns: experts))
    let measured = try object.routingStatistics(layer: layer, coactivation: pairs != nil)
    copy(measured.kHistogram, to: histogram) { Int64($0) }
    copy(measured.expertRows, to: rows) { Int64($0) }
    copy(measured.meanWeight, to: weights) { $0 }
    copy(measured.coactivation, to: pairs) { Int64($0) }
    result.write(dynamoe_routing_statistics(measured))
  }
}

private func routingReset<Object: Routed>(
  _ handle: OpaquePointer?, _: Object.Type
) -> dynamoe_status {
  guarded(handle, Object.self) { (object: Object) throws(DynaMoEError) in
    try object.resetRoutingStatistics()
  }
}

private func lastRows<Object: Routed>(
  _ handle: OpaquePointer?, _: Object.Type, _ rows: UnsafeMutablePointer<Int>?
) -> dynamoe_status {
  guarded(handle, Object.self) { (object: Object) throws(DynaMoEError) in
    try required("rows", rows).pointee = try object.lastRows
  }
}

private func lastRouting<Object: Routed>(
  _ handle: OpaquePointer?, _: Object.Type, _ layer: Int,
  _ active: OptionalArray<UInt8>, _ weights: OptionalArray<Float>
) -> dynamoe_status {
  guarded(handle, Object.self) { (object: Object) throws(DynaMoEError) in
    try check(layer, of: object)
    let shape = Shape(
      formula: "rows * experts", rows: try object.lastRows,
      columns: object.expertCount(layer: layer))
    let active = try optionalOutput(
      "active", active.pointer, "active_count", active.count, shape: shape)
    let weights = try optionalOutput(
      "weights", weights.pointer, "weights_count", weights.count, shape: shape)
    try object.copyLastRouting(layer: layer, active: active, weights: weights)
  }
}

private func check(_ layer: Int, of object: some Routed) throws(DynaMoEError) {
  guard 0..<object.layerCount ~= layer else {
    throw .argument(
      "layer is \(unsigned(layer)), allowed: 0 to \(object.layerCount - 1)")
  }
}

private func copy<Source, Element>(
  _ source: [Source], to destination: UnsafeMutableBufferPointer<Element>?,
  _ convert: (Source) -> Element
) {
  guard let destination else { return }
  for (index, value) in source.enumerated() where index < destination.count {
    destination[index] = convert(value)
  }
}

extension dynamoe_routing_statistics {
  fileprivate init(_ statistics: RoutingStatistics) {
    self.init()
    experts = Int32(truncatingIfNeeded: statistics.experts)
    rows = Int64(statistics.rows)
    mean_k = statistics.meanActive
    variance_k = statistics.varianceActive
    entropy = statistics.entropy
    limited_share = statistics.limitedShare
    load_imbalance = statistics.loadImbalance
    load_variation = statistics.loadVariation
    unused = Int64(statistics.unused)
    participation = statistics.participation ?? .nan
  }
}
