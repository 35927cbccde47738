import Glibc

/// A safetensors file, read as a whole and checked as a whole.
///
/// Format: 8 bytes little-endian header length; a JSON object `name: {dtype, shape, data_offsets}`
/// with an optional `__metadata__` of strings; the data, which the tensors cover without gaps and
/// overlaps. Source: the format section of huggingface.co/docs/safetensors.
///
/// Truncated, damaged and foreign files are refused with ``DynaMoEError/format(_:)``, files that
/// the system does not hand out with ``DynaMoEError/file(_:)``; the message has the path and the
/// reason.
struct SafetensorsFile: Sendable {
  /// The largest header that readers of the format accept, in bytes.
  static let maximumHeader = 100_000_000

  /// The path, for messages.
  let path: String
  let metadata: [String: String]
  /// In the order of their data.
  let names: [String]
  let tensors: [String: SafetensorsEntry]
  private let data: AlignedBytes

  /// Reads the file at `path`.
  init(path: String) throws(DynaMoEError) {
    let file = try Self.open(path)
    let (layout, start, size) = try Self.layout(of: file, path)
    let data = try AlignedBytes(count: size - start, path: path)
    try file.read(into: data.bytes)
    self.init(path: path, layout: layout, data: data)
  }

  static func open(_ path: String) throws(DynaMoEError) -> SystemFile {
    // Without O_NONBLOCK a pipe would block until somebody writes into it.
    try SystemFile(path: path, flags: O_RDONLY | O_NONBLOCK)
  }

  /// The header of a file just opened, where its data begins, and the size of the file.
  static func layout(
    of file: borrowing SystemFile, _ path: String
  ) throws(DynaMoEError) -> (SafetensorsHeader, start: Int, size: Int) {
    let size = try file.size()
    var length = [UInt8](repeating: 0, count: 8)
    guard size >= 8 else { throw tooShort(path, size) }
    try filling(&length, from: file)
    var header = [UInt8](repeating: 0, count: try headerLength(length, fileSize: size, path))
    try filling(&header, from: file)
    let start = 8 + header.count
    return (try SafetensorsHeader(header, dataSize: size - start, path: path), start, size)
  }

  /// Copies a file that is already in memory. `name` is for messages.
  init(bytes: UnsafeRawBufferPointer, name: String) throws(DynaMoEError) {
    guard bytes.count >= 8 else { throw Self.tooShort(name, bytes.count) }
    let length = try Self.headerLength(Array(bytes[0..<8]), fileSize: bytes.count, name)
    let dataSize = bytes.count - 8 - length
    let layout = try SafetensorsHeader(Array(bytes[8..<8 + length]), dataSize: dataSize, path: name)
    let data = try AlignedBytes(count: dataSize, path: name)
    data.bytes.copyBytes(from: bytes[(8 + length)...])
    self.init(path: name, layout: layout, data: data)
  }

  private init(path: String, layout: SafetensorsHeader, data: AlignedBytes) {
    self.path = path
    self.data = data
    metadata = layout.metadata
    names = layout.entries.map(\.name)
    var tensors: [String: SafetensorsEntry] = [:]
    for entry in layout.entries { tensors[entry.name] = entry }
    self.tensors = tensors
  }

  private static func tooShort(_ path: String, _ size: Int) -> DynaMoEError {
    .format(
      "\(path): not a safetensors file, or truncated: it has \(size) bytes, at least 10 are needed")
  }

