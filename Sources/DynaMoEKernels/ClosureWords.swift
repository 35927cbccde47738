/// The two words of a closure that does not escape, so that other threads can call it while its
/// owner waits for them.
///
/// The language has no way to lend such a closure to memory: `withoutActuallyEscaping` wraps it
/// into an allocated one at every use. A function that takes a closure takes it in the registers in
/// which another takes these two pointers, so the one can stand for the other.
struct ClosureWords {
  private var code: UnsafeRawPointer?
  private var context: UnsafeRawPointer?

  /// Must not be called.
  init() {}

  /// Valid as long as `body` is.
  init(_ body: PoolState.Body) {
    unsafeBitCast(StoresWords(function: Self.store), to: StoresBody.self).function(body, &self)
  }

  func call(_ task: Int, _ worker: Int) {
    unsafeBitCast(CallsBody(function: Self.call), to: CallsWords.self).function(self, task, worker)
  }

  @inline(never)
  private static func store(_ words: ClosureWords, _ place: UnsafeMutablePointer<ClosureWords>) {
    place.pointee = words
  }

  @inline(never)
  private static func call(_ body: PoolState.Body, _ task: Int, _ worker: Int) {
    body(task, worker)
  }

  // Functions in members of structures keep their form; as arguments of a generic function they
  // would be wrapped.

  private struct StoresWords {
    let function: (ClosureWords, UnsafeMutablePointer<ClosureWords>) -> Void
  }

  private struct StoresBody {
    let function: (PoolState.Body, UnsafeMutablePointer<ClosureWords>) -> Void
  }

  private struct CallsBody {
    let function: (PoolState.Body, Int, Int) -> Void
  }

  private struct CallsWords {
    let function: (ClosureWords, Int, Int) -> Void
  }
}
