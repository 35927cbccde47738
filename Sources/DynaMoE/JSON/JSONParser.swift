/// Why a text is not the JSON document that was asked for.
struct JSONError: Error, Equatable {
  /// Counted from 1; columns count characters (Unicode scalars).
  let line: Int
  let column: Int
  /// Where in the document, such as `router[2].k`; empty at the top.
  let path: String
  let problem: String

  var description: String {
    (path.isEmpty ? "" : "\(path): ") + "\(problem) at line \(line), column \(column)"
  }
}

/// A strict reader of JSON, RFC 8259.
///
/// Beyond the grammar it refuses what two readers could understand differently: a key that occurs
/// twice in an object, invalid UTF-8, lone surrogates, a byte order mark, numbers beyond the finite
/// doubles, and nesting deeper than ``maximumDepth``, which bounds the stack. More than
/// ``maximumValues`` values are refused too, because a value needs many times the memory of its
/// text. No input makes it trap.
struct JSONParser {
  /// Deepest nesting of lists and objects.
  static let maximumDepth = 64

  /// Most values, lists and objects included: room for the header of the largest network, not for a
  /// memory bomb.
  static let maximumValues = 1 << 23

  private enum Step {
    case key(String)
    case index(Int)
  }

  private let bytes: UnsafeBufferPointer<UInt8>
  private var position = 0
  private var valueCount = 0
  private var path: [Step] = []

  private let valueLimit: Int

  private init(_ bytes: UnsafeBufferPointer<UInt8>, valueLimit: Int) {
    self.bytes = bytes
    self.valueLimit = valueLimit
  }

  static func parse(
    _ bytes: UnsafeBufferPointer<UInt8>, valueLimit: Int = maximumValues
  ) throws(JSONError) -> JSONValue {
    var parser = JSONParser(bytes, valueLimit: valueLimit)
    if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF {
      throw parser.error("a byte order mark is not allowed")
    }
    let value = try parser.value(depth: 0)
    parser.skipWhitespace()
    if let byte = parser.peek() {
      throw parser.error("expected the end of the document, got \(name(of: byte))")
    }
    return value
  }

  static func parse(_ text: String) throws(JSONError) -> JSONValue {
    var result: Result<JSONValue, JSONError>?
    var text = text
    text.withUTF8 { bytes in
      do throws(JSONError) {
        result = .success(try parse(bytes))
      } catch {
        result = .failure(error)
      }
    }
    guard let result else { return .null }
    return try result.get()
  }
}

extension JSONParser {
  private func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func skipWhitespace() {
    while let byte = peek(), byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
      position += 1
    }
  }

  private static func name(of byte: UInt8) -> String {
    if byte > 0x20 && byte < 0x7F { return "'\(Character(Unicode.Scalar(byte)))'" }
    if byte == 0x20 { return "a space" }
    return "byte 0x" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
  }

  private func error(_ problem: String, at place: Int? = nil, key: String? = nil) -> JSONError {
    let end = min(place ?? position, bytes.count)
    var line = 1
    var column = 1
    for index in 0..<end {
      if bytes[index] == 0x0A {
        line += 1
        column = 1
      } else if bytes[index] & 0xC0 != 0x80 {
        column += 1
      }
    }
    var text = ""
    for step in path + (key.map { [.key($0)] } ?? []) {
      switch step {
      case .key(let name): text += (text.isEmpty ? "" : ".") + shortened(name)
      case .index(let index): text += "[\(index)]"
      }
    }
    return JSONError(line: line, column: column, path: text, problem: problem)
  }

  private func shortened(_ name: String) -> String { String(quoted(name).dropFirst().dropLast()) }

  private func unexpected(_ expected: String) -> JSONError {
    guard let byte = peek() else { return error("the document ends where \(expected) is expected") }
    return error("expected \(expected), got \(Self.name(of: byte))")
  }

  private mutating func value(depth: Int) throws(JSONError) -> JSONValue {
    skipWhitespace()
    guard let byte = peek() else { throw unexpected("a value") }
    valueCount += 1
    guard valueCount <= valueLimit else {
      throw error("the document has more than \(valueLimit) values")
    }
    switch byte {
    case UInt8(ascii: "{"):
      try checkDepth(depth)
      return .object(try object(depth: depth + 1))
    case UInt8(ascii: "["):
      try checkDepth(depth)
      return .array(try array(depth: depth + 1))
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try number())
    case UInt8(ascii: "t"):
      try word("true")
      return .boolean(true)
    case UInt8(ascii: "f"):
      try word("false")
      return .boolean(false)
    case UInt8(ascii: "n"):
      try word("null")
      return .null
    case UInt8(ascii: "N"), UInt8(ascii: "I"):
      if matches("NaN") { throw error("NaN is not a number of JSON") }
      if matches("Infinity") { throw error("Infinity is not a number of JSON") }
      throw unexpected("a value")
    default: throw unexpected("a value")
    }
  }

  private func checkDepth(_ depth: Int) throws(JSONError) {
    if depth >= Self.maximumDepth {
      throw error("nesting is deeper than \(Self.maximumDepth) levels")
    }
  }

  private func matches(_ text: StaticString) -> Bool {
    text.withUTF8Buffer { word in
      word.count <= bytes.count - position
        && word.indices.allSatisfy { bytes[position + $0] == word[$0] }
    }
  }

  private mutating func word(_ text: StaticString) throws(JSONError) {
    guard matches(text) else { throw unexpected("a value") }
    position += text.utf8CodeUnitCount
  }

  private mutating func array(depth: Int) throws(JSONError) -> [JSONValue] {
    position += 1
    var elements: [JSONValue] = []
    skipWhitespace()
    if peek() == UInt8(ascii: "]") {
      position += 1
      return elements
    }
    while true {
      path.append(.index(elements.count))
      elements.append(try value(depth: depth))
      path.removeLast()
      skipWhitespace()
      switch peek() {
      case UInt8(ascii: ","): position += 1
      case UInt8(ascii: "]"):
        position += 1
        return elements
      default: throw unexpected("',' or ']'")
      }
    }
  }

  private mutating func object(depth: Int) throws(JSONError) -> JSONObject {
    position += 1
    var result = JSONObject()
    var keys: Set<String> = []
    skipWhitespace()
    if peek() == UInt8(ascii: "}") {
      position += 1
      return result
    }
    while true {
      skipWhitespace()
      guard peek() == UInt8(ascii: "\"") else { throw unexpected("a key in double quotes") }
      let start = position
      let key = try string()
      guard keys.insert(key).inserted else {
        throw error("this key occurs twice", at: start, key: key)
      }
      path.append(.key(key))
      skipWhitespace()
      guard peek() == UInt8(ascii: ":") else { throw unexpected("':'") }
      position += 1
      result.append(key, try value(depth: depth))
      path.removeLast()
      skipWhitespace()
      switch peek() {
      case UInt8(ascii: ","): position += 1
      case UInt8(ascii: "}"):
        position += 1
        return result
      default: throw unexpected("',' or '}'")
      }
    }
  }
}

