@_spi(Command) import DynaMoE

/// Arrays in the IDX format, as of MNIST: two zero bytes, the type (8: bytes, 13: f32), the number
/// of dimensions, each size as 32 bits big-endian, then the values, big-endian.
struct IDX {
  let shape: [Int]
  let isBytes: Bool
  private let path: String
  private let data: ArraySlice<UInt8>

  /// Whether a file begins like one.
  static func recognises(_ bytes: [UInt8]) -> Bool {
    bytes.count >= 4 && bytes[0] == 0 && bytes[1] == 0 && bytes[2] >= 8 && bytes[2] <= 14
      && bytes[3] >= 1
  }

  init(path: String, bytes: [UInt8]) throws {
    guard Self.recognises(bytes) else {
      throw CommandFailure(
        "\(path): not an IDX file: it does not begin with two zero bytes and a type")
    }
    guard bytes[2] == 8 || bytes[2] == 13 else {
      throw CommandFailure(
        "\(path): IDX values of type \(bytes[2]), allowed: 8 (bytes) or 13 (f32)")
    }
    let dimensions = Int(bytes[3])
    let start = 4 + 4 * dimensions
    guard dimensions <= 8, bytes.count >= start else {
      throw CommandFailure("\(path): truncated: the sizes of \(dimensions) dimensions are missing")
    }
    isBytes = bytes[2] == 8
    shape = (0..<dimensions).map { dimension in
      bytes[4 + 4 * dimension..<8 + 4 * dimension].reduce(0) { $0 << 8 | Int($1) }
    }
    var count = isBytes ? 1 : 4
    for size in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: size)
      guard !overflow else { throw CommandFailure("\(path): the shape \(shape) fits into no file") }
      count = product
    }
    guard bytes.count - start == count else {
      throw CommandFailure(
        "\(path): \(bytes.count - start) bytes of data, allowed for the shape \(shape): \(count)")
    }
    self.path = path
    data = bytes[start...]
  }

  /// Bytes divided by 255; f32 as they are.
  func floats() throws -> [Float] {
    if isBytes { return data.map { Float($0) / 255 } }
    var values: [Float] = []
    values.reserveCapacity(data.count / 4)
    for start in stride(from: data.startIndex, to: data.endIndex, by: 4) {
      let bits = data[start..<start + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      let value = Float(bitPattern: bits)
      guard value.isFinite else {
        throw CommandFailure(
          "\(path): value \((start - data.startIndex) / 4) is \(value), allowed: finite numbers")
      }
      values.append(value)
    }
    return values
  }

  func integers() -> [Int] { data.map { Int($0) } }
}

/// Images and labels in IDX files as a table.
func idxTable(
  path: String, bytes: [UInt8], labels: String?, request: TableRequest
) throws -> Table {
  let images = try IDX(path: path, bytes: bytes)
  var table = Table(path: path)
  table.rows = images.shape[0]
  table.columns = images.shape.dropFirst().reduce(1, *)
  guard table.rows > 0, table.columns > 0 else {
    throw CommandFailure("\(path): its shape is \(images.shape), allowed: rows with values")
  }
  table.x = try images.floats()
  guard let labelsPath = labels ?? labelFile(of: path) else {
    guard request.targetsAreOptional else {
      throw CommandFailure("\(path): name the file of its labels with --labels")
    }
    return table
  }
  let labels = try IDX(path: labelsPath, bytes: readFile(labelsPath))
  guard labels.shape == [table.rows] else {
    throw CommandFailure(
      "\(labelsPath): its shape is \(labels.shape), allowed: one label for each of the \(table.rows) rows of \(path)"
    )
  }
  switch request.targets {
  case .labels:
    guard labels.isBytes else {
      throw CommandFailure("\(labelsPath): the labels are f32, allowed for classes: bytes")
    }
    table.targets = .labels(labels.integers().map { String($0) })
  case .values:
    table.targets = .values(
      labels.isBytes ? labels.integers().map { Float($0) } : try labels.floats(), columns: 1)
  }
  return table
}

/// `…labels…idx1…` beside `…images…idx3…` when it is there.
private func labelFile(of path: String) -> String? {
  let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
  let name = String(path.dropFirst(folder.count))
  let other = folder + replacing("idx3", "idx1", in: replacing("images", "labels", in: name))
  return other != path && fileExists(other) ? other : nil
}

private func replacing(_ part: String, _ other: String, in text: String) -> String {
  guard let range = text.firstRange(of: part) else { return text }
  return text.replacingCharacters(range, other)
}

extension String {
  fileprivate func replacingCharacters(_ range: Range<String.Index>, _ other: String) -> String {
    self[..<range.lowerBound] + other + self[range.upperBound...]
  }
}

/// The tensors x and y of a safetensors file as a table.
func safetensorsTable(path: String, request: TableRequest) throws -> Table {
  let file = try NumberFile(path: path)
  guard let shape = file.shape("x"), let rows = shape.first else {
    throw CommandFailure(
      "\(path): there is no tensor x with rows, only \(file.names.joined(separator: ", "))")
  }
  var table = Table(path: path)
  table.rows = rows
  table.columns = shape.dropFirst().reduce(1, *)
  guard table.rows > 0, table.columns > 0 else {
    throw CommandFailure("\(path): x has shape \(shape), allowed: at least one row and one column")
  }
  table.x = try file.floats("x")
  if let bad = table.x.firstIndex(where: { !$0.isFinite }) {
    throw CommandFailure(
      "\(path): x[\(bad / table.columns), \(bad % table.columns)] is \(table.x[bad]), allowed: finite numbers"
    )
  }
  guard let targetShape = file.shape("y") else {
    guard request.targetsAreOptional else {
      throw CommandFailure("\(path): there is no tensor y with the targets")
    }
    return table
  }
  guard targetShape.first == rows else {
    throw CommandFailure("\(path): y has shape \(targetShape), allowed: \(rows) rows, as x")
  }
  let columns = targetShape.dropFirst().reduce(1, *)
  switch request.targets {
  case .labels:
    guard columns == 1, file.isInteger("y") else {
      throw CommandFailure(
        "\(path): y must be integers, one class a row; its shape is \(targetShape)")
    }
    table.targets = .labels(try file.integers("y").map { String($0) })
  case .values:
    let values = try file.floats("y")
    if let bad = values.firstIndex(where: { !$0.isFinite }) {
      throw CommandFailure("\(path): y has \(values[bad]) at \(bad), allowed: finite numbers")
    }
    table.targets = .values(values, columns: columns)
  }
  return table
}
