/// The records of a CSV file, RFC 4180: fields between delimiters, quoted where they hold one, a
/// quote (written twice) or a line break. Lines end with LF or CR LF; empty ones are passed over.
struct CSV {
  struct Field {
    /// Without the quotes, and without spaces around what is not quoted.
    let bytes: ArraySlice<UInt8>

    var text: String { String(decoding: bytes, as: UTF8.self) }

    /// Nil for what is no finite number.
    var number: Float? {
      if bytes.count <= 7, let integer = smallInteger { return Float(integer) }
      for byte in bytes {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"),
          UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"):
          continue
        default: return nil
        }
      }
      guard let number = Float(text), number.isFinite else { return nil }
      return number
    }

    private var smallInteger: Int? {
      guard !bytes.isEmpty else { return nil }
      var value = 0
      for byte in bytes {
        guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
        value = value * 10 + Int(byte - UInt8(ascii: "0"))
      }
      return value
    }
  }

  private static let quote = UInt8(ascii: "\"")
  private static let newline = UInt8(ascii: "\n")
  private static let carriageReturn = UInt8(ascii: "\r")

  let path: String
  private let bytes: [UInt8]
  private let delimiter: UInt8
  private var position = 0
  private var nextLine = 1
  /// The line at which the latest record starts, from 1.
  private(set) var line = 0

  init(path: String, bytes: [UInt8], delimiter: UInt8) throws {
    self.path = path
    self.bytes = bytes
    self.delimiter = delimiter
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    guard String(validating: bytes, as: UTF8.self) != nil else {
      throw CommandFailure("\(path): not a CSV file in UTF-8")
    }
  }

  /// The next record, nil at the end.
  mutating func next() throws -> [Field]? {
    skipEmptyLines()
    guard position < bytes.count else { return nil }
    line = nextLine
    var fields: [Field] = []
    while true {
      fields.append(try field(column: fields.count + 1))
      guard position < bytes.count else { return fields }
      let byte = bytes[position]
      position += 1
      if byte == delimiter {
        continue
      }
      if byte == Self.carriageReturn { position += 1 }
      nextLine += 1
      return fields
    }
  }

  private mutating func skipEmptyLines() {
    while position < bytes.count {
      if bytes[position] == Self.newline {
        position += 1
      } else if isLineEnd(position) {
        position += 2
      } else {
        return
      }
      nextLine += 1
    }
  }

  /// Whether a line break starts here.
  private func isLineEnd(_ index: Int) -> Bool {
    bytes[index] == Self.newline
      || bytes[index] == Self.carriageReturn && index + 1 < bytes.count
        && bytes[index + 1] == Self.newline
  }

  private mutating func field(column: Int) throws -> Field {
    while position < bytes.count, isSpace(bytes[position]) { position += 1 }
    if position < bytes.count, bytes[position] == Self.quote {
      return try quotedField(column: column)
    }
    let start = position
    while position < bytes.count, bytes[position] != delimiter, !isLineEnd(position) {
      position += 1
    }
    var end = position
    while end > start, isSpace(bytes[end - 1]) { end -= 1 }
    return Field(bytes: bytes[start..<end])
  }

  private mutating func quotedField(column: Int) throws -> Field {
    position += 1
    var segment = position
    var joined: [UInt8] = []
    while position < bytes.count {
      guard bytes[position] == Self.quote else {
        if bytes[position] == Self.newline { nextLine += 1 }
        position += 1
        continue
      }
      if position + 1 < bytes.count, bytes[position + 1] == Self.quote {
        joined += bytes[segment...position]
        position += 2
        segment = position
        continue
      }
      let content =
        joined.isEmpty ? bytes[segment..<position] : (joined + bytes[segment..<position])[...]
      position += 1
      while position < bytes.count, isSpace(bytes[position]) { position += 1 }
      guard position == bytes.count || bytes[position] == delimiter || isLineEnd(position) else {
        throw CommandFailure(
          "\(path), line \(line), column \(column): text follows the closing quote of the field")
      }
      return Field(bytes: content)
    }
    throw CommandFailure(
      "\(path), line \(line), column \(column): the quoted field that starts here does not end")
  }

  private func isSpace(_ byte: UInt8) -> Bool {
    (byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")) && byte != delimiter
  }
}

/// `text` as a field of a CSV file.
func csvField(_ text: String) -> String {
  let needsQuotes =
    text.first == " " || text.last == " "
    || text.utf8.contains { [UInt8(ascii: ","), UInt8(ascii: "\""), 10, 13].contains($0) }
  guard needsQuotes else { return text }
  var result = "\""
  for character in text.unicodeScalars {
    if character == "\"" { result += "\"" }
    result.unicodeScalars.append(character)
  }
  return result + "\""
}