// Scalars.
extension JSONParser {
  private mutating func digits() -> Int {
    let start = position
    while let byte = peek(), byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { position += 1 }
    return position - start
  }

  private mutating func number() throws(JSONError) -> JSONNumber {
    let start = position
    if peek() == UInt8(ascii: "-") { position += 1 }
    if matches("Infinity") { throw error("-Infinity is not a number of JSON", at: start) }
    if peek() == UInt8(ascii: "0") {
      position += 1
      if let byte = peek(), byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
        throw error("a number has no leading zeros", at: start)
      }
    } else if digits() == 0 {
      throw unexpected("a digit")
    }
    var isInteger = true
    if peek() == UInt8(ascii: ".") {
      isInteger = false
      position += 1
      if digits() == 0 { throw unexpected("a digit") }
    }
    if let byte = peek(), byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") {
      isInteger = false
      position += 1
      if let sign = peek(), sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { position += 1 }
      if digits() == 0 { throw unexpected("a digit") }
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    guard let number = JSONNumber(text: text, isWrittenAsInteger: isInteger) else {
      throw error("this number is too large", at: start)
    }
    return number
  }

  private mutating func string() throws(JSONError) -> String {
    let start = position
    position += 1
    var decoded: [UInt8] = []
    var segment = position
    while let byte = peek() {
      switch byte {
      case UInt8(ascii: "\""):
        decoded.append(contentsOf: bytes[segment..<position])
        position += 1
        guard let text = String(validating: decoded, as: UTF8.self) else {
          throw error("the string that starts here is not valid UTF-8", at: start)
        }
        return text
      case UInt8(ascii: "\\"):
        decoded.append(contentsOf: bytes[segment..<position])
        position += 1
        try escape(into: &decoded)
        segment = position
      case 0..<0x20:
        throw error("a string does not hold \(Self.name(of: byte)) unescaped")
      default: position += 1
      }
    }
    throw error("the string that starts here does not end", at: start)
  }

  private mutating func escape(into decoded: inout [UInt8]) throws(JSONError) {
    let start = position - 1
    guard let byte = peek() else { throw unexpected("an escape") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): decoded.append(byte)
    case UInt8(ascii: "b"): decoded.append(0x08)
    case UInt8(ascii: "f"): decoded.append(0x0C)
    case UInt8(ascii: "n"): decoded.append(0x0A)
    case UInt8(ascii: "r"): decoded.append(0x0D)
    case UInt8(ascii: "t"): decoded.append(0x09)
    case UInt8(ascii: "u"):
      var code = try hexadecimal()
      if code >= 0xD800 && code < 0xDC00 {
        guard matches("\\u") else { throw error("a lone surrogate is not a character", at: start) }
        position += 2
        let low = try hexadecimal()
        guard low >= 0xDC00 && low < 0xE000 else {
          throw error("a lone surrogate is not a character", at: start)
        }
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else {
        throw error("a lone surrogate is not a character", at: start)
      }
      decoded.append(contentsOf: UTF8.encode(scalar)!)
    default:
      throw error("there is no escape \\ with \(Self.name(of: byte))", at: start)
    }
  }

  private mutating func hexadecimal() throws(JSONError) -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = peek(), let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw unexpected("four hexadecimal digits")
      }
      code = code << 4 | UInt32(digit)
      position += 1
    }
    return code
  }
}
