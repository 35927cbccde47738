import CDynaMoEPlatform
import Glibc

/// Memory of one worker in one call.
struct WorkerMemory {
  /// What the functions of a `KernelTable` use, `ScratchLease.scratchBytes`.
  let scratch: UnsafeMutableRawPointer
  /// One tile of a result, `ScratchLease.tileRows` rows of `ScratchLease.tileStride`.
  let tile: UnsafeMutablePointer<Float>
  /// Of nothing yet.
  let ahead: RowsAhead
}

/// Memory of one threaded call: a table for the caller and a block for every worker.
///
/// Calls of several threads at once lease different memory, so they cannot disturb each other. In
/// steady state nothing is allocated. A call never fails for want of scratch: it runs with fewer
/// workers, or waits until another call returns the lease that was allocated when the backend was
/// selected.
struct ScratchLease {
  /// Largest tile of a result, and what its rows are apart: not a power of two, which would put all
  /// of them into the same sets of the cache.
  static let tileRows = 256
  static let tileColumns = 256
  static let tileStride = tileColumns + 16

  static let scratchBytes = 512 << 10
  private static let tileBytes = tileRows * tileStride * MemoryLayout<Float>.stride
  private static let workerBytes =
    scratchBytes + tileBytes + RowsAhead.capacity * MemoryLayout<dynamoe_rows>.stride
  /// Entries of the caller's table, each 8 bytes.
  static let tableCount = 4096

  private static let slotCount = 64
  private nonisolated(unsafe) static let slots = makeSlots()
  /// Bit i: slot i is leased.
  private nonisolated(unsafe) static let leased = makeMask()

  private let index: Int
  let table: UnsafeMutablePointer<Int>
  private let blocks: UnsafeMutableRawPointer
  /// Workers that have a block; at least 1.
  let workers: Int

  func memory(_ worker: Int) -> WorkerMemory {
    let block = blocks + worker * Self.workerBytes
    return WorkerMemory(
      scratch: block, tile: (block + Self.scratchBytes).assumingMemoryBound(to: Float.self),
      ahead: RowsAhead(
        (block + Self.scratchBytes + Self.tileBytes).assumingMemoryBound(to: dynamoe_rows.self)))
  }

  /// Allocates the first lease, which makes all later ones succeed.
  static func prepare() throws(AllocationError) {
    let lease = acquire(workers: 1, waiting: false)
    guard let lease else { throw AllocationError(bytes: workerBytes) }
    lease.release()
  }

  /// A lease for up to `workers` workers.
  static func acquire(workers: Int) -> ScratchLease {
    // `prepare` succeeded before any operation exists, so waiting ends in a lease.
    while true {
      if let lease = acquire(workers: workers, waiting: true) { return lease }
    }
  }

  private static func acquire(workers: Int, waiting: Bool) -> ScratchLease? {
    for index in 0..<slotCount {
      let bit = UInt64(1) << UInt64(index)
      if dynamoe_load64(leased) & bit != 0 || dynamoe_or64(leased, bit) & bit != 0 { continue }
      if let lease = slots[index].lease(index, workers) { return lease }
      _ = dynamoe_and64(leased, ~bit)
    }
    if waiting { sched_yield() }
    return nil
  }

  func release() {
    _ = dynamoe_and64(Self.leased, ~(UInt64(1) << UInt64(index)))
  }

  /// Whoever holds the bit of a slot is alone with it.
  private struct Slot {
    var table: UnsafeMutablePointer<Int>?
    var blocks: UnsafeMutableRawPointer?
    var workers = 0

    mutating func lease(_ index: Int, _ wanted: Int) -> ScratchLease? {
      if table == nil {
        var memory: UnsafeMutableRawPointer?
        guard posix_memalign(&memory, 64, tableCount * 8) == 0, let memory else { return nil }
        table = memory.bindMemory(to: Int.self, capacity: tableCount)
      }
      if wanted > workers || blocks == nil {
        var memory: UnsafeMutableRawPointer?
        if posix_memalign(&memory, 4096, max(1, wanted) * workerBytes) == 0, let memory {
          free(blocks)
          blocks = memory
          workers = max(1, wanted)
        }
      }
      guard let table, let blocks else { return nil }
      return ScratchLease(index: index, table: table, blocks: blocks, workers: workers)
    }
  }

  private static func makeSlots() -> UnsafeMutablePointer<Slot> {
    let slots = UnsafeMutablePointer<Slot>.allocate(capacity: slotCount)
    slots.initialize(repeating: Slot(), count: slotCount)
    return slots
  }

  private static func makeMask() -> UnsafeMutablePointer<UInt64> {
    let mask = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)
    mask.initialize(to: 0)
    return mask
  }
}
