import CDynaMoEPlatform
import Glibc
import Synchronization
import Testing

@testable import DynaMoEKernels

@Suite(.serialized) struct PoolTests {
  /// Runs `tasks` and returns how often each was executed.
  private func counts(_ pool: WorkerPool, _ tasks: Int, limit: Int = 256) -> [Int] {
    var counts = [Int](repeating: 0, count: tasks)
    let outside = Atomic<Int>(0)
    counts.withUnsafeMutableBufferPointer { counts in
      nonisolated(unsafe) let base = counts.baseAddress
      pool.run(tasks) { task, worker in
        base![task] += 1
        if worker < 0 || worker >= limit { outside.add(1, ordering: .relaxed) }
      }
    }
    #expect(outside.load(ordering: .relaxed) == 0)
    return counts
  }

  @Test func everyTaskOnce() {
    for threads in [1, 2, 3, 7] {
      let pool = WorkerPool(threadCount: threads)
      for tasks in [0, 1, 2, 3, 100, 10_000] {
        #expect(counts(pool, tasks, limit: threads) == [Int](repeating: 1, count: tasks))
      }
    }
  }

  @Test func manyShortRuns() {
    let pool = WorkerPool(threadCount: 3)
    let sum = Atomic<Int>(0)
    for _ in 0..<20_000 { pool.run(4) { task, _ in sum.add(task, ordering: .relaxed) } }
    #expect(sum.load(ordering: .relaxed) == 20_000 * 6)
  }

  @Test func changedThreadCount() {
    let pool = WorkerPool(threadCount: 1)
    for threads in [4, 2, 1, 5, 3, 1, 2] {
      pool.threadCount = threads
      #expect(pool.threadCount == threads)
      for _ in 0..<50 {
        #expect(counts(pool, 20, limit: threads) == [Int](repeating: 1, count: 20))
      }
    }
    pool.threadCount = -3
    #expect(pool.threadCount == 1)
    pool.threadCount = 100_000
    #expect(pool.threadCount == 256)
  }

  @Test func nestedRunsAreInline() {
    let pool = WorkerPool(threadCount: 3)
    let sum = Atomic<Int>(0)
    pool.run(10) { _, _ in
      pool.run(10) { _, worker in sum.add(worker == 0 ? 1 : 1000, ordering: .relaxed) }
    }
    #expect(sum.load(ordering: .relaxed) == 100)
  }

