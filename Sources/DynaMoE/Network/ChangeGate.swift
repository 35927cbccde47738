import CDynaMoEPlatform

/// Keeps changes of a network and the evaluations of its sessions apart: nobody waits, whoever comes
/// second is refused.
final class ChangeGate: @unchecked Sendable {
  private static let changing = UInt32.max

  /// Evaluations of sessions under way, or `changing`.
  private let word: UnsafeMutablePointer<UInt32>

  init() {
    word = .allocate(capacity: 1)
    word.initialize(to: 0)
  }

  deinit { word.deallocate() }

  /// Before anything changes that an evaluation reads, and before a backward, which such a change
  /// follows; `endChange` belongs to it.
  func beginChange() throws(DynaMoEError) {
    guard dynamoe_exchange32(word, 0, Self.changing) else {
      throw .busy(
        "model is evaluated by a session in another thread, allowed to change it: while no session evaluates; nothing was changed"
      )
    }
  }

  func endChange() { dynamoe_store32(word, 0) }

  func beginEvaluation() throws(DynaMoEError) {
    while true {
      let count = dynamoe_load32(word)
      guard count != Self.changing else {
        throw .busy(
          "the session's model is changed by another thread, allowed to evaluate: while nobody changes it"
        )
      }
      if dynamoe_exchange32(word, count, count + 1) { return }
    }
  }

  func endEvaluation() { _ = dynamoe_subtract32(word, 1) }
}
