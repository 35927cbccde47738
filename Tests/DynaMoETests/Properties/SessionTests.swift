import Foundation
import Synchronization
import Testing

@testable import DynaMoE

/// Several threads evaluate one model.
@Suite(.serialized) struct SessionTests {
  static let cases = RandomNetwork.wideCases + [GradientTests.tied] + RandomNetwork.cases
  static let threshold = RandomNetwork.wideCases[1]

  private func trained(_ testCase: GradientCase) throws -> Model {
    let model = try testCase.model()
    for part: UInt64 in 10..<12 { try model.train(testCase.batch(part), testCase.goals(part)) }
    return model
  }

  /// The same model, kept in bfloat16.
  private func rounded(_ model: Model) throws -> Model {
    let path = temporaryPath()
    defer { try? FileManager.default.removeItem(atPath: path) }
    try model.save(to: path)
    return try Model(contentsOf: path, precision: .bfloat16)
  }

  private func isBusy(_ call: () throws -> Void) -> Bool {
    do { try call() } catch DynaMoEError.busy { return true } catch { return false }
    return false
  }

  // MARK: - Results

  @Test(.enabled(if: kernelsKeepBits, "OpenBLAS promises no bits"), arguments: cases)
  func sameAsTheModel(_ testCase: GradientCase) throws {
    let full = try trained(testCase)
    let (batch, goals) = (testCase.batch(), testCase.goals())
    for model in [full, try rounded(full)] {
      model.resetRoutingStatistics()
      let logits = try model.run(batch, training: false)
      let evaluation = try model.assess(batch, goals)
      for threads in [1, 3] {
        let session = try model.session(threads: threads)
        #expect(session.threads == threads && session.outputs == model.outputs)
        #expect(try session.run(batch).bits == logits.bits)
        for l in 0..<model.layerCount {
          let (found, expected) = (try session.lastRouting(layer: l), try model.lastRouting(l))
          #expect(found.active == expected.active && found.weights.bits == expected.weights.bits)
        }
        #expect(try session.assess(batch, goals) == evaluation)
        for l in 0..<model.layerCount {
          #expect(
            try session.routingStatistics(layer: l) == model.routingStatistics(layer: l))
        }
      }
    }
  }

  @Test func arrays() throws {
    let model = try trained(Self.threshold)
    guard case .features(let x, _) = Self.threshold.batch(),
      case .classes(let classes) = Self.threshold.goals()
    else { return }
    let session = try model.session()
    #expect(try session.logits(of: x) == model.logits(of: x))
    #expect(try session.classes(of: x) == model.classes(of: x))
    #expect(try session.evaluate(x, classes: classes) == model.evaluate(x, classes: classes))
    #expect(try session.logits(of: []).isEmpty && session.lastRows == 0)
    let error = #expect(throws: DynaMoEError.self) { try session.logits(of: [1]) }
    #expect("\(error as Any)".contains("multiple of inputs = 19"))
    session.threads = 1000
    #expect(session.threads == 256)
    session.threads = -1
    #expect(session.threads == 1)
  }

  @Test func nothingIsSharedButTheWeights() throws {
    let model = try trained(Self.threshold)
    try model.measure(.participation)
    let before = try Snapshot(model)
    let lastRows = model.lastRows
    let batch = Self.threshold.batch()
    let (one, other) = (try model.session(), try model.session())
    #expect(throws: DynaMoEError.self) { try other.lastRouting(layer: 0) }
    try one.run(batch)
    try one.run(batch.rows([3, 4]))
    #expect(try one.routingStatistics(layer: 0).rows == batch.rows + 2)
    #expect(try one.routingStatistics(layer: 1).participation == nil)
    #expect(try one.lastRows == 2)
    #expect(try other.routingStatistics(layer: 0).rows == 0)
    #expect(try other.lastRows == 0)
    #expect(throws: DynaMoEError.self) { try other.lastRouting(layer: 0) }
    try other.run(batch)
    try one.resetRoutingStatistics()
    #expect(try one.routingStatistics(layer: 0).rows == 0)
    #expect(try other.routingStatistics(layer: 0).rows == batch.rows)
    #expect(model.lastRows == lastRows)
    #expect(try Snapshot(model) == before)
    for layer in [-1, 2] {
      #expect(throws: DynaMoEError.self) { try one.routingStatistics(layer: layer) }
      #expect(throws: DynaMoEError.self) { try one.lastRouting(layer: layer) }
    }
  }

  @Test func aPendingBackwardStays() throws {
    let testCase = Self.threshold
    let (model, twin) = (try trained(testCase), try trained(testCase))
    let session = try model.session()
    for network in [model, twin] {
      network.zeroGradients()
      try network.run(testCase.batch(20), training: true)
    }
    try session.run(testCase.batch(21))
    _ = try session.assess(testCase.batch(22), testCase.goals(22))
    for network in [model, twin] {
      try network.runBackward(testCase.goals(20))
      try network.step()
    }
    #expect(try Snapshot(model) == Snapshot(twin))
  }

  @Test func refusedCallsChangeNothing() throws {
    let model = try trained(Self.threshold)
    let session = try model.session()
    try session.run(Self.threshold.batch())
    let statistics = try session.routingStatistics(layer: 0)
    let routing = try session.lastRouting(layer: 0)
    let x = [Float](repeating: 1, count: 38)
    var small = [Float](repeating: 0, count: 21)
    #expect(throws: DynaMoEError.self) {
      try small.withUnsafeMutableBufferPointer { small in
        try Batch.features(x, rows: 2).withInput { try session.forward($0, into: small) }
      }
    }
    for batch: Batch in [
      .features(x, rows: 3), .features([.nan] + x.dropFirst(), rows: 2), .tokens([1]),
    ] {
      #expect(throws: DynaMoEError.self) { try session.run(batch) }
      #expect(throws: DynaMoEError.self) { try session.assess(batch, .classes([0, 0])) }
    }
    #expect(throws: DynaMoEError.self) {
      try session.assess(.features(x, rows: 2), .classes([0, 11]))
    }
    #expect(try session.routingStatistics(layer: 0) == statistics)
    let after = try session.lastRouting(layer: 0)
    #expect(after.active == routing.active && after.weights == routing.weights)
  }

  @Test func theModelLivesOn() throws {
    var model: Model? = try trained(Self.threshold)
    weak let watched = model
    let batch = Self.threshold.batch()
    let logits = try model?.run(batch, training: false)
    var session = try model?.session()
    model = nil
    #expect(watched != nil)
    #expect(try session?.run(batch) == logits)
    session = nil
    #expect(watched == nil)
  }

  // MARK: - Changes of the model

  @Test func newWeightsAreSeen() throws {
    let testCase = Self.threshold
    let model = try trained(testCase)
    let session = try model.session()
    let batch = testCase.batch()
    func follows(_ what: Comment, _ change: () throws -> Void) throws {
      let before = try session.run(batch)
      try change()
      let after = try session.run(batch)
      #expect(after != before, what)
      #expect(after == (try model.run(batch, training: false)), what)
    }
    try follows("trainBatch") { try model.train(testCase.batch(7), testCase.goals(7)) }
    try follows("step") {
      model.zeroGradients()
      try model.run(testCase.batch(8), training: true)
      try model.runBackward(testCase.goals(8))
      try model.step()
    }
    try follows("setParameter") {
      let values = try model.values("layers.0.experts.up.weight")
      try model.assign("layers.0.experts.up.weight", values.map { $0 * 1.5 })
    }
    try follows("calibrate") { try model.adjust(batch, targetActive: [1, 3]) }
    try follows("setBuffer") { try model.assignBuffer("layers.0.router.threshold", [0.1]) }
  }

  /// What changes the model, with something to show for it.
  private func changes(of model: Model) -> [(String, () throws -> Void)] {
    let testCase = Self.threshold
    return [
      ("forward", { try model.run(testCase.batch(1), training: true) }),
      ("trainBatch", { try model.train(testCase.batch(1), testCase.goals(1)) }),
      ("backward", { try model.runBackward(testCase.goals(30)) }),
      (
        "backward of logits",
        {
          try model.runBackward(outputGradient: [Float](repeating: 1, count: 70 * 11))
        }
      ),
      ("step", { try model.step() }),
      ("setParameter", { try model.assign("head.bias", [Float](repeating: 3, count: 11)) }),
      ("setBuffer", { try model.assignBuffer("layers.0.router.threshold", [0.1]) }),
      ("calibrate", { try model.adjust(testCase.batch(1), targetActive: [1, 2]) }),
    ]
  }

  @Test func changesAreRefusedWhileASessionEvaluates() throws {
    let testCase = Self.threshold
    let model = try trained(testCase)
    try model.run(testCase.batch(30), training: true)
    let session = try model.session()
    let before = try Snapshot(model)
    try model.changes.beginEvaluation()
    try session.run(testCase.batch())
    for (name, change) in changes(of: model) {
      #expect(isBusy { try change() }, "\(name)")
      #expect(model.pendingRows == 70, "\(name)")
    }
    #expect(try Snapshot(model) == before)
    // The model's own evaluation and everything that reads goes on.
    let logits = try model.run(testCase.batch(), training: false)
    #expect(try session.run(testCase.batch()) == logits)
    model.changes.endEvaluation()
    for (name, change) in changes(of: model) {
      if name.hasPrefix("backward") { try model.run(testCase.batch(30), training: true) }
      try change()
    }
    #expect(try Snapshot(model) != before)
  }

  @Test func evaluationsAreRefusedWhileTheModelChanges() throws {
    let testCase = Self.threshold
    let model = try trained(testCase)
    let session = try model.session()
    try session.run(testCase.batch())
    let statistics = try session.routingStatistics(layer: 0)
    try model.changes.beginChange()
    #expect(isBusy { try session.run(testCase.batch()) })
    #expect(isBusy { _ = try session.assess(testCase.batch(), testCase.goals()) })
    #expect(try session.routingStatistics(layer: 0) == statistics)
    #expect(try session.lastRows == 70)
    #expect(isBusy { try model.step() })
    model.changes.endChange()
    try session.run(testCase.batch())
  }

  // MARK: - Threads

  /// Four threads evaluate, a fifth trains: whoever is let in sees the weights before or after a
  /// step, never anything between.
  @Test(.enabled(if: kernelsKeepBits, "OpenBLAS promises no bits"))
  func threadsBesideTraining() throws {
    let testCase = Self.threshold
    let steps = 12
    let (model, twin) = (try trained(testCase), try trained(testCase))
    let batch = testCase.batch()
    var allowed: Set<[UInt32]> = [try twin.run(batch, training: false).bits]
    for step in 0..<steps {
      try twin.train(testCase.batch(UInt64(step)), testCase.goals(UInt64(step)))
      allowed.insert(try twin.run(batch, training: false).bits)
    }
    #expect(allowed.count == steps + 1)
    let sessions = try (0..<4).map { try model.session(threads: 1 + $0 % 2) }
    let outcome = Mutex<(seen: Set<[UInt32]>, failures: [String])>(([], []))
    let finished = DispatchGroup()
    for session in sessions {
      Thread(in: finished) {
        // Sessions that never end would hardly ever leave a moment for a change, and on a busy
        // machine the changes may leave none for 40 sessions.
        var (evaluations, tries) = (0, 0)
        while evaluations == 0 || tries < 40 {
          tries += 1
          do {
            let bits = try session.run(batch).bits
            outcome.withLock { _ = $0.seen.insert(bits) }
            evaluations += 1
          } catch DynaMoEError.busy {
            sched_yield()
          } catch {
            outcome.withLock { $0.failures.append("\(error)") }
            return
          }
        }
      }.start()
    }
    for step in 0..<steps {
      while isBusy({ try model.train(testCase.batch(UInt64(step)), testCase.goals(UInt64(step))) })
      {
        sched_yield()
      }
    }
    finished.wait()
    let (seen, failures) = outcome.withLock { $0 }
    #expect(failures.isEmpty)
    #expect(!seen.isEmpty && seen.isSubset(of: allowed))
    #expect(model.allParameters == twin.allParameters && model.allBuffers == twin.allBuffers)
    for session in sessions { #expect(try session.run(batch) == twin.run(batch, training: false)) }
  }

  /// A second thread in one session is refused.
  @Test func oneThreadAtATime() throws {
    let model = try trained(Self.threshold)
    let session = try model.session()
    let batch = Batch.features([Float](repeating: 0.5, count: 19 * 4096), rows: 4096)
    let done = Atomic<Bool>(false)
    let busy = Atomic<Int>(0)
    let finished = DispatchGroup()
    Thread(in: finished) {
      while !done.load(ordering: .acquiring) { _ = try? session.run(batch) }
    }.start()
    let deadline = Date(timeIntervalSinceNow: 20)
    while busy.load(ordering: .relaxed) < 3, Date() < deadline {
      do { _ = try session.lastRows } catch DynaMoEError.busy {
        busy.add(1, ordering: .relaxed)
      } catch { Issue.record(error) }
      sched_yield()
    }
    done.store(true, ordering: .releasing)
    finished.wait()
    #expect(busy.load(ordering: .relaxed) >= 3)
  }
}

extension Session {
  @discardableResult
  fileprivate func run(_ batch: Batch) throws -> [Float] {
    var logits = [Float](repeating: .nan, count: batch.rows * outputs)
    try logits.withUnsafeMutableBufferPointer { logits in
      try batch.withInput { try forward($0, into: logits) }
    }
    return logits
  }

  fileprivate func assess(_ batch: Batch, _ goals: Goals) throws -> Evaluation {
    try batch.withInput { input in try goals.withTargets { try evaluate(input, $0) } }
  }
}

extension Thread {
  /// A thread whose end `group` waits for.
  fileprivate convenience init(in group: DispatchGroup, _ body: @escaping @Sendable () -> Void) {
    group.enter()
    self.init {
      body()
      group.leave()
    }
  }
}
