import CDynaMoEPlatform
import DynaMoEKernels

/// Evaluates a model beside other sessions: each serves one thread, all read the same weights.
///
///     let session = try model.session()
///     let classes = try session.classes(of: x)
///
/// A session has the memory of its evaluations, its routing statistics and its latest routing to
/// itself, and no copy of the weights, which it keeps alive. Its results have the bits of the
/// model's own evaluation. After the largest T so far `forward` allocates nothing.
///
/// Between its calls the model may be trained or changed by the thread that owns it; the next call
/// sees the new weights. Nobody waits: a call while the model is changed is refused with
/// ``DynaMoEError/busy(_:)``, as is a change of the model while a session evaluates, and a second
/// thread in one session. The model's own evaluations go on beside those of its sessions.
///
/// T rows, C outputs, N experts.
public final class Session: @unchecked Sendable {
  // What is shared is the model, which changes behind `changes` only; the rest belongs to the thread
  // that has set `inUse`.

  /// For what never changes: to the C interface its shapes.
  package let model: Model
  private let pass: EvaluationPass
  private let inUse: UnsafeMutablePointer<UInt32>
  private let limit: UnsafeMutablePointer<UInt32>

  init(_ model: Model, threads: Int) throws(DynaMoEError) {
    var statistics: [LayerStatistics] = []
    for layer in model.layers {
      statistics.append(try LayerStatistics(layer: layer.index, experts: layer.expertCount))
    }
    self.model = model
    pass = EvaluationPass(model.layers, statistics: statistics, batch: BatchPass())
    inUse = .allocate(capacity: 1)
    inUse.initialize(to: 0)
    limit = .allocate(capacity: 1)
    limit.initialize(to: 1)
    self.threads = threads
  }

  deinit {
    inUse.deallocate()
    limit.deallocate()
  }

  // MARK: - Facts

  /// As that of the model was given.
  public var configuration: ModelConfiguration { model.configuration }
  /// C: classes, or values of a regression.
  public var outputs: Int { model.outputs }
  /// L.
  public var layerCount: Int { model.layerCount }

  /// N of `layer`, which is in 0 ..< `layerCount`.
  public func expertCount(layer: Int) -> Int { model.expertCount(layer: layer) }

  /// Features per row; 1 for token ids.
  var inputs: Int { model.input.inputs }

  /// Threads that work on a call, 1 to 256 and no more than ``Runtime/threadCount``; others count as
  /// the nearer end. Results do not depend on it.
  ///
  /// 1, the default, is the calling thread alone, which takes the least processor time for
  /// small batches of small networks. More shorten a single call while processors are idle;
  /// of several callers one has the workers at a time, the others go on alone.
  public var threads: Int {
    get { Int(dynamoe_load32(limit)) }
    set { dynamoe_store32(limit, UInt32(min(max(1, newValue), WorkerPool.maximumThreadCount))) }
  }

  // MARK: - Evaluation

  /// logits [T, C] of any number of rows, with the same bits as ``Model/forward(_:training:into:)``.
  /// Changes nothing but the session's statistics and latest routing.
  ///
  /// - Parameters:
  ///   - input: rows, also none.
  ///   - logits: room for T · C values, or nil when only the routing is wanted.
  /// - Throws: ``DynaMoEError/argument(_:)``, ``DynaMoEError/memory(_:)``,
  ///   ``DynaMoEError/busy(_:)``; ``DynaMoEError/failed(_:)`` when a logit is not finite.
  public func forward(
    _ input: Input, into logits: UnsafeMutableBufferPointer<Float>?
  ) throws(DynaMoEError) {
    try use { () throws(DynaMoEError) in
      try self.evaluate { () throws(DynaMoEError) in
        let start = Profile.begin()
        defer { Profile.end(.call, start) }
        let source = try model.checkInput(input)
        if let logits {
          try checkRoom("logits", logits.count, rows: input.rows, columns: outputs)
        }
        try model.evaluationForward(
          source, rows: input.rows, into: logits?.baseAddress, pass)
      }
    }
  }

