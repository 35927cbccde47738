import DynaMoEKernels

/// Statistics that cost time and memory, and are off until asked for.
public struct Measures: OptionSet, Sendable {
  public let rawValue: Int

  public init(rawValue: Int) { self.rawValue = rawValue }

  /// ``RoutingStatistics/participation``: T · D² multiply-adds a layer and forward, and 24 · D²
  /// bytes a layer.
  public static let participation = Measures(rawValue: 1)
  /// ``RoutedNetwork/gradientVariance()``: two passes over all gradients a backward, and 12
  /// bytes a parameter.
  public static let gradientVariance = Measures(rawValue: 2)

  static let all: Measures = [.participation, .gradientVariance]
}

extension RoutedNetwork {
  /// What is measured besides the statistics that are always on.
  public var measures: Measures {
    var measures: Measures = []
    if layers.contains(where: { $0.statistics.inputMoments != nil }) {
      measures.insert(.participation)
    }
    if gradientMoments != nil { measures.insert(.gradientVariance) }
    return measures
  }

  /// Measures just `measures` from now on; what is switched on starts anew, what is switched off is
  /// forgotten.
  ///
  /// Results of forward and backward are the same bits with and without.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)`` for bits without a meaning,
  ///   ``DynaMoEError/memory(_:)``; ``DynaMoEError/state(_:)`` for the gradient variance of a
  ///   network for evaluation only.
  public func measure(_ measures: Measures) throws(DynaMoEError) {
    guard measures.isSubset(of: .all) else {
      throw .argument("measures is \(measures.rawValue), allowed: 0 to \(Measures.all.rawValue)")
    }
    if measures.contains(.gradientVariance) { try requireTraining() }
    let before = self.measures
    var moments: [LayerMoments] = []
    if measures.contains(.participation), !before.contains(.participation) {
      for layer in layers {
        let name = "the participation of layer \(layer.index)"
        try AvailableMemory.check(24 * layer.width * layer.width, for: name)
        moments.append(
          try withMemory(for: name) { () throws(AllocationError) in
            LayerMoments(
              total: try InputMoments(width: layer.width),
              pending: try InputMoments(width: layer.width))
          })
      }
    }
    var gradients = gradientMoments
    if !measures.contains(.gradientVariance) {
      gradients = nil
    } else if gradients == nil {
      let extent = storage.parameters.extent
      let name = "the variance of \(parameterCount) gradients"
      try AvailableMemory.check(3 * extent * MemoryLayout<Float>.stride, for: name)
      gradients = try withMemory(for: name) { () throws(AllocationError) in
        try GradientMoments(storage.parameters)
      }
    }
    gradientMoments = gradients
    for (layer, moments) in zip(layers, moments) {
      layer.statistics.inputMoments = moments.total
      layer.statistics.pendingInputMoments = moments.pending
    }
    if !measures.contains(.participation) {
      for layer in layers {
        layer.statistics.inputMoments = nil
        layer.statistics.pendingInputMoments = nil
      }
    }
  }

  /// Of each parameter, in their order: the mean over its elements of the variance (1/n) over the
  /// micro-batches since ``zeroGradients()``, where a micro-batch is one backward.
  ///
  /// - Throws: ``DynaMoEError/state(_:)`` when it is not measured, and before a backward.
  public func gradientVariance() throws(DynaMoEError) -> [Double] {
    guard let gradientMoments else {
      throw .state("the gradient variance is not measured: ask for it with measure first")
    }
    guard gradientMoments.count > 0 else {
      throw .state("there is no gradient variance before a backward")
    }
    return storage.parameters.entries.indices.map { gradientMoments.variance($0) }
  }
}

private struct LayerMoments {
  let total: InputMoments
  let pending: InputMoments
}
