import Glibc

/// An open file of the operating system; closed when it goes out of scope.
struct SystemFile: ~Copyable {
  private let descriptor: Int32
  /// For messages.
  private let path: String

  /// - Parameters:
  ///   - shownAs: the path in messages when it is not `path` itself.
  ///   - mode: permissions of a new file, before the process's mask.
  init(
    path: String, shownAs: String? = nil, flags: Int32, mode: mode_t = 0
  ) throws(DynaMoEError) {
    try Self.checkPath(path)
    var descriptor: Int32
    repeat {
      descriptor = open(path, flags | O_CLOEXEC, mode)
    } while descriptor < 0 && errno == EINTR
    guard descriptor >= 0 else { throw Self.refusal("open", shownAs ?? path) }
    self.descriptor = descriptor
    self.path = shownAs ?? path
  }

  deinit { close(descriptor) }

  /// An empty path and one with a NUL inside, which the system would cut there, are refused.
  static func checkPath(_ path: String) throws(DynaMoEError) {
    guard !path.isEmpty else { throw .argument("path must not be empty") }
    guard !path.utf8.contains(0) else {
      throw .argument("path must not contain a NUL character; got \(quoted(path))")
    }
  }

  /// The error of the latest system call.
  static func refusal(_ verb: String, _ path: String, code: Int32 = errno) -> DynaMoEError {
    .file("cannot \(verb) \(path): \(String(cString: strerror(code)))")
  }

  /// The size in bytes; a file that is not a regular one is refused.
  func size() throws(DynaMoEError) -> Int {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw Self.refusal("inspect", path) }
    switch status.st_mode & S_IFMT {
    case S_IFREG: return Int(status.st_size)
    case S_IFDIR: throw Self.refusal("read", path, code: EISDIR)
    default: throw .file("cannot read \(path): not a regular file")
    }
  }

  /// Fills `buffer` from the current position; a file that ends before is refused.
  func read(into buffer: UnsafeMutableRawBufferPointer) throws(DynaMoEError) {
    var offset = 0
    while offset < buffer.count {
      let count = Glibc.read(descriptor, buffer.baseAddress! + offset, buffer.count - offset)
      if count < 0 {
        if errno == EINTR { continue }
        throw Self.refusal("read", path)
      }
      guard count > 0 else {
        throw .format("\(path): the file became shorter while it was read")
      }
      offset += count
    }
  }

  /// Fills `buffer` from byte `offset` of the file on, whatever the current position; a file that ends before is
  /// refused.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(DynaMoEError) {
    var done = 0
    while done < buffer.count {
      let count = pread(
        descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset + done))
      if count < 0 {
        if errno == EINTR { continue }
        throw Self.refusal("read", path)
      }
      guard count > 0 else {
        throw .format("\(path): the file became shorter while it was read")
      }
      done += count
    }
  }

  func write(_ bytes: UnsafeRawBufferPointer) throws(DynaMoEError) {
    var offset = 0
    while offset < bytes.count {
      let count = Glibc.write(descriptor, bytes.baseAddress! + offset, bytes.count - offset)
      if count < 0 {
        if errno == EINTR { continue }
        throw Self.refusal("write", path)
      }
      offset += count
    }
  }

  func setPermissions(_ mode: mode_t) throws(DynaMoEError) {
    guard fchmod(descriptor, mode) == 0 else { throw Self.refusal("set permissions of", path) }
  }

  /// Waits until the device has the data.
  func synchronize() throws(DynaMoEError) {
    while fsync(descriptor) != 0 {
      // Some file systems have no such call for folders.
      if errno == EINVAL || errno == ENOTSUP { return }
      if errno != EINTR { throw Self.refusal("write", path) }
    }
  }
}