  /// Loss and accuracy of any number of rows, as ``Model/evaluate(_:_:)``. Changes nothing but the
  /// session's statistics.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)``, ``DynaMoEError/memory(_:)``,
  ///   ``DynaMoEError/busy(_:)``; ``DynaMoEError/failed(_:)`` when a logit or the loss is not
  ///   finite.
  public func evaluate(_ input: Input, _ targets: Targets) throws(DynaMoEError) -> Evaluation {
    try use { () throws(DynaMoEError) in
      try self.evaluate { () throws(DynaMoEError) in
        try model.evaluate(input, targets, pass)
      }
    }
  }

  // MARK: - Routing

  /// How `layer` routed the rows of this session since it was made or reset. The participation is
  /// not measured.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)`` for a layer that is not there;
  ///   ``DynaMoEError/memory(_:)``, ``DynaMoEError/busy(_:)``.
  public func routingStatistics(
    layer: Int, coactivation: Bool = true
  ) throws(DynaMoEError) -> RoutingStatistics {
    try model.check(layer)
    return try use { () throws(DynaMoEError) in
      try pass.statistics[layer].routing(layer: layer, coactivation: coactivation)
    }
  }

  /// Begins the session's statistics anew.
  ///
  /// - Throws: ``DynaMoEError/busy(_:)``.
  public func resetRoutingStatistics() throws(DynaMoEError) {
    try use { () throws(DynaMoEError) in
      for layer in pass.statistics { layer.reset() }
    }
  }

  /// Rows of the latest forward; 0 before any.
  ///
  /// - Throws: ``DynaMoEError/busy(_:)``.
  public var lastRows: Int {
    get throws(DynaMoEError) {
      try use { () throws(DynaMoEError) in pass.latest.rows }
    }
  }

  /// The routing of the latest forward in `layer`: `active [T, N]` of 0 and 1, `weights [T, N]`, 0
  /// where not active.
  ///
  /// - Throws: ``DynaMoEError/state(_:)`` before any forward, ``DynaMoEError/argument(_:)`` when an
  ///   array is too small, ``DynaMoEError/busy(_:)``.
  public func copyLastRouting(
    layer: Int, active: UnsafeMutableBufferPointer<UInt8>?,
    weights: UnsafeMutableBufferPointer<Float>?
  ) throws(DynaMoEError) {
    try model.check(layer)
    try use { () throws(DynaMoEError) in
      guard case .evaluation(let rows) = pass.latest else {
        throw .state("there is no routing before a forward")
      }
      try pass.records[layer].copy(rows: rows, active: active, weights: weights)
    }
  }

  // MARK: - Threads

  /// Runs `body` alone in this session.
  private func use<Result>(
    _ body: () throws(DynaMoEError) -> Result
  ) throws(DynaMoEError) -> Result {
    guard dynamoe_exchange32(inUse, 0, 1) else {
      throw .busy(
        "session is in use by another thread, allowed: one thread at a time in one session")
    }
    defer { dynamoe_store32(inUse, 0) }
    return try body()
  }

  /// Runs `body` while the model cannot change.
  private func evaluate<Result>(
    _ body: () throws(DynaMoEError) -> Result
  ) throws(DynaMoEError) -> Result {
    try model.changes.beginEvaluation()
    defer { model.changes.endEvaluation() }
    let before = ThreadLimit.begin(threads)
    defer { ThreadLimit.end(before) }
    return try body()
  }
}

extension Model {
  /// A session: evaluates this model in another thread, beside other sessions, on the same weights.
  ///
  /// - Parameter threads: see ``Session/threads``.
  /// - Throws: ``DynaMoEError/memory(_:)``.
  public func session(threads: Int = 1) throws(DynaMoEError) -> Session {
    try Session(self, threads: threads)
  }
}
