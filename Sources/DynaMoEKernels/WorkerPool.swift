import CDynaMoEPlatform
import Glibc

/// Own pool of POSIX threads for short parallel loops.
///
/// Tasks are claimed one by one, so a thread that the system keeps from running delays nobody:
/// `run` waits for claimed tasks, never for threads. Workers spin some tens of microseconds after
/// the last task and then sleep. A run allocates nothing. After `fork` the child starts with no
/// workers and makes its own at the next run.
///
/// Worker threads block all signals: they are for the threads of the host program.
public final class WorkerPool: Sendable {
  /// The pool that every backend uses.
  public static let shared = WorkerPool(threadCount: defaultThreadCount, survivesFork: true)

  /// Most threads that a pool may have.
  public static let maximumThreadCount = 256

  /// `DYNAMOE_THREADS` if it is a number from 1 to 256, else the processors this process may run
  /// on.
  public static var defaultThreadCount: Int {
    if let text = getenv("DYNAMOE_THREADS"), let count = Int(String(cString: text)),
      (1...maximumThreadCount).contains(count)
    {
      return count
    }
    return min(max(1, Int(dynamoe_affinity_count())), maximumThreadCount)
  }

  private let state: PoolState

  init(threadCount: Int, survivesFork: Bool = false) {
    state = PoolState.make(threadCount: min(max(1, threadCount), Self.maximumThreadCount))
    if survivesFork { state.resetInForkedChildren() }
  }

  /// Threads that work on a run, the caller included: 1 ... 256, other values count as the nearer
  /// end. In a thread with a `ThreadLimit` no more than that.
  ///
  /// Setting it takes effect at the next run.
  public var threadCount: Int {
    get { min(Int(dynamoe_load32(state.block.pointer(to: \.requested)!)), ThreadLimit.current) }
    set {
      let count = min(max(1, newValue), Self.maximumThreadCount)
      dynamoe_store32(state.block.pointer(to: \.requested)!, UInt32(count))
    }
  }

  /// Executes `body(task, worker)` for every task in 0 ..< `tasks` and returns when all are done.
  ///
  /// `worker` in 0 ..< `threadCount` (as it was when the run began) tells apart the threads of this
  /// run, for scratch memory that belongs to the caller. While another run uses the pool, from this
  /// or another thread, the tasks run in the calling thread as worker 0.
  public func run(_ tasks: Int, _ body: (_ task: Int, _ worker: Int) -> Void) {
    run(tasks, workers: Self.maximumThreadCount, body)
  }

  /// `run` with at most `workers` threads.
  func run(_ tasks: Int, workers: Int, _ body: (_ task: Int, _ worker: Int) -> Void) {
    let workers = tasks > 1 ? min(workers, ThreadLimit.current) : 1
    guard workers > 1, state.acquire() else {
      var task = 0
      while task < tasks {
        body(task, 0)
        task += 1
      }
      return
    }
    let threads = min(state.prepareThreads(), workers)
    var first = 0
    while first < tasks {
      let count = min(tasks - first, PoolState.maximumTasks)
      state.execute(first, count, threads, body)
      first += count
    }
    state.release()
  }

  /// Splits 0 ..< `count` into blocks of `grain` (the last may be shorter) and calls `body` for
  /// each.
  public func forRanges(_ count: Int, grain: Int, _ body: (Range<Int>) -> Void) {
    guard count > 0 else { return }
    let size = min(max(1, grain), count)
    run((count - 1) / size + 1) { task, _ in
      let start = task * size
      body(start..<min(count, start + size))
    }
  }
}
