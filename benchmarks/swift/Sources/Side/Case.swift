import Glibc

/// What went wrong, for people.
struct Failure: Error {
  let message: String
  init(_ message: String) { self.message = message }
}

/// The description and the arrays of a folder that `sides/prepare.py` wrote; see `sides/case.py`.
struct Case {
  let folder: String
  let isLayer: Bool
  let hasClasses: Bool
  let rows: Int
  let outputRows: Int
  let inputs: Int
  let outputs: Int
  let experts: [Int]

  /// float32 [rows, inputs], or int32 [rows] of token ids.
  let x: UnsafeMutableRawPointer
  /// int32 [rows] of classes, or float32 [rows, outputs].
  let targets: UnsafeMutableRawPointer

  init(folder: String) throws {
    self.folder = folder
    var values: [String: [String]] = [:]
    let text = try Case.read("\(folder)/case.txt")
    for line in String(decoding: text, as: UTF8.self).split(separator: "\n") {
      let words = line.split(separator: " ").map(String.init)
      values[words[0]] = Array(words.dropFirst())
    }
    func integers(_ key: String) throws -> [Int] {
      guard let words = values[key] else { throw Failure("case.txt has no \(key)") }
      return words.compactMap { Int($0) }
    }
    func integer(_ key: String) throws -> Int {
      guard let first = try integers(key).first else { throw Failure("\(key) is no number") }
      return first
    }
    isLayer = values["kind"] == ["layer"]
    hasClasses = values["targets"] == ["classes"]
    rows = try integer("rows")
    outputRows = try integer("output_rows")
    inputs = try integer("inputs")
    outputs = try integer("outputs")
    experts = try integers("experts")
    x = try Case.numbers("\(folder)/x.bin", count: rows * max(inputs, 1))
    targets = try Case.numbers("\(folder)/targets.bin", count: rows * (hasClasses ? 1 : outputs))
  }

  /// All numbers of a case have four bytes.
  private static func numbers(_ path: String, count: Int) throws -> UnsafeMutableRawPointer {
    let bytes = try read(path)
    guard bytes.count == 4 * count else {
      throw Failure("\(path) has \(bytes.count) bytes, expected are \(4 * count)")
    }
    return bytes.baseAddress!
  }

  private static func read(_ path: String) throws -> UnsafeMutableRawBufferPointer {
    guard let file = fopen(path, "rb") else { throw Failure("\(path) cannot be opened") }
    defer { fclose(file) }
    fseek(file, 0, SEEK_END)
    let size = ftell(file)
    rewind(file)
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: max(size, 1), alignment: 64)
    guard fread(bytes.baseAddress, 1, size, file) == size else {
      throw Failure("\(path) cannot be read")
    }
    return UnsafeMutableRawBufferPointer(rebasing: bytes[..<size])
  }

  /// Writes what the driver reads as a side's answer and returns the path.
  func writeOutput(_ values: UnsafeBufferPointer<Float>, masks: [UInt8]) throws -> String {
    let path = "\(folder)/output-\(getpid()).bin"
    guard let file = fopen(path, "wb") else { throw Failure("\(path) cannot be written") }
    let written = fwrite(values.baseAddress, 4, values.count, file)
    let masksWritten = fwrite(masks, 1, masks.count, file)
    guard fclose(file) == 0, written == values.count, masksWritten == masks.count else {
      throw Failure("\(path) cannot be written")
    }
    return path
  }
}
