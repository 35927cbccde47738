#if canImport(Glibc)
  import Glibc
#else
  import Musl
#endif

/// What the system can still give, so that a request beyond it is an error and not the end of the process.
///
/// Linux hands out more than there is and kills whoever touches it; the smaller of what `/proc/meminfo` calls
/// available and what the control group leaves (v2 `memory.max` - `memory.current`, v1 alike) is asked for first.
enum AvailableMemory {
  /// Bytes; nil where the system does not say.
  static func bytes() -> Int? {
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

  static func check(_ needed: Int, for what: String) throws(DynaMoEError) {
    guard let available = bytes(), needed > available else { return }
    throw .memory("\(what) would need \(needed) bytes of memory; \(available) are available")
  }

  /// The number that follows `key` in the file, or that begins it.
  private static func field(_ key: String?, in path: String) -> Int? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = read(file, &bytes, bytes.count)
    guard count > 0 else { return nil }
    var text = Substring(String(decoding: bytes[..<count], as: UTF8.self))
    if let key {
      guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(key) }) else {
        return nil
      }
      text = line.dropFirst(key.count)
    }
    return Int(text.drop { $0 == " " }.prefix { $0.isASCII && $0.isNumber })
  }
}
