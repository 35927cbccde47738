import DynaMoEKernels

extension RoutedNetwork {
  /// L.
  public var layerCount: Int { layers.count }

  /// N of `layer`, which is in 0 ..< `layerCount`.
  public func expertCount(layer: Int) -> Int { layers[layer].expertCount }

  /// How `layer` routed since the last reset.
  ///
  /// - Parameters:
  ///   - layer: 0 ..< ``layerCount``.
  ///   - coactivation: whether to count out ``RoutingStatistics/coactivation``, N · N numbers.
  /// - Throws: ``DynaMoEError/argument(_:)`` for a layer that is not there;
  ///   ``DynaMoEError/memory(_:)``.
  public func routingStatistics(
    layer: Int, coactivation: Bool = true
  ) throws(DynaMoEError) -> RoutingStatistics {
    try check(layer)
    return try layers[layer].statistics.routing(layer: layer, coactivation: coactivation)
  }

  /// Begins the statistics of every layer anew.
  public func resetRoutingStatistics() {
    for layer in layers { layer.statistics.reset() }
  }

  /// Rows of the latest forward; 0 before any.
  public var lastRows: Int { latest.rows }

  /// The routing of the latest forward in `layer`: `active [T, N]` of 0 and 1, `weights [T, N]`, 0
  /// where not active.
  ///
  /// - Throws: ``DynaMoEError/state(_:)`` before any forward, ``DynaMoEError/argument(_:)`` when an
  ///   array is too small.
  public func copyLastRouting(
    layer: Int, active: UnsafeMutableBufferPointer<UInt8>?,
    weights: UnsafeMutableBufferPointer<Float>?
  ) throws(DynaMoEError) {
    try check(layer)
    let record: RoutingRecord
    switch latest {
    case .none: throw .state("there is no routing before a forward")
    case .training: record = trainingRecords[layer]
    case .evaluation: record = evaluation.records[layer]
    }
    try record.copy(rows: lastRows, active: active, weights: weights)
  }

  func check(_ layer: Int) throws(DynaMoEError) {
    guard layers.indices ~= layer else {
      throw .argument("layer is \(layer), allowed: 0 to \(layers.count - 1)")
    }
  }

  /// Refuses more rows than 32 bits can number the pairs of.
  func checkRows(_ rows: Int, sharedExperts: Int) throws(DynaMoEError) {
    let most = layers.reduce(max(1, sharedExperts)) { max($0, $1.expertCount) }
    guard rows <= Int(Int32.max) / most else {
      throw .argument(
        "rows is \(rows), allowed: at most \(Int(Int32.max) / most) at once with \(most) experts")
    }
  }

  /// Parameters that a row uses at the mean K so far (before any row: at what the routers aim at).
  public var activeParameterCount: Double {
    activeParameterCount(meanActive: layers.map(\.meanActive))
  }

  /// At a given mean K of each layer.
  func activeParameterCount(meanActive: [Double]) -> Double {
    zip(layers, meanActive).reduce(Double(parameterCount)) { sum, next in
      let (layer, mean) = next
      return sum - (Double(layer.expertCount) - mean) * layer.experts.parametersPerExpert
    }
  }

  /// Of all layers at a given mean K of each, 2 per multiply-add: routers, active and shared experts.
  func layerFlopsPerRow(meanActive: [Double]) -> Double {
    zip(layers, meanActive).reduce(0) { $0 + $1.0.flopsPerRow(meanActive: $1.1) }
  }
}

extension RoutedLayer {
  /// 2 per multiply-add: router, active and shared experts.
  func flopsPerRow(meanActive: Double) -> Double {
    let active = meanActive + Double(shared?.count ?? 0)
    return 2 * (active * experts.multiplyAddsPerRow + Double(expertCount * width))
  }
}
