import CDynaMoEPlatform
import Glibc

/// Words shared by the threads of a pool, each group of them on cache lines of its own.
struct PoolBlock {
  /// High half: threads of the run. Low half: its number. Written when its tasks are there.
  var ticket: UInt64 = 0
  private var ticketLine: Padding = (0, 0, 0, 0, 0, 0, 0)
  /// Tasks not yet finished.
  var pending: UInt32 = 0
  /// 1 while the caller sleeps until `pending` is 0.
  var callerSleeps: UInt32 = 0
  private var pendingLine: Padding = (0, 0, 0, 0, 0, 0, 0)
  /// Sleeping workers, and the word they sleep on.
  var sleepers: UInt32 = 0
  var wake: UInt32 = 0
  private var sleepLine: Padding = (0, 0, 0, 0, 0, 0, 0)
  /// 1 while a run has the pool.
  var busy: UInt32 = 0
  var requested: UInt32 = 1
  /// 1 while a thread looks for others that the system has put aside.
  var looking: UInt32 = 0
  private var busyLine: Padding = (0, 0, 0, 0, 0, 0, 0)
  /// Written before the shares of a run, read after a claim in it.
  var body = ClosureWords()
  var first = 0
  /// For the caller alone.
  var fetching = Fetching()
  var moving = Backoff()
  /// Workers with this index or a higher one end.
  var limit: UInt32 = 1

  private typealias Padding = (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64)
}

/// The machinery of `WorkerPool`. The block lives as long as the process, because threads may look
/// at it at any time.
struct PoolState: @unchecked Sendable {
  typealias Body = (_ task: Int, _ worker: Int) -> Void

  static let maximumTasks = PoolShare.maximumTasks
  /// Time a worker looks for the next run before it sleeps, in nanoseconds.
  private static let spinTime: UInt64 = 50_000
  /// Time between two looks at the threads that are waited for, in nanoseconds.
  private static let lookPause: UInt64 = 20_000
  /// Looks of the caller before it sleeps.
  private static let callerLooks = 4
  /// Longest time the caller sleeps before it looks again, in nanoseconds.
  private static let longestSleep = 500_000
  /// Time between two moves of a worker to another processor, in nanoseconds.
  private static let movePause: UInt64 = 5_000_000

  let block: UnsafeMutablePointer<PoolBlock>
  /// The caller of the run and the workers, by index.
  let members: UnsafeMutablePointer<PoolMember>
  /// Handles of the threads 1 ..< started, by index.
  private let threads: UnsafeMutablePointer<pthread_t>
  private let started: UnsafeMutablePointer<Int>

