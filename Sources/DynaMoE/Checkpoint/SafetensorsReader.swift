/// A safetensors file of which the header is read and checked, and tensors as they are asked for: memory for the data is
/// the caller's.
///
/// The format and what is refused: ``SafetensorsFile``.
final class SafetensorsReader {
  /// The path, for messages.
  let path: String
  let metadata: [String: String]
  /// In the order of their data.
  let names: [String]
  let tensors: [String: SafetensorsEntry]
  private let file: SystemFile
  /// Bytes before the data.
  private let start: Int

  init(path: String) throws(DynaMoEError) {
    let file = try SafetensorsFile.open(path)
    let (layout, start, _) = try SafetensorsFile.layout(of: file, path)
    self.path = path
    self.file = file
    self.start = start
    metadata = layout.metadata
    names = layout.entries.map(\.name)
    var tensors: [String: SafetensorsEntry] = [:]
    for entry in layout.entries { tensors[entry.name] = entry }
    self.tensors = tensors
  }

  /// Reads the elements from `first` on of an F32 tensor of this shape.
  func read(
    _ name: String, shape: [Int], from first: Int = 0,
    into values: UnsafeMutableBufferPointer<Float>
  ) throws(DynaMoEError) {
    let entry = try entry(name, shape: shape)
    let size = MemoryLayout<Float>.size
    let count = entry.range.count / size
    guard first >= 0, first <= count, values.count <= count - first else {
      throw .argument(
        "elements \(first) to \(first + values.count) of \(quoted(name)) are asked for, allowed: 0 to \(count)"
      )
    }
    try file.read(
      into: UnsafeMutableRawBufferPointer(values),
      at: start + entry.range.lowerBound + first * size)
  }

  private func entry(_ name: String, shape: [Int]) throws(DynaMoEError) -> SafetensorsEntry {
    guard let entry = tensors[name] else {
      throw .format("\(path): tensor \(quoted(name)) is missing")
    }
    guard entry.type == .f32 else {
      throw .format(
        "\(path): tensor \(quoted(name)) must have dtype F32; got \(entry.type.rawValue)")
    }
    guard entry.shape == shape else {
      throw .format(
        "\(path): tensor \(quoted(name)) must have shape \(shape); got \(entry.shape)")
    }
    return entry
  }
}
