import CDynaMoE
import DynaMoE

/// A C struct that starts with `uint32_t struct_size` and only ever grows at its end.
protocol SizedStruct {
  /// Its size in the first version of the header. Never changes.
  static var firstSize: Int { get }
  // The header's name, so that the imported structs conform as they are.
  // swift-format-ignore: AlwaysUseLowerCamelCase
  var struct_size: UInt32 { get set }
}

/// A struct that callers fill in, after its `_init`.
protocol ConfigurationStruct: SizedStruct {
  static var defaults: Self { get }
}

extension dynamoe_losses: SizedStruct { static var firstSize: Int { 64 } }
extension dynamoe_info: SizedStruct { static var firstSize: Int { 104 } }
extension dynamoe_evaluation: SizedStruct { static var firstSize: Int { 48 } }
extension dynamoe_routing_statistics: SizedStruct { static var firstSize: Int { 80 } }
extension dynamoe_tensor: SizedStruct { static var firstSize: Int { 72 } }

/// Above every size that a later header may have: larger ones are memory that was never
/// initialised.
private let largestSize = 4096

/// Sizes accepted from a caller: from the first version on; of what is larger than known here the
/// known part is used.
private func check(
  _ name: @autoclosure () -> String, _ size: Int, firstSize: Int
) throws(DynaMoEError) {
  guard firstSize...largestSize ~= size else {
    throw .argument(
      "\(name()) is \(unsigned(size)), allowed: sizeof of the struct (\(firstSize) to \(largestSize))"
    )
  }
}

private func declaredSize<Struct: SizedStruct>(
  _ name: String, _ pointer: UnsafePointer<Struct>
) throws(DynaMoEError) -> Int {
  try checkAlignment(name, UnsafeRawPointer(pointer), MemoryLayout<Struct>.alignment)
  let size = Int(UnsafeRawPointer(pointer).load(as: UInt32.self))
  try check("\(name).struct_size", size, firstSize: Struct.firstSize)
  return size
}

/// Fills the caller's struct of `size` bytes with defaults.
func initialize<Struct: ConfigurationStruct>(
  _ pointer: UnsafeMutablePointer<Struct>?, _ size: Int
) throws(DynaMoEError) {
  let pointer = try required("config", pointer)
  try check("size", size, firstSize: Struct.firstSize)
  var defaults = Struct.defaults
  defaults.struct_size = UInt32(size)
  writeKnown(defaults, to: pointer, size: size)
}

/// The caller's struct, with defaults for the fields that it is too old to have.
func read<Struct: ConfigurationStruct>(
  _ name: String, _ pointer: UnsafePointer<Struct>?
) throws(DynaMoEError) -> Struct {
  guard let pointer else {
    throw .argument("\(name) is NULL, allowed: a struct filled by its _init")
  }
  return copy(pointer, try declaredSize(name, pointer))
}

/// The caller's array of structs, the first of which tells the distance between them.
func read<Struct: ConfigurationStruct>(
  _ name: String, _ pointer: UnsafePointer<Struct>, count: Int
) throws(DynaMoEError) -> [Struct] {
  let stride = try declaredSize("\(name)[0]", pointer)
  guard count == 1 || stride % MemoryLayout<Struct>.alignment == 0 else {
    throw .argument(
      "\(name)[0].struct_size is \(stride), allowed: a multiple of \(MemoryLayout<Struct>.alignment)"
    )
  }
  var structs: [Struct] = []
  for index in 0..<count {
    let element = UnsafeRawPointer(pointer).advanced(by: index * stride)
      .assumingMemoryBound(to: Struct.self)
    let size = Int(UnsafeRawPointer(element).load(as: UInt32.self))
    guard size == stride else {
      throw .argument(
        "\(name)[\(index)].struct_size is \(size), allowed: \(stride), as in \(name)[0]")
    }
    structs.append(copy(element, size))
  }
  return structs
}

private func copy<Struct: ConfigurationStruct>(
  _ pointer: UnsafePointer<Struct>, _ size: Int
) -> Struct {
  var copy = Struct.defaults
  withUnsafeMutableBytes(of: &copy) { known in
    known.copyMemory(
      from: UnsafeRawBufferPointer(start: pointer, count: min(size, known.count)))
  }
  return copy
}

/// Writes what fits into `size` bytes.
private func writeKnown<Struct: SizedStruct>(
  _ value: Struct, to pointer: UnsafeMutablePointer<Struct>, size: Int
) {
  withUnsafeBytes(of: value) { known in
    UnsafeMutableRawPointer(pointer).copyMemory(
      from: known.baseAddress!, byteCount: min(size, known.count))
  }
}

/// Where a result goes: found before the engine runs, written after it has succeeded.
struct ResultStruct<Struct: SizedStruct> {
  private let pointer: UnsafeMutablePointer<Struct>
  private let size: Int

  /// Throws when the pointer is NULL or its struct_size is not one of ours.
  init(
    _ name: String, _ pointer: UnsafeMutablePointer<Struct>?
  ) throws(DynaMoEError) {
    self.pointer = try required(name, pointer)
    size = try declaredSize(name, UnsafePointer(self.pointer))
  }

  /// Writes what fits into the caller's size, which itself stays as it is.
  func write(_ result: Struct) {
    var result = result
    result.struct_size = UInt32(size)
    writeKnown(result, to: pointer, size: size)
  }
}
