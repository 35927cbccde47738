import CDynaMoE
import DynaMoE
import Glibc

/// The most layers that a caller can ask for: far above any network, far below where a list of
/// counts hurts.
let maximumLayers = 65_536

/// The largest JSON text read, in bytes.
let maximumJSONLength = 16 << 20

/// Bytes that one process can address on the processors served.
private let addressableBytes = 1 << 47

/// Stands for the address of an empty array, so that the engine never meets nil.
nonisolated(unsafe) private let emptyArray = UnsafeMutableRawPointer.allocate(
  byteCount: 64, alignment: 64)

/// The array `name` [`count`] which the caller lends for reading.
func array<Element: BitwiseCopyable>(
  _ name: String, _ pointer: UnsafePointer<Element>?, _ countName: String, _ count: Int
) throws(DynaMoEError) -> UnsafeBufferPointer<Element> {
  let base = try checkedBase(
    name, UnsafeRawPointer(pointer), countName, count, Element.self)
  return UnsafeBufferPointer(
    start: base.assumingMemoryBound(to: Element.self), count: count)
}

/// The array `name` [`shape`] which the caller lends for reading; its length must be the product of
/// the shape.
func array<Element: BitwiseCopyable>(
  _ name: String, _ pointer: UnsafePointer<Element>?, _ countName: String, _ count: Int,
  shape: Shape
) throws(DynaMoEError) -> UnsafeBufferPointer<Element> {
  let expected = try shape.count(for: countName)
  guard count == expected else {
    throw .argument(
      "\(countName) is \(unsigned(count)), allowed: \(shape.formula) = \(expected)")
  }
  return try array(name, pointer, countName, count)
}

/// The array `name` [`shape`] which the caller lends for writing; it may be longer than the product
/// of the shape.
func output<Element: BitwiseCopyable>(
  _ name: String, _ pointer: UnsafeMutablePointer<Element>?, _ countName: String,
  _ count: Int, shape: Shape
) throws(DynaMoEError) -> UnsafeMutableBufferPointer<Element> {
  let expected = try shape.count(for: countName)
  let base = try checkedBase(
    name, UnsafeRawPointer(pointer), countName, count, Element.self)
  guard count >= expected else {
    throw .argument(
      "\(countName) is \(count), allowed: at least \(shape.formula) = \(expected)")
  }
  return UnsafeMutableBufferPointer(
    start: UnsafeMutableRawPointer(mutating: base).assumingMemoryBound(to: Element.self),
    count: expected)
}

/// The same where the caller may pass NULL with length 0 for "not wanted".
func optionalOutput<Element: BitwiseCopyable>(
  _ name: String, _ pointer: UnsafeMutablePointer<Element>?, _ countName: String,
  _ count: Int, shape: Shape
) throws(DynaMoEError) -> UnsafeMutableBufferPointer<Element>? {
  if pointer == nil && count == 0 { return nil }
  return try output(name, pointer, countName, count, shape: shape)
}

/// A shape in the caller's words, such as rows * inputs. Two factors are all that the header has.
struct Shape {
  let formula: String
  let rows: Int
  var columns = 1

  /// The product. Throws when no array could be that long.
  func count(for countName: String) throws(DynaMoEError) -> Int {
    let (product, overflow) = rows.multipliedReportingOverflow(by: columns)
    guard rows >= 0, columns >= 0, !overflow, product <= addressableBytes else {
      throw .argument(
        "\(countName) cannot be \(formula) = \(unsigned(rows)) * \(columns), allowed: a length that fits into memory"
      )
    }
    return product
  }
}

/// A size_t as the caller wrote it: Swift sees the upper half of its range as negative.
func unsigned(_ size: Int) -> UInt {
  UInt(bitPattern: size)
}

/// The integer as the engine counts. Throws on what cannot be a size.
func size(
  _ name: String, _ value: Int64, atLeast minimum: Int64 = 0
) throws(DynaMoEError) -> Int {
  guard value >= minimum, let size = Int(exactly: value) else {
    throw .argument("\(name) is \(value), allowed: at least \(minimum)")
  }
  return size
}

