import CDynaMoEPlatform

/// What the threads of a pool know of one of them, on a cache line of its own.
struct PoolMember {
  /// 1 while it may hold a task.
  private var working: UInt32 = 0
  /// Number by which the system knows it.
  private var number: UInt32 = 0
  /// Where it began to work in the run.
  var processor: UInt32 = .max
  /// Where it has to go as soon as it holds no task; `.max`: nowhere.
  private var destination: UInt32 = .max
  /// Processor time it had when it was last looked at.
  private var timeSeen: UInt64 = 0
  /// Tasks of its own that are not yet claimed, a `PoolShare`.
  var share: UInt64 = 0
  private var line: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

  static func allocate(_ count: Int) -> UnsafeMutablePointer<PoolMember> {
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: count * MemoryLayout<PoolMember>.stride, alignment: 64)
    let members = memory.bindMemory(to: PoolMember.self, capacity: count)
    members.initialize(repeating: PoolMember(), count: count)
    return members
  }

  mutating func begin(_ number: UInt32) {
    dynamoe_store32(&self.number, number)
    dynamoe_store32(&working, 1)
  }

  mutating func end() {
    dynamoe_store32(&working, 0)
  }

  mutating func isNumber(_ number: UInt32) -> Bool {
    dynamoe_load32(&self.number) == number
  }

  mutating func takeDestination() -> UInt32? {
    let destination = dynamoe_load32(&self.destination)
    guard destination != .max else { return nil }
    dynamoe_store32(&self.destination, .max)
    return destination
  }

  /// Its number if it may hold a task and has had no processor time since the last look.
  fileprivate mutating func stalled() -> UInt32? {
    guard dynamoe_load32(&working) == 1 else { return nil }
    let number = dynamoe_load32(&self.number)
    let time = dynamoe_processor_time(number)
    let before = timeSeen
    timeSeen = time
    return time == before && time > 0 ? number : nil
  }

  fileprivate mutating func send(to processor: UInt32) {
    dynamoe_store32(&destination, processor)
  }
}

/// The tasks `next ..< end` of a run that belong to one of its threads, in one word, so that they are claimed at once: the
/// thread itself takes them from the front, others that have none left from the back.
///
/// The word says how many threads the run has, so that a claim cannot succeed in a run in which the claiming thread has no part.
struct PoolShare {
  static let maximumTasks = 1 << 24 - 1
  private static let taskBits: UInt64 = 24

  private(set) var word: UInt64

  init(word: UInt64) {
    self.word = word
  }

  /// The share of thread `index` of `threads` in 0 ..< `tasks`.
  init(_ index: Int, of threads: Int, tasks: Int) {
    let (next, end) = (tasks * index / threads, tasks * (index + 1) / threads)
    word = UInt64(threads) << (2 * Self.taskBits) | UInt64(end) << Self.taskBits | UInt64(next)
  }

  private var next: UInt64 { word & (1 << Self.taskBits - 1) }
  private var end: UInt64 { word >> Self.taskBits & (1 << Self.taskBits - 1) }
  private var threads: Int { Int(word >> (2 * Self.taskBits)) }

  /// Whether thread `index` can claim any.
  func has(_ index: Int) -> Bool { next < end && index < threads }

  /// The first task, and what is left without it.
  var first: (task: Int, rest: PoolShare) { (Int(next), PoolShare(word: word &+ 1)) }

  /// The last task, and what is left without it.
  var last: (task: Int, rest: PoolShare) {
    (Int(end) - 1, PoolShare(word: word &- 1 << Self.taskBits))
  }
}

/// Lets something be done again after a pause, which doubles while it is done as soon as it may.
struct Backoff {
  private static let shortest: UInt64 = 20_000_000
  private static let longest: UInt64 = 320_000_000

  private var end: UInt64 = 0
  private var pause = shortest

  func allowed(_ now: UInt64) -> Bool { now >= end }

  mutating func wait(_ now: UInt64) {
    pause = now &- end < 4 &* pause ? min(2 &* pause, Self.longest) : Self.shortest
    end = now &+ pause
  }
}

/// Whether it pays to fetch stalled threads: not where the caller's processor is as busy as theirs.
struct Fetching {
  /// A fetched thread that needs longer than this to finish its task did not get the processor.
  private static let patience: UInt64 = 1_500_000

  /// Nanoseconds of the clock; 0: nothing has been fetched in this run.
  private(set) var began: UInt64 = 0
  private var failures = Backoff()

  func allowed(_ now: UInt64) -> Bool { failures.allowed(now) }

  mutating func begin(_ now: UInt64) {
    if began == 0 { began = now }
  }

  mutating func end(_ now: UInt64) {
    if now &- began > Self.patience { failures.wait(now) }
    began = 0
  }
}

/// Threads that the system has put aside in the middle of a task, because another program wants
/// their processor too. It lets that program run for some milliseconds, in which all others would
/// wait for the task. But where one waits there is a processor.
extension PoolState {
  /// Brings the stalled workers to the processor of the caller, which has nothing left to do;
  /// returns whether there are any, so that it makes room for them.
  ///
  /// They go back afterwards: on a busy processor they still get a share.
  func fetchStalled(_ workers: Int, _ now: UInt64) -> Bool {
    guard dynamoe_exchange32(block.pointer(to: \.looking)!, 0, 1) else { return false }
    defer { dynamoe_store32(block.pointer(to: \.looking)!, 0) }
    let here = UInt32(bitPattern: dynamoe_processor())
    var any = false
    var index = 1
    while index < min(workers, WorkerPool.maximumThreadCount) {
      if let number = members[index].stalled() {
        any = true
        let processor = dynamoe_load32(&members[index].processor)
        if processor != here, block.pointee.fetching.allowed(now) {
          block.pointee.fetching.begin(now)
          members[index].send(to: processor)
          dynamoe_move_thread(number, here)
        }
      }
      index += 1
    }
    return any
  }

  /// Gives the processor of worker `index`, which has nothing to do, to a stalled thread, and takes
  /// that one's.
  ///
  /// The caller is a thread of the host: it moves itself when it begins the next run, and the
  /// worker makes room when it then meets it on the same processor.
  func offerPlace(_ index: Int) {
    guard dynamoe_exchange32(block.pointer(to: \.looking)!, 0, 1) else { return }
    defer { dynamoe_store32(block.pointer(to: \.looking)!, 0) }
    let here = UInt32(bitPattern: dynamoe_processor())
    var other = 0
    while other < Int(dynamoe_load32(block.pointer(to: \.limit)!)) {
      if other != index, let number = members[other].stalled() {
        let processor = dynamoe_load32(&members[other].processor)
        guard processor != here else { return }
        if other == 0 {
          members[0].send(to: here)
        } else {
          dynamoe_move_thread(number, here)
          dynamoe_move_thread(dynamoe_thread(), processor)
        }
        return
      }
      other += 1
    }
  }
}
