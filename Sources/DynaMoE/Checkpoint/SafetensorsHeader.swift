/// The element types of the format; the raw value is the spelling in a header.
enum SafetensorsType: String, Sendable, CaseIterable {
  case bool = "BOOL"
  case u8 = "U8"
  case i8 = "I8"
  case f8e5m2 = "F8_E5M2"
  case f8e4m3 = "F8_E4M3"
  case i16 = "I16"
  case u16 = "U16"
  case f16 = "F16"
  case bf16 = "BF16"
  case i32 = "I32"
  case u32 = "U32"
  case f32 = "F32"
  case f64 = "F64"
  case i64 = "I64"
  case u64 = "U64"

  /// Bytes of an element.
  var size: Int {
    switch self {
    case .bool, .u8, .i8, .f8e5m2, .f8e4m3: 1
    case .i16, .u16, .f16, .bf16: 2
    case .i32, .u32, .f32: 4
    case .f64, .i64, .u64: 8
    }
  }
}

/// What a header says of one tensor.
struct SafetensorsEntry: Equatable, Sendable {
  let name: String
  let type: SafetensorsType
  let shape: [Int]
  /// Bytes, relative to the end of the header.
  let range: Range<Int>
}

/// The parsed and checked header of a safetensors file.
struct SafetensorsHeader {
  let metadata: [String: String]
  /// In the order of their data, which they cover without gaps and overlaps.
  let entries: [SafetensorsEntry]

  init(_ bytes: [UInt8], dataSize: Int, path: String) throws(DynaMoEError) {
    guard bytes.first == UInt8(ascii: "{") else {
      throw .format("\(path): not a safetensors file: its header does not start with '{'")
    }
    let document: JSONValue
    do {
      document = try Self.parse(bytes)
    } catch {
      throw .format("\(path): the header is not valid JSON: \(error.description)")
    }
    guard case .object(let object) = document else {
      throw .format("\(path): the header is not a JSON object")
    }
    var metadata: [String: String] = [:]
    var entries: [SafetensorsEntry] = []
    for member in object.members {
      if member.key == "__metadata__" {
        metadata = try Self.metadata(member.value, path)
      } else {
        entries.append(try Self.entry(member.key, member.value, dataSize: dataSize, path))
      }
    }
    // Empty tensors come first among those of one start, so that each begins where the one before
    // ends.
    entries.sort {
      ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
    }
    try Self.checkCoverage(entries, dataSize: dataSize, path)
    self.metadata = metadata
    self.entries = entries
  }

  private static func parse(_ bytes: [UInt8]) throws(JSONError) -> JSONValue {
    var result = Result<JSONValue, JSONError>.success(.null)
    bytes.withUnsafeBufferPointer { buffer in
      do throws(JSONError) {
        result = .success(try JSONParser.parse(buffer))
      } catch {
        result = .failure(error)
      }
    }
    return try result.get()
  }

  private static func metadata(_ value: JSONValue, _ path: String) throws(DynaMoEError) -> [String:
    String]
  {
    guard case .object(let object) = value else {
      throw .format("\(path): __metadata__ must be an object of strings; got \(value.summary)")
    }
    var metadata: [String: String] = [:]
    for member in object.members {
      guard case .string(let text) = member.value else {
        throw .format(
          "\(path): __metadata__ \(quoted(member.key)) must be a string; got \(member.value.summary)"
        )
      }
      metadata[member.key] = text
    }
    return metadata
  }

  private static func entry(
    _ name: String, _ value: JSONValue, dataSize: Int, _ path: String
  ) throws(DynaMoEError) -> SafetensorsEntry {
    let tensor = "\(path): tensor \(quoted(name))"
    guard case .object(let object) = value else {
      throw .format("\(tensor) must be an object; got \(value.summary)")
    }
    for member in object.members where !["dtype", "shape", "data_offsets"].contains(member.key) {
      throw .format(
        "\(tensor) has an unknown key \(quoted(member.key)); allowed are dtype, shape, data_offsets"
      )
    }
    guard case .string(let typeName)? = object["dtype"],
      let type = SafetensorsType(rawValue: typeName)
    else {
      let names = SafetensorsType.allCases.map(\.rawValue).joined(separator: ", ")
      throw .format(
        "\(tensor) must have a dtype of \(names); got \(object["dtype"]?.summary ?? "none")")
    }
    let shape = try sizes(object["shape"], "\(tensor): shape")
    let offsets = try sizes(object["data_offsets"], "\(tensor): data_offsets")
    guard offsets.count == 2, offsets[0] <= offsets[1] else {
      throw .format(
        "\(tensor) must have data_offsets [begin, end] with begin ≤ end; got \(offsets.prefix(4))")
    }
    guard offsets[1] <= dataSize else {
      throw .format(
        "\(tensor) ends at byte \(offsets[1]) of the data, the file has only \(dataSize): truncated or damaged"
      )
    }
    guard byteCount(shape, type) == offsets[1] - offsets[0] else {
      throw .format(
        "\(tensor): \(type.rawValue) of shape \(shape.prefix(8)) does not fit its \(offsets[1] - offsets[0]) bytes"
      )
    }
    return SafetensorsEntry(name: name, type: type, shape: shape, range: offsets[0]..<offsets[1])
  }

  /// A list of integers of at least 0.
  private static func sizes(_ value: JSONValue?, _ what: String) throws(DynaMoEError) -> [Int] {
    guard case .array(let values)? = value else {
      throw .format("\(what) must be a list of integers; got \(value?.summary ?? "none")")
    }
    var sizes: [Int] = []
    for value in values {
      guard case .number(let number) = value, let size = number.integer, size >= 0 else {
        throw .format("\(what) must be a list of integers of at least 0; got \(value.summary)")
      }
      sizes.append(size)
    }
    return sizes
  }

  /// Nil when it exceeds `Int`. A zero anywhere makes the product 0, however large the others are.
  private static func byteCount(_ shape: [Int], _ type: SafetensorsType) -> Int? {
    if shape.contains(0) { return 0 }
    var count = type.size
    for size in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: size)
      if overflow { return nil }
      count = product
    }
    return count
  }

  private static func checkCoverage(
    _ entries: [SafetensorsEntry], dataSize: Int, _ path: String
  ) throws(DynaMoEError) {
    var end = 0
    for entry in entries {
      let begin = entry.range.lowerBound
      guard begin >= end else {
        throw .format(
          "\(path): the data of tensor \(quoted(entry.name)) overlaps that of another, at byte \(begin)"
        )
      }
      guard begin == end else {
        throw .format("\(path): bytes \(end) to \(begin) of the data belong to no tensor")
      }
      end = entry.range.upperBound
    }
    guard end == dataSize else {
      throw .format("\(path): the last \(dataSize - end) bytes of the data belong to no tensor")
    }
  }
}
