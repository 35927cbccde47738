/// A JSON document, RFC 8259.
@_spi(Command) public enum JSONValue: Equatable, Sendable {
  case null
  case boolean(Bool)
  case number(JSONNumber)
  case string(String)
  case array([JSONValue])
  case object(JSONObject)

  public static func integer(_ value: Int) -> JSONValue { .number(JSONNumber(value)) }

  /// The value as a number, `null` when it is not finite (JSON has no such number).
  public static func real(_ value: Double) -> JSONValue {
    value.isFinite ? .number(JSONNumber(value)) : .null
  }
}

/// A JSON number together with how it was written, because `2` is an integer and `2.0` is not.
@_spi(Command) public struct JSONNumber: Equatable, Sendable {
  /// As written in the document.
  let text: String
  /// Nearest double; always finite.
  let value: Double
  /// Written without fraction and exponent.
  let isWrittenAsInteger: Bool

  /// The value of a number written as an integer, nil when it was not, or when it does not fit.
  public var integer: Int? { isWrittenAsInteger ? Int(text) : nil }

  /// Nil when the value is beyond the finite doubles. `text` follows the grammar of RFC 8259 §6.
  init?(text: String, isWrittenAsInteger: Bool) {
    guard let value = Double(text), value.isFinite else { return nil }
    self.text = text
    self.value = value
    self.isWrittenAsInteger = isWrittenAsInteger
  }

  init(_ value: Int) {
    text = String(value)
    self.value = Double(value)
    isWrittenAsInteger = true
  }

  /// `value` is finite. Swift prints the shortest digits that read back as the same double.
  init(_ value: Double) {
    text = value.description
    self.value = value
    isWrittenAsInteger = false
  }
}

/// The members of a JSON object in the order in which they were written; no key occurs twice.
@_spi(Command) public struct JSONObject: Equatable, Sendable {
  public struct Member: Equatable, Sendable {
    public let key: String
    public let value: JSONValue
  }

  public private(set) var members: [Member] = []

  public init() {}

  public subscript(key: String) -> JSONValue? {
    members.first { $0.key == key }?.value
  }

  /// Appends a member. The caller knows that the key is new.
  public mutating func append(_ key: String, _ value: JSONValue) {
    members.append(Member(key: key, value: value))
  }
}

extension JSONValue {
  /// What came, for an error message: short whatever the document holds.
  var summary: String {
    switch self {
    case .null: "null"
    case .boolean(let value): value ? "true" : "false"
    case .number(let number): number.text.utf8.count <= 40 ? number.text : "a long number"
    case .string(let text): quoted(text)
    case .array(let elements): elements.isEmpty ? "an empty list" : "a list of \(elements.count)"
    case .object: "an object"
    }
  }
}

/// `text` in quotes for an error message: at most 60 characters, control characters escaped.
@_spi(Command) public func quoted(_ text: String) -> String {
  var result = "\""
  var count = 0
  for scalar in text.unicodeScalars {
    guard count < 60 else {
      result += "…"
      break
    }
    result +=
      scalar.value < 0x20 || scalar.value == 0x7F ? scalar.escaped(asASCII: true) : String(scalar)
    count += 1
  }
  return result + "\""
}
