#if canImport(Glibc)
  import Glibc
#else
  import Musl
#endif

/// How many threads of the pool the runs of one calling thread may use, the caller included.
public enum ThreadLimit {
  /// 0 in a thread without a limit.
  private static let key: pthread_key_t? = {
    var key = pthread_key_t()
    return pthread_key_create(&key, nil) == 0 ? key : nil
  }()

  /// That of the calling thread; the most that a pool may have when there is none.
  static var current: Int {
    guard let key, let value = pthread_getspecific(key) else {
      return WorkerPool.maximumThreadCount
    }
    return Int(bitPattern: value)
  }

  /// Limits the runs of the calling thread to `threads` threads, at least 1. Returns what `end` needs.
  public static func begin(_ threads: Int) -> UnsafeMutableRawPointer? {
    guard let key else { return nil }
    let before = pthread_getspecific(key)
    pthread_setspecific(key, UnsafeMutableRawPointer(bitPattern: max(1, threads)))
    return before
  }

  /// Back to what was before `begin`.
  public static func end(_ before: UnsafeMutableRawPointer?) {
    guard let key else { return }
    pthread_setspecific(key, before)
  }
}
