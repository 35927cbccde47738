#if canImport(Glibc)
  import Glibc
#else
  import Musl
#endif

/// What the system can still give, so that a request beyond it is an error and not the end of the process.
///
/// Linux hands out more than there is and kills whoever touches it; the smaller of what `/proc/meminfo` calls
/// available and what the control group leaves (v2 `memory.max` - `memory.current`, v1 alike) is asked for first.
public enum AvailableMemory {
  /// Bytes; nil where the system does not say.
  public static func bytes() -> Int? {
    var least: Int?
    func consider(_ value: Int?) {
      guard let value else { return }
      least = min(least ?? value, max(0, value))
    }
    consider(field("MemAvailable:", in: "/proc/meminfo").map { $0 << 10 })
    for (limit, usage) in [
      ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
      (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes"
      ),
    ] {
      if let limit = field(nil, in: limit), let usage = field(nil, in: usage) {
        consider(limit - usage)
      }
    }
    return least
  }

  /// The number that follows `key` in the file, or that begins it.
  private static func field(_ key: String?, in path: String) -> Int? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    let text = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 4096) { bytes in
      let count = read(file, bytes.baseAddress, bytes.count)
      return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
    }
    var value = Substring(text)
    if let key {
      guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(key) }) else {
        return nil
      }
      value = line.dropFirst(key.count)
    }
    return Int(value.drop { $0 == " " }.prefix { $0.isASCII && $0.isNumber })
  }
}
