import Foundation

/// A safetensors file, read by the tests themselves rather than by the engine.
struct TensorFile {
  struct Entry {
    var type: String
    var shape: [Int]
    var bytes: Data
  }

  var metadata: [String: String] = [:]
  var tensors: [String: Entry] = [:]

  struct Damaged: Error { var reason: String }

  init(_ data: Data) throws {
    guard data.count >= 8 else { throw Damaged(reason: "shorter than its header") }
    let length = data.prefix(8).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
    let start = 8 + length
    guard length > 0, start <= data.count,
      let header = try JSONSerialization.jsonObject(with: data[8..<start]) as? [String: Any]
    else { throw Damaged(reason: "no header") }
    for (name, value) in header {
      if name == "__metadata__" {
        metadata = value as? [String: String] ?? [:]
        continue
      }
      guard let value = value as? [String: Any], let type = value["dtype"] as? String,
        let shape = value["shape"] as? [Int], let offsets = value["data_offsets"] as? [Int],
        offsets.count == 2, start + offsets[1] <= data.count
      else { throw Damaged(reason: "tensor \(name)") }
      tensors[name] = Entry(
        type: type, shape: shape, bytes: Data(data[start + offsets[0]..<start + offsets[1]]))
    }
  }

  init(path: String) throws { try self.init(Data(contentsOf: URL(fileURLWithPath: path))) }

  private func elements<Element: BitwiseCopyable>(_ name: String, _ type: String) throws
    -> [Element]
  {
    guard let entry = tensors[name] else { throw Damaged(reason: "no tensor \(name)") }
    guard entry.type == type else { throw Damaged(reason: "\(name) is \(entry.type)") }
    return entry.bytes.withUnsafeBytes { bytes in
      (0..<bytes.count / MemoryLayout<Element>.stride).map {
        bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Element>.stride, as: Element.self)
      }
    }
  }

  func floats(_ name: String) throws -> [Float] { try elements(name, "F32") }
  func integers(_ name: String) throws -> [Int32] { try elements(name, "I32") }
  func flags(_ name: String) throws -> [Bool] {
    let bytes: [UInt8] = try elements(name, "U8")
    return bytes.map { $0 != 0 }
  }
}
