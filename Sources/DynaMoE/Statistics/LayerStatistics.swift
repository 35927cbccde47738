import DynaMoEKernels

/// What is counted of how one layer routes: for a network by the layer itself, for a session by the
/// session.
final class LayerStatistics {
  /// Since the last reset.
  var counters: RoutingCounters
  /// Of an evaluation that may still fail.
  var pendingCounters: RoutingCounters
  /// Of the rows that the layer reads, when the participation is measured: since the last reset,
  /// and of a forward that may still fail.
  var inputMoments: InputMoments?
  var pendingInputMoments: InputMoments?

  init(layer: Int, experts: Int) throws(DynaMoEError) {
    do throws(AllocationError) {
      counters = try RoutingCounters(experts: experts)
      pendingCounters = try RoutingCounters(experts: experts)
    } catch {
      throw .memory(
        "no memory for the statistics of \(experts) experts in layer \(layer): \(error)")
    }
  }

  /// Forgets what an evaluation that failed has gathered.
  func beginEvaluation() {
    pendingCounters.reset()
    pendingInputMoments?.reset()
  }

  func countEvaluation(_ pass: LayerPass, weights: UnsafePointer<Float>) {
    let start = Profile.begin()
    defer { Profile.end(.statistics, start) }
    pendingCounters.add(pass.dispatch, pass.routing, weights: weights)
  }

  /// Counts what an evaluation has gathered.
  func commitEvaluation() {
    counters.add(pendingCounters)
    commitInputMoments()
  }

  func commitInputMoments() {
    if let pendingInputMoments { inputMoments?.add(pendingInputMoments) }
  }

  func reset() {
    counters.reset()
    inputMoments?.reset()
  }

  /// - Throws: ``DynaMoEError/memory(_:)``.
  func routing(layer: Int, coactivation: Bool) throws(DynaMoEError) -> RoutingStatistics {
    if coactivation {
      let experts = counters.experts
      try AvailableMemory.check(
        experts * experts * MemoryLayout<Int>.stride, for: "the co-activation of layer \(layer)")
    }
    return RoutingStatistics(
      counters, participation: inputMoments?.participation, coactivation: coactivation)
  }
}