  private static func filling(_ bytes: inout [UInt8], from file: borrowing SystemFile)
    throws(DynaMoEError)
  {
    var failure: DynaMoEError?
    bytes.withUnsafeMutableBytes { buffer in
      do throws(DynaMoEError) { try file.read(into: buffer) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  private static func headerLength(
    _ bytes: [UInt8], fileSize: Int, _ path: String
  ) throws(DynaMoEError) -> Int {
    let length = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard length <= UInt64(maximumHeader) else {
      throw .format(
        "\(path): not a safetensors file: its header would have \(length) bytes, at most \(maximumHeader) are allowed"
      )
    }
    guard length <= UInt64(fileSize - 8) else {
      throw .format(
        "\(path): truncated, or not a safetensors file: the header has \(length) bytes, the file only \(fileSize - 8) after its length"
      )
    }
    return Int(length)
  }
}

// Typed access. A name that is absent, another type and another shape are refused.
extension SafetensorsFile {
  /// The values of an F32 tensor, valid as long as this file value is: use within
  /// `withExtendedLifetime(file)`.
  ///
  /// - Parameter shape: refused when the tensor's is another; nil: any.
  func floats(_ name: String, shape: [Int]? = nil) throws(DynaMoEError) -> UnsafeBufferPointer<
    Float
  > {
    let bytes = try self.bytes(of: name, .f32, shape)
    guard Int(bitPattern: bytes.baseAddress) % MemoryLayout<Float>.alignment == 0 else {
      throw .format(
        "\(path): the data of tensor \(quoted(name)) does not start at a multiple of 4 bytes")
    }
    return bytes.assumingMemoryBound(to: Float.self)
  }

  /// Copies the values of an F32 tensor, wherever in the file they start.
  func copyFloats(
    _ name: String, shape: [Int]? = nil, into values: UnsafeMutableBufferPointer<Float>
  ) throws(DynaMoEError) {
    let bytes = try self.bytes(of: name, .f32, shape)
    guard bytes.count == values.count * MemoryLayout<Float>.size else {
      throw .format(
        "\(path): tensor \(quoted(name)) has \(bytes.count / MemoryLayout<Float>.size) values, expected \(values.count)"
      )
    }
    UnsafeMutableRawBufferPointer(values).copyMemory(from: bytes)
  }

  func floatArray(_ name: String) throws(DynaMoEError) -> [Float] { try array(name, .f32) }
  func doubleArray(_ name: String) throws(DynaMoEError) -> [Double] { try array(name, .f64) }
  func int32Array(_ name: String) throws(DynaMoEError) -> [Int32] { try array(name, .i32) }
  func int64Array(_ name: String) throws(DynaMoEError) -> [Int64] { try array(name, .i64) }
  func byteArray(_ name: String) throws(DynaMoEError) -> [UInt8] { try array(name, .u8) }

  private func array<Element: BitwiseCopyable>(
    _ name: String, _ type: SafetensorsType
  ) throws(DynaMoEError) -> [Element] {
    let bytes = try self.bytes(of: name, type, nil)
    return [Element](unsafeUninitializedCapacity: bytes.count / MemoryLayout<Element>.size) {
      buffer, count in
      UnsafeMutableRawBufferPointer(buffer).copyMemory(from: bytes)
      count = bytes.count / MemoryLayout<Element>.size
    }
  }

  private func bytes(
    of name: String, _ type: SafetensorsType, _ shape: [Int]?
  ) throws(DynaMoEError) -> UnsafeRawBufferPointer {
    guard let entry = tensors[name] else {
      throw .format("\(path): tensor \(quoted(name)) is missing")
    }
    guard entry.type == type else {
      throw .format(
        "\(path): tensor \(quoted(name)) must have dtype \(type.rawValue); got \(entry.type.rawValue)"
      )
    }
    guard shape == nil || shape == entry.shape else {
      throw .format(
        "\(path): tensor \(quoted(name)) must have shape \(shape ?? []); got \(entry.shape)")
    }
    return UnsafeRawBufferPointer(rebasing: data.bytes[entry.range])
  }
}

/// Memory of its own for the data of a file, freed with its last reference.
private final class AlignedBytes: Sendable {
  nonisolated(unsafe) let bytes: UnsafeMutableRawBufferPointer

  init(count: Int, path: String) throws(DynaMoEError) {
    var memory: UnsafeMutableRawPointer?
    guard posix_memalign(&memory, 64, max(count, 1)) == 0, let memory else {
      throw .memory("not enough memory for the \(count) bytes of \(path)")
    }
    bytes = UnsafeMutableRawBufferPointer(start: memory, count: count)
  }

  deinit { free(bytes.baseAddress) }
}