/// The boolean behind 0 and 1, so that memory that was never initialised is noticed.
func boolean(_ name: String, _ value: Int32) throws(DynaMoEError) -> Bool {
  guard value == 0 || value == 1 else {
    throw .argument("\(name) is \(value), allowed: 0 or 1")
  }
  return value == 1
}

/// The case whose position is the C constant's value.
func choice<Choice>(
  _ name: String, _ value: Int32, _ constants: [(Int, Choice)], _ prefix: String
) throws(DynaMoEError) -> Choice {
  for (constant, choice) in constants where constant == Int(value) { return choice }
  throw .argument(
    "\(name) is \(value), allowed: 0 to \(constants.count - 1) (\(prefix)_...)")
}

/// The address where a result goes. Throws when it is NULL or misaligned.
func required<Value>(
  _ name: String, _ pointer: UnsafeMutablePointer<Value>?
) throws(DynaMoEError) -> UnsafeMutablePointer<Value> {
  guard let pointer else {
    throw .argument("\(name) is NULL, allowed: a valid pointer")
  }
  try checkAlignment(name, UnsafeRawPointer(pointer), MemoryLayout<Value>.alignment)
  return pointer
}

/// The NUL-terminated UTF-8 text at `pointer`, of which no more than `limit` bytes are read.
func text(
  _ name: String, _ pointer: UnsafePointer<CChar>?, limit: Int
) throws(DynaMoEError) -> String {
  guard let pointer else {
    throw .argument("\(name) is NULL, allowed: a NUL-terminated string")
  }
  let length = strnlen(pointer, limit)
  guard length < limit else {
    throw .argument("\(name) has no NUL within \(limit) bytes, allowed: at most \(limit - 1) bytes")
  }
  return try utf8(name, UnsafeRawPointer(pointer), length)
}

/// The UTF-8 text of `length` bytes at `pointer`.
func text(
  _ name: String, _ pointer: UnsafePointer<CChar>?, length: Int, lengthName: String = "length"
) throws(DynaMoEError) -> String {
  guard let pointer else {
    throw .argument("\(name) is NULL, allowed: UTF-8 text")
  }
  guard 0...maximumJSONLength ~= length else {
    throw .argument(
      "\(lengthName) is \(unsigned(length)), allowed: 0 to \(maximumJSONLength) bytes of \(name)")
  }
  return try utf8(name, UnsafeRawPointer(pointer), length)
}

/// The path of a file.
func filePath(_ pointer: UnsafePointer<CChar>?) throws(DynaMoEError) -> String {
  let path = try text("path", pointer, limit: Int(PATH_MAX))
  guard !path.isEmpty else {
    throw .argument("path is empty, allowed: the name of a file")
  }
  return path
}

private func utf8(
  _ name: String, _ pointer: UnsafeRawPointer, _ length: Int
) throws(DynaMoEError) -> String {
  let bytes = UnsafeRawBufferPointer(start: pointer, count: length)
  guard let text = String(validating: bytes, as: UTF8.self) else {
    throw .argument("\(name) is not UTF-8, allowed: valid UTF-8")
  }
  return text
}

private func checkedBase<Element>(
  _ name: String, _ pointer: UnsafeRawPointer?, _ countName: String, _ count: Int,
  _: Element.Type
) throws(DynaMoEError) -> UnsafeRawPointer {
  guard count >= 0, count <= addressableBytes / MemoryLayout<Element>.stride else {
    throw .argument(
      "\(countName) is \(unsigned(count)), allowed: a length that fits into memory")
  }
  guard let pointer else {
    guard count == 0 else {
      throw .argument(
        "\(name) is NULL while \(countName) is \(count), allowed: an array of that length")
    }
    return UnsafeRawPointer(emptyArray)
  }
  try checkAlignment(name, pointer, MemoryLayout<Element>.alignment)
  return pointer
}

/// Throws when the address is none that the processor reads the type at.
func checkAlignment(
  _ name: String, _ pointer: UnsafeRawPointer, _ alignment: Int
) throws(DynaMoEError) {
  guard UInt(bitPattern: pointer) % UInt(alignment) == 0 else {
    throw .argument("\(name) is misaligned, allowed: an address that \(alignment) divides")
  }
}
