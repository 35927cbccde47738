import Glibc

/// Memory that the system refused.
public struct AllocationError: Error, Equatable, CustomStringConvertible {
  /// What was asked for, in bytes; `Int.max` when the size itself does not fit an integer.
  public let bytes: Int

  public init(bytes: Int) {
    self.bytes = bytes
  }

  public var description: String {
    bytes == Int.max
      ? "the size asked for exceeds the address space" : "\(bytes) bytes of memory could not be had"
  }
}

/// Product of sizes; throws `AllocationError(bytes: Int.max)` when it overflows or a factor is
/// negative.
func checkedProduct(_ factors: Int...) throws(AllocationError) -> Int {
  var product = 1
  for factor in factors {
    let (next, overflow) = product.multipliedReportingOverflow(by: factor)
    if overflow || factor < 0 { throw AllocationError(bytes: Int.max) }
    product = next
  }
  return product
}

/// Owner of 64-byte aligned memory for `capacity` elements.
///
/// Never traps: an allocation that fails or whose size overflows throws, and leaves the buffer as
/// it was. `base` is aligned also when `capacity` is 0, but then nothing may be read or written
/// through it.
public struct Buffer<Element: BitwiseCopyable>: ~Copyable {
  public private(set) var base: UnsafeMutablePointer<Element>
  public private(set) var capacity: Int

  static var alignment: Int { 64 }
  /// From here on the system is asked whether it has the memory: it promises more than it can keep.
  static var largeBlock: Int { 1 << 26 }

  private static var empty: UnsafeMutablePointer<Element> {
    // A non-null aligned address which is never dereferenced.
    UnsafeMutableRawPointer(bitPattern: alignment)!.assumingMemoryBound(to: Element.self)
  }

  /// No memory.
  public init() {
    base = Self.empty
    capacity = 0
  }

  /// `count` elements whose bytes are 0; pages that are never touched take no memory.
  public init(zeroed count: Int) throws(AllocationError) {
    self.init()
    guard count != 0 else { return }
    base = try Self.allocate(count, zeroed: true)
    capacity = count
  }

  /// `count` elements of unspecified content.
  public init(uninitialized count: Int) throws(AllocationError) {
    self.init()
    guard count != 0 else { return }
    base = try Self.allocate(count, zeroed: false)
    capacity = count
  }

  deinit {
    if capacity > 0 { free(base) }
  }

  /// Grows to at least `count` elements, never shrinks. Growth loses the contents; otherwise
  /// nothing happens.
  public mutating func reserve(_ count: Int) throws(AllocationError) {
    guard count > capacity else { return }
    let grown = try Self.allocate(count, zeroed: false)
    if capacity > 0 { free(base) }
    base = grown
    capacity = count
  }

  private static func allocate(
    _ count: Int, zeroed: Bool
  ) throws(AllocationError) -> UnsafeMutablePointer<Element> {
    let bytes = try checkedProduct(count, MemoryLayout<Element>.stride)
    guard bytes <= Int.max - 2 * alignment else { throw AllocationError(bytes: Int.max) }
    if bytes >= largeBlock, let available = AvailableMemory.bytes(), bytes > available {
      throw AllocationError(bytes: bytes)
    }
    let memory = zeroed ? allocateZeroed(bytes) : allocateAligned(bytes)
    guard let memory else { throw AllocationError(bytes: bytes) }
    return memory.bindMemory(to: Element.self, capacity: count)
  }

  private static func allocateAligned(_ bytes: Int) -> UnsafeMutableRawPointer? {
    var memory: UnsafeMutableRawPointer?
    guard posix_memalign(&memory, alignment, bytes) == 0 else { return nil }
    return memory
  }

  private static func allocateZeroed(_ bytes: Int) -> UnsafeMutableRawPointer? {
    guard let memory = allocateAligned(bytes) else { return nil }
    // Large blocks are fresh mappings, which the system hands out as zeros on first touch. Whether
    // this one is fresh cannot be asked, so its whole pages are given back and come again as zeros;
    // the rest is cleared here.
    let page = max(4096, Int(sysconf(Int32(_SC_PAGESIZE))))
    let start = Int(bitPattern: memory)
    let first = (start + page - 1) / page * page
    let last = (start + bytes) / page * page
    guard bytes >= 64 * page, last > first,
      madvise(UnsafeMutableRawPointer(bitPattern: first), last - first, MADV_DONTNEED) == 0
    else {
      memset(memory, 0, bytes)
      return memory
    }
    memset(memory, 0, first - start)
    memset(UnsafeMutableRawPointer(bitPattern: last)!, 0, start + bytes - last)
    return memory
  }
}

// The owner hands out its pointer only by loans; moving it to another thread is safe.
extension Buffer: @unchecked Sendable {}
