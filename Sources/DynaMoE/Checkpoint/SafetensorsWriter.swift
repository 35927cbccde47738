/// Writes F32 tensors and metadata as one safetensors file, in the order given.
///
/// The file is written beside `path` and renamed over it once it is durable: after a failure or an
/// interruption the old file is whole. Tensors are streamed from where they are. The data starts at
/// a multiple of 8 bytes; the same content gives the same bytes.
///
/// - Throws: ``DynaMoEError/argument(_:)`` when a name occurs twice or a shape does not fit its
///   values, ``DynaMoEError/file(_:)`` when the system refuses; the message has the path and the
///   reason.
func writeSafetensors(
  path: String, metadata: [String: String],
  tensors: [(name: String, shape: [Int], values: UnsafeBufferPointer<Float>)]
) throws(DynaMoEError) {
  let header = try safetensorsHeader(metadata: metadata, tensors: tensors)
  try replaceFile(at: path) { file throws(DynaMoEError) in
    var failure: DynaMoEError?
    header.withUnsafeBytes { bytes in
      do throws(DynaMoEError) { try file.write(bytes) } catch { failure = error }
    }
    if let failure { throw failure }
    for tensor in tensors { try file.write(UnsafeRawBufferPointer(tensor.values)) }
  }
}

/// The length and the padded JSON.
private func safetensorsHeader(
  metadata: [String: String],
  tensors: [(name: String, shape: [Int], values: UnsafeBufferPointer<Float>)]
) throws(DynaMoEError) -> [UInt8] {
  var object = JSONObject()
  if !metadata.isEmpty {
    var strings = JSONObject()
    for key in metadata.keys.sorted() { strings.append(key, .string(metadata[key] ?? "")) }
    object.append("__metadata__", .object(strings))
  }
  var names: Set<String> = ["__metadata__"]
  var offset = 0
  for tensor in tensors {
    guard names.insert(tensor.name).inserted else {
      throw .argument(
        "tensor names must be distinct and not __metadata__; got \(quoted(tensor.name)) again")
    }
    var count: Int? = 1
    for size in tensor.shape {
      guard let product = count, size >= 0 else {
        count = nil
        break
      }
      let (next, overflow) = product.multipliedReportingOverflow(by: size)
      count = overflow ? nil : next
    }
    guard count == tensor.values.count else {
      throw .argument(
        "tensor \(quoted(tensor.name)) of shape \(tensor.shape) does not fit its \(tensor.values.count) values"
      )
    }
    let end = offset + tensor.values.count * MemoryLayout<Float>.size
    var entry = JSONObject()
    entry.append("dtype", .string(SafetensorsType.f32.rawValue))
    entry.append("shape", .array(tensor.shape.map(JSONValue.integer)))
    entry.append("data_offsets", .array([.integer(offset), .integer(end)]))
    object.append(tensor.name, .object(entry))
    offset = end
  }
  var json = Array(JSONValue.object(object).text.utf8)
  json.append(contentsOf: repeatElement(UInt8(ascii: " "), count: (8 - json.count % 8) % 8))
  guard json.count <= SafetensorsFile.maximumHeader else {
    throw .argument(
      "the names, shapes and metadata need \(json.count) bytes, at most \(SafetensorsFile.maximumHeader) are allowed"
    )
  }
  return withUnsafeBytes(of: UInt64(json.count).littleEndian) { Array($0) } + json
}
