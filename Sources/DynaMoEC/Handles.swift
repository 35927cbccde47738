import CDynaMoE
import DynaMoE
import Glibc

/// What a handle stands for; the raw value is part of the handle's number.
enum HandleKind: UInt64 {
  case model = 1
  case layer = 2
  case session = 3

  /// The name of the argument in the header, in which the kinds' names are words of their own.
  var noun: String {
    switch self {
    case .model: "model"
    case .layer: "layer"
    case .session: "session"
    }
  }
}

/// What C can hold a handle of.
protocol Exported: AnyObject {
  static var kind: HandleKind { get }
}

/// A network that C can hold a handle of.
protocol ExportedNetwork: Exported, RoutedNetwork {}

extension Model: ExportedNetwork {
  static var kind: HandleKind { .model }
}

extension MoELayer: ExportedNetwork {
  static var kind: HandleKind { .layer }
}

extension Session: Exported {
  static var kind: HandleKind { .session }
}

/// A live handle's object and the memory that C borrows from it.
final class HandleEntry {
  let kind: HandleKind
  let object: AnyObject
  let number: HandleNumber
  /// Names of parameters and of buffers as C strings, made when first asked for.
  let parameterNames = BorrowedNames()
  let bufferNames = BorrowedNames()
  /// Guarded by the table's lock.
  fileprivate var isBusy = false

  fileprivate init(kind: HandleKind, object: AnyObject, number: HandleNumber) {
    self.kind = kind
    self.object = object
    self.number = number
  }
}

/// The number in the shape of a pointer: `0xD5 | kind (8) | generation (28) | slot (20)`, high to
/// low.
///
/// The first byte makes it an address that no user process can have, so that a real pointer is
/// never taken for a handle.
struct HandleNumber {
  static let slotLimit = 1 << 20
  static let generationLimit: UInt64 = 1 << 28
  private static let mark: UInt64 = 0xD5

  let kind: UInt64
  let generation: UInt64
  let slot: Int

  init(kind: HandleKind, generation: UInt64, slot: Int) {
    self.kind = kind.rawValue
    self.generation = generation
    self.slot = slot
  }

  /// Nil for what this library has never given out.
  init?(_ pointer: OpaquePointer) {
    let bits = UInt64(UInt(bitPattern: pointer))
    guard bits >> 56 == Self.mark else { return nil }
    kind = (bits >> 48) & 0xFF
    generation = (bits >> 20) & (Self.generationLimit - 1)
    slot = Int(bits & UInt64(Self.slotLimit - 1))
  }

  var pointer: OpaquePointer? {
    OpaquePointer(
      bitPattern: UInt(
        truncatingIfNeeded: Self.mark << 56 | kind << 48 | generation << 20 | UInt64(slot)))
  }
}

/// Why a handle was not entered.
enum HandleRefusal {
  case null, foreign, freed, busy
  case mistyped(HandleKind)

  var status: Int {
    switch self {
    case .null, .foreign, .freed, .mistyped: DYNAMOE_ERROR_HANDLE
    case .busy: DYNAMOE_ERROR_BUSY
    }
  }

  func message(_ wanted: HandleKind) -> String {
    let noun = wanted.noun
    return switch self {
    case .null: "\(noun) is NULL, allowed: a live dynamoe_\(noun)"
    case .foreign:
      "\(noun) is not a handle of this library, allowed: a live dynamoe_\(noun)"
    case .freed: "\(noun) was freed already, allowed: a live dynamoe_\(noun)"
    case .mistyped(let kind):
      "\(noun) is a dynamoe_\(kind.noun), allowed: a live dynamoe_\(noun)"
    case .busy:
      "\(noun) is in use by another thread, allowed: one thread at a time in one handle"
    }
  }
}

/// All live handles of the process. Every access is under one lock, which is held for a few
/// instructions.
enum HandleTable {
  enum Entrance {
    case entered(HandleEntry)
    case refused(HandleRefusal)
  }

  private struct Slot {
    var generation: UInt64 = 0
    var entry: HandleEntry?
  }

  nonisolated(unsafe) private static var slots: [Slot] = []
  nonisolated(unsafe) private static var freeSlots: [Int] = []

  /// A handle for the object. Throws when the table is full.
  static func insert(
    _ object: some Exported
  ) throws(DynaMoEError) -> OpaquePointer? {
    let number = locked { reserve(object) }
    guard let number else {
      throw .memory(
        "\(HandleNumber.slotLimit) handles are live, allowed: no more than that; free some")
    }
    return number.pointer
  }

  private static func reserve<Object: Exported>(_ object: Object) -> HandleNumber? {
    let slot: Int
    if let reused = freeSlots.popLast() {
      slot = reused
    } else if slots.count < HandleNumber.slotLimit {
      slot = slots.count
      slots.append(Slot())
    } else {
      return nil
    }
    let number = HandleNumber(
      kind: Object.kind, generation: slots[slot].generation, slot: slot)
    slots[slot].entry = HandleEntry(kind: Object.kind, object: object, number: number)
    return number
  }

  /// Makes the handle busy for the caller, who must `leave` it.
  static func enter(_ handle: OpaquePointer?, _ kind: HandleKind) -> Entrance {
    locked {
      let found = find(handle, kind)
      if case .entered(let entry) = found { entry.isBusy = true }
      return found
    }
  }

  static func leave(_ entry: HandleEntry) {
    locked { entry.isBusy = false }
  }

  /// Takes the handle out of the table. The object goes with the returned entry, outside the lock.
  static func remove(_ handle: OpaquePointer?, _ kind: HandleKind) -> Entrance {
    locked {
      let found = find(handle, kind)
      if case .entered(let entry) = found {
        let slot = entry.number.slot
        slots[slot].entry = nil
        slots[slot].generation += 1
        // A slot whose generations are used up is retired: no number is ever given out twice.
        if slots[slot].generation < HandleNumber.generationLimit { freeSlots.append(slot) }
      }
      return found
    }
  }

  private static func find(_ handle: OpaquePointer?, _ kind: HandleKind) -> Entrance {
    guard let handle else { return .refused(.null) }
    guard let number = HandleNumber(handle), number.slot < slots.count,
      let numberKind = HandleKind(rawValue: number.kind),
      number.generation <= slots[number.slot].generation
    else { return .refused(.foreign) }
    guard numberKind == kind else { return .refused(.mistyped(numberKind)) }
    let slot = slots[number.slot]
    guard slot.generation == number.generation else { return .refused(.freed) }
    guard let entry = slot.entry, entry.kind == kind else { return .refused(.foreign) }
    return entry.isBusy ? .refused(.busy) : .entered(entry)
  }

  private static func locked<Result>(_ body: () -> Result) -> Result {
    let lock = Self.lock
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    return body()
  }

  nonisolated(unsafe) private static let lock: UnsafeMutablePointer<pthread_mutex_t> = {
    let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    lock.initialize(to: pthread_mutex_t())
    pthread_mutex_init(lock, nil)
    // A child of fork must not inherit the lock from a thread that does not exist there.
    pthread_atfork(
      { pthread_mutex_lock(HandleTable.lock) },
      { pthread_mutex_unlock(HandleTable.lock) },
      { pthread_mutex_unlock(HandleTable.lock) })
    return lock
  }()
}
