import Glibc

/// Replaces a file as a whole: after a failure, and after an interruption at any moment, the old
/// one is as it was.
///
/// The new content goes to a file with a name of its own in the same folder, is made durable and
/// then renamed over the old one. A symbolic link stays one: the file that it names is replaced.
/// Permissions of the old file are kept.
///
/// - Throws: ``DynaMoEError/file(_:)`` with the system's reason, or what `content` throws.
func replaceFile(
  at path: String, content: (borrowing SystemFile) throws(DynaMoEError) -> Void
) throws(DynaMoEError) {
  try SystemFile.checkPath(path)
  let target = resolvingLink(path)
  let oldMode = try permissions(ofReplaceable: target)
  let folder = folder(of: target)
  let temporary =
    "\(folder)/.dynamoe-\(getpid())-\(String(UInt64.random(in: .min ... .max), radix: 16)).tmp"
  let file = try SystemFile(
    path: temporary, shownAs: path, flags: O_WRONLY | O_CREAT | O_EXCL, mode: 0o666)
  do throws(DynaMoEError) {
    if let oldMode { try file.setPermissions(oldMode) }
    try content(file)
    try file.synchronize()
    guard rename(temporary, target) == 0 else { throw SystemFile.refusal("replace", path) }
  } catch {
    unlink(temporary)
    throw error
  }
  // A folder that may be written but not read cannot be opened; the rename itself is done.
  guard let opened = try? SystemFile(path: folder, flags: O_RDONLY | O_DIRECTORY) else { return }
  try opened.synchronize()
}

private func resolvingLink(_ path: String) -> String {
  guard let resolved = realpath(path, nil) else { return path }
  defer { free(resolved) }
  return String(cString: resolved)
}

/// The permissions of the file at `path`, nil when there is none; folders, devices and
/// write-protected files are refused.
private func permissions(ofReplaceable path: String) throws(DynaMoEError) -> mode_t? {
  var status = stat()
  guard stat(path, &status) == 0 else {
    if errno == ENOENT { return nil }
    throw SystemFile.refusal("write", path)
  }
  switch status.st_mode & S_IFMT {
  case S_IFREG: break
  case S_IFDIR: throw SystemFile.refusal("write", path, code: EISDIR)
  default: throw .file("cannot write \(path): not a regular file")
  }
  guard access(path, W_OK) == 0 else { throw SystemFile.refusal("write", path) }
  return status.st_mode & 0o777
}

private func folder(of path: String) -> String {
  guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
  return slash == path.startIndex ? "/" : String(path[..<slash])
}