  static func make(threadCount: Int) -> PoolState {
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: MemoryLayout<PoolBlock>.stride, alignment: 64)
    let block = memory.bindMemory(to: PoolBlock.self, capacity: 1)
    block.initialize(to: PoolBlock())
    block.pointee.requested = UInt32(threadCount)
    let threads = UnsafeMutablePointer<pthread_t>.allocate(capacity: WorkerPool.maximumThreadCount)
    let started = UnsafeMutablePointer<Int>.allocate(capacity: 1)
    started.initialize(to: 1)
    return PoolState(
      block: block, members: PoolMember.allocate(WorkerPool.maximumThreadCount), threads: threads,
      started: started)
  }

  // MARK: Calling side

  func acquire() -> Bool {
    dynamoe_load32(block.pointer(to: \.busy)!) == 0
      && dynamoe_exchange32(block.pointer(to: \.busy)!, 0, 1)
  }

  func release() {
    dynamoe_store32(block.pointer(to: \.busy)!, 0)
  }

  /// Starts or ends threads so that as many run as were requested; returns how many there are, the
  /// caller included.
  func prepareThreads() -> Int {
    let wanted = Int(dynamoe_load32(block.pointer(to: \.requested)!))
    guard wanted != started.pointee else { return wanted }
    if wanted < started.pointee {
      dynamoe_store32(block.pointer(to: \.limit)!, UInt32(wanted))
      dynamoe_add32(block.pointer(to: \.wake)!, 1)
      dynamoe_futex_wake(block.pointer(to: \.wake)!, INT32_MAX)
      while started.pointee > wanted {
        started.pointee -= 1
        pthread_join(threads[started.pointee], nil)
      }
    } else {
      dynamoe_store32(block.pointer(to: \.limit)!, UInt32(wanted))
      startThreads(upTo: wanted)
    }
    return started.pointee
  }

  /// A system that refuses a thread leaves the pool with fewer.
  private func startThreads(upTo wanted: Int) {
    var all = sigset_t()
    var before = sigset_t()
    sigfillset(&all)
    guard pthread_sigmask(SIG_SETMASK, &all, &before) == 0 else { return }
    while started.pointee < wanted {
      let argument = UnsafeMutablePointer<WorkerArgument>.allocate(capacity: 1)
      argument.initialize(to: WorkerArgument(state: self, index: started.pointee))
      let status = pthread_create(
        &threads[started.pointee], nil,
        { raw in
          let argument = raw!.assumingMemoryBound(to: WorkerArgument.self)
          let (state, index) = (argument.pointee.state, argument.pointee.index)
          argument.deallocate()
          state.work(index)
          return nil
        }, argument)
      guard status == 0 else {
        argument.deallocate()
        break
      }
      started.pointee += 1
    }
    pthread_sigmask(SIG_SETMASK, &before, nil)
  }

  func execute(_ first: Int, _ count: Int, _ workers: Int, _ body: Body) {
    block.pointee.body = ClosureWords(body)
    block.pointee.first = first
    let destination = callerDestination()
    let here = UInt32(bitPattern: dynamoe_processor())
    dynamoe_store32(&members[0].processor, destination ?? here)
    dynamoe_store32(block.pointer(to: \.pending)!, UInt32(count))
    for index in 0..<workers {
      dynamoe_store64(share(index), PoolShare(index, of: workers, tasks: count).word)
    }
    let number = (dynamoe_load64(block.pointer(to: \.ticket)!) &+ 1) & 0xffff_ffff
    dynamoe_store64(block.pointer(to: \.ticket)!, UInt64(workers) << 32 | number)
    wakeSleepers(atMost: workers < started.pointee ? Int(INT32_MAX) : count - 1)
    members[0].begin(dynamoe_thread())
    if let destination { dynamoe_move_thread(dynamoe_thread(), destination) }
    while let task = claim(0) {
      body(task, 0)
      finishTask()
    }
    members[0].end()
    waitForClaimed(workers)
  }

  private func callerDestination() -> UInt32? {
    guard let destination = members[0].takeDestination() else { return nil }
    let now = clock()
    // It may have been meant for another thread of the host.
    guard members[0].isNumber(dynamoe_thread()), block.pointee.moving.allowed(now) else {
      return nil
    }
    block.pointee.moving.wait(now)
    return destination
  }

  private func wakeSleepers(atMost count: Int) {
    guard dynamoe_load32(block.pointer(to: \.sleepers)!) > 0 else { return }
    dynamoe_add32(block.pointer(to: \.wake)!, 1)
    dynamoe_futex_wake(block.pointer(to: \.wake)!, Int32(clamping: count))
  }

  private func waitForClaimed(_ workers: Int) {
    var nextLook: UInt64 = 0
    var looks = 0
    while true {
      var spins = 0
      while spins < 64 {
        if dynamoe_load32(block.pointer(to: \.pending)!) == 0 {
          if block.pointee.fetching.began > 0 { block.pointee.fetching.end(clock()) }
          return
        }
        dynamoe_pause()
        spins += 1
      }
      let now = clock()
      if nextLook == 0 { nextLook = now &+ Self.lookPause }
      guard now >= nextLook else { continue }
      nextLook = now &+ Self.lookPause
      looks += 1
      if fetchStalled(workers, now) || looks >= Self.callerLooks { sleepUntilDone() }
    }
  }

  private func sleepUntilDone() {
    dynamoe_store32(block.pointer(to: \.callerSleeps)!, 1)
    let pending = dynamoe_load32(block.pointer(to: \.pending)!)
    if pending > 0 {
      dynamoe_futex_wait_for(block.pointer(to: \.pending)!, pending, Self.longestSleep)
    }
    dynamoe_store32(block.pointer(to: \.callerSleeps)!, 0)
  }

  // MARK: Both sides

  private func share(_ index: Int) -> UnsafeMutablePointer<UInt64> {
    (members + index).pointer(to: \.share)!
  }

  /// A task of its own, or one of another thread's.
  ///
  /// A claimed task is not finished, so its run is still the current one and the words of the block are its own.
  private func claim(_ index: Int) -> Int? {
    while true {
      let own = PoolShare(word: dynamoe_load64(share(index)))
      guard own.has(index) else { break }
      let (task, rest) = own.first
      if dynamoe_exchange64(share(index), own.word, rest.word) {
        return block.pointee.first &+ task
      }
    }
    let workers = Int(dynamoe_load64(block.pointer(to: \.ticket)!) >> 32)
    var distance = 1
    while distance < workers {
      let other = (index + distance) % workers
      let word = dynamoe_load64(share(other))
      let share = PoolShare(word: word)
      guard share.has(index) else {
        distance += 1
        continue
      }
      let (task, rest) = share.last
      if dynamoe_exchange64(self.share(other), word, rest.word) {
        return block.pointee.first &+ task
      }
    }
    return nil
  }

  private func finishTask() {
    let before = dynamoe_subtract32(block.pointer(to: \.pending)!, 1)
    if before == 1, dynamoe_load32(block.pointer(to: \.callerSleeps)!) == 1 {
      dynamoe_futex_wake(block.pointer(to: \.pending)!, 1)
    }
  }

  // MARK: Worker side

  private func work(_ index: Int) {
    let number = dynamoe_thread()
    var lastMove: UInt64 = 0
    var seen: UInt64 = 0
    while waitForRun(index, &seen) {
      leaveCaller(&lastMove)
      dynamoe_store32(&members[index].processor, UInt32(bitPattern: dynamoe_processor()))
      members[index].begin(number)
      while let task = claim(index) {
        block.pointee.body.call(task, index)
        finishTask()
      }
      members[index].end()
      if let destination = members[index].takeDestination() {
        dynamoe_move_thread(number, destination)
      }
    }
  }

  /// Systems that pack threads which run seldom wake a worker on the processor of the caller, where
  /// it only waits for the caller to be done, so that it keeps running seldom. It has to move once
  /// itself.
  private func leaveCaller(_ lastMove: inout UInt64) {
    let processor = dynamoe_processor()
    guard UInt32(bitPattern: processor) == dynamoe_load32(&members[0].processor) else { return }
    let now = clock()
    guard now &- lastMove > Self.movePause else { return }
    lastMove = now
    dynamoe_leave_processor(processor)
  }

  /// Returns true when there is a run after the one with the ticket `seen`, false when this worker has to end.
  private func waitForRun(_ index: Int, _ seen: inout UInt64) -> Bool {
    var deadline: UInt64 = 0
    var nextLook: UInt64 = 0
    while true {
      var spins = 0
      while spins < 64 {
        if index >= Int(dynamoe_load32(block.pointer(to: \.limit)!)) { return false }
        if isNew(&seen, index) { return true }
        dynamoe_pause()
        spins += 1
      }
      let now = clock()
      if deadline == 0 {
        deadline = now &+ Self.spinTime
        nextLook = now &+ Self.lookPause
      }
      if now >= nextLook {
        nextLook = now &+ Self.lookPause
        if dynamoe_load32(block.pointer(to: \.pending)!) > 0 { offerPlace(index) }
      }
      if now >= deadline {
        sleep(index, seen)
        deadline = 0
      }
    }
  }

  /// Whether a run has begun since the one with the ticket `seen`, which becomes its ticket, in which the worker has a part.
  private func isNew(_ seen: inout UInt64, _ index: Int) -> Bool {
    let ticket = dynamoe_load64(block.pointer(to: \.ticket)!)
    guard ticket != seen else { return false }
    seen = ticket
    return index < Int(ticket >> 32)
  }

  private func sleep(_ index: Int, _ seen: UInt64) {
    dynamoe_add32(block.pointer(to: \.sleepers)!, 1)
    let word = dynamoe_load32(block.pointer(to: \.wake)!)
    // After the announcement: a caller that publishes now sees the sleeper, one that published
    // before is seen here.
    if index < Int(dynamoe_load32(block.pointer(to: \.limit)!)),
      dynamoe_load64(block.pointer(to: \.ticket)!) == seen
    {
      dynamoe_futex_wait(block.pointer(to: \.wake)!, word)
    }
    dynamoe_subtract32(block.pointer(to: \.sleepers)!, 1)
  }

  private func clock() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  // MARK: Fork

  func resetInForkedChildren() {
    forkedState = self
    pthread_atfork(nil, nil) { forkedState?.resetAfterFork() }
  }

  /// The child has only the thread that forked: no workers, nobody in a run.
  private func resetAfterFork() {
    started.pointee = 1
    block.pointee.ticket = 0
    block.pointee.pending = 0
    block.pointee.callerSleeps = 0
    block.pointee.sleepers = 0
    block.pointee.limit = 1
    block.pointee.busy = 0
    block.pointee.looking = 0
    for index in 0..<WorkerPool.maximumThreadCount { members[index] = PoolMember() }
  }
}

private struct WorkerArgument {
  let state: PoolState
  let index: Int
}

/// Set once, before the handler that reads it is registered.
nonisolated(unsafe) private var forkedState: PoolState?