  /// Several threads of the host use one pool.
  @Test func concurrentCallers() {
    final class Caller: Sendable {
      let pool: WorkerPool
      let sum = Atomic<Int>(0)
      init(_ pool: WorkerPool) { self.pool = pool }
    }
    let pool = WorkerPool(threadCount: 3)
    let callers = (0..<4).map { _ in Caller(pool) }
    var threads: [pthread_t] = []
    for caller in callers {
      var thread = pthread_t()
      pthread_create(
        &thread, nil,
        { argument in
          let caller = Unmanaged<Caller>.fromOpaque(argument!).takeUnretainedValue()
          for _ in 0..<2000 {
            caller.pool.run(7) { task, _ in caller.sum.add(task, ordering: .relaxed) }
          }
          return nil
        }, Unmanaged.passUnretained(caller).toOpaque())
      threads.append(thread)
    }
    for thread in threads { pthread_join(thread, nil) }
    for caller in callers { #expect(caller.sum.load(ordering: .relaxed) == 2000 * 21) }
  }

  /// Whoever has no task left takes those of others: one thread that does not come back from its first task holds up no other
  /// task.
  @Test(arguments: [2, 3]) func stuckThread(threads: Int) {
    let pool = WorkerPool(threadCount: threads)
    let tasks = 64
    let done = Atomic<Int>(0)
    let gaveUp = Atomic<Bool>(false)
    let stuck = Atomic<Bool>(false)
    for _ in 0..<20 {
      done.store(0, ordering: .relaxed)
      stuck.store(false, ordering: .relaxed)
      pool.run(tasks) { _, worker in
        let isFirst = worker == 1 && !stuck.exchange(true, ordering: .relaxed)
        // So that the workers are there before the caller has done everything.
        usleep(20)
        var waits = 0
        while isFirst && done.load(ordering: .relaxed) < tasks - 1 && waits < 20_000 {
          usleep(100)
          waits += 1
        }
        if waits == 20_000 { gaveUp.store(true, ordering: .relaxed) }
        done.add(1, ordering: .relaxed)
      }
      #expect(done.load(ordering: .relaxed) == tasks)
    }
    let waitedInVain = gaveUp.load(ordering: .relaxed)
    #expect(!waitedInVain)
  }

  @Test func shares() {
    for threads in [1, 2, 3, 256] {
      for tasks in [0, 1, 2, 255, 1000, PoolShare.maximumTasks] {
        var end = 0
        for index in 0..<threads {
          var share = PoolShare(index, of: threads, tasks: tasks)
          let count = tasks * (index + 1) / threads - end
          #expect(share.has(0) == (count > 0))
          #expect(!share.has(threads))
          if count > 0 {
            #expect(share.first.task == end)
            #expect(share.last.task == end + count - 1)
          }
          if count == 3 {
            share = share.last.rest
            share = share.first.rest
            #expect(share.first.task == share.last.task && share.has(threads - 1))
            #expect(!share.first.rest.has(0) && !share.last.rest.has(0))
          }
          end += count
        }
        #expect(end == tasks)
      }
    }
  }

  @Test func ranges() {
    let pool = WorkerPool(threadCount: 2)
    for (count, grain) in [(0, 4), (-5, 4), (1, 4), (10, 3), (12, 3), (5, 0), (7, Int.max)] {
      var seen = [Int](repeating: 0, count: max(0, count))
      seen.withUnsafeMutableBufferPointer { seen in
        nonisolated(unsafe) let base = seen.baseAddress
        pool.forRanges(count, grain: grain) { range in
          for i in range { base![i] += 1 }
        }
      }
      #expect(seen == [Int](repeating: 1, count: max(0, count)))
    }
  }

  /// Threads sleep when there is nothing to do.
  @Test func idleThreadsSleep() {
    let pool = WorkerPool(threadCount: 4)
    var threads = [Int](repeating: 0, count: 4)
    threads.withUnsafeMutableBufferPointer { threads in
      nonisolated(unsafe) let base = threads.baseAddress!
      for _ in 0..<100 {
        pool.run(100) { _, worker in
          base[worker] = Int(dynamoe_thread())
          usleep(10)
        }
      }
    }
    let workers = threads[1...].filter { $0 != 0 }
    #expect(!workers.isEmpty)
    usleep(100_000)
    let before = workers.map(processorTime)
    #expect(before.allSatisfy { $0 > 0 })
    usleep(300_000)
    for (worker, time) in zip(workers, before) { #expect(processorTime(worker) - time < 0.001) }
  }

  /// Processor time of a thread of this process, in seconds.
  private func processorTime(_ thread: Int) -> Double {
    guard let file = fopen("/proc/self/task/\(thread)/schedstat", "r") else { return 0 }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = fread(&bytes, 1, bytes.count, file)
    let text = String(decoding: bytes[0..<count], as: UTF8.self)
    return (text.split(separator: " ").first.flatMap { Double($0) } ?? 0) * 1e-9
  }

  /// A child process has no workers and makes its own.
  @Test func forkedChild() {
    WorkerPool.shared.threadCount = 2
    WorkerPool.shared.run(100) { _, _ in }
    let child = dynamoe_fork()
    if child == 0 { _exit(workersTakePart() ? 0 : 1) }
    var status: Int32 = -1
    #expect(waitpid(child, &status, 0) == child)
    #expect(status == 0)
  }

  /// Whether every task is done and some of them by a worker.
  private func workersTakePart() -> Bool {
    let sum = Atomic<Int>(0)
    let byWorkers = Atomic<Int>(0)
    for _ in 0..<20 {
      WorkerPool.shared.run(100) { task, worker in
        usleep(20)
        sum.add(task, ordering: .relaxed)
        if worker > 0 { byWorkers.add(1, ordering: .relaxed) }
      }
    }
    return sum.load(ordering: .relaxed) == 20 * 4950 && byWorkers.load(ordering: .relaxed) > 0
  }
}
