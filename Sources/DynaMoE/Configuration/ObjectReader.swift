/// Reads the members of a JSON object of the configuration: presence and type; ranges are checked
/// with the values.
///
/// The getters return nil for a key that is absent.
struct ObjectReader {
  private let object: JSONObject
  private let path: String

  /// Refuses a value that is no object, and keys that are not in `keys`.
  ///
  /// - Parameter elsewhere: the paths of keys that belong to another object, for a better hint.
  init(
    _ value: JSONValue, path: String, keys: [String], elsewhere: [String: String] = [:]
  ) throws(DynaMoEError) {
    guard case .object(let object) = value else {
      throw .argument(
        "\(path.isEmpty ? "the configuration" : path) must be an object; got \(value.summary)")
    }
    self.object = object
    self.path = path
    for member in object.members where !keys.contains(member.key) {
      let name = String(quoted(member.key).dropFirst().dropLast())
      let unknown = "unknown key \(path.isEmpty ? name : "\(path).\(name)")"
      if let suggestion = nearest(to: member.key, among: keys) {
        throw .argument("\(unknown); did you mean \(suggestion)?")
      }
      if let place = elsewhere[member.key] {
        throw .argument("\(unknown); it belongs to \(place)")
      }
      throw .argument("\(unknown); allowed are \(keys.joined(separator: ", "))")
    }
  }

  func keyPath(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

  /// The value as it stands, nil when absent.
  subscript(key: String) -> JSONValue? { object[key] }

  func required(_ key: String, _ allowed: String) throws(DynaMoEError) -> JSONValue {
    guard let value = object[key] else {
      throw .argument("\(keyPath(key)) is missing: it requires \(allowed)")
    }
    return value
  }

  func integer(_ key: String) throws(DynaMoEError) -> Int? {
    guard let value = object[key] else { return nil }
    return try value.integer(keyPath(key))
  }

  func requiredInteger(_ key: String) throws(DynaMoEError) -> Int {
    try required(key, "an integer").integer(keyPath(key))
  }

  func number(_ key: String) throws(DynaMoEError) -> Double? {
    guard let value = object[key] else { return nil }
    return try value.number(keyPath(key))
  }

  func boolean(_ key: String) throws(DynaMoEError) -> Bool? {
    guard let value = object[key] else { return nil }
    guard case .boolean(let boolean) = value else {
      throw .argument("\(keyPath(key)) must be true or false; got \(value.summary)")
    }
    return boolean
  }

  func integerOrNull(_ key: String) throws(DynaMoEError) -> Int? {
    guard let value = object[key], value != .null else { return nil }
    return try value.integer(keyPath(key), "an integer or null")
  }

  func numberOrNull(_ key: String) throws(DynaMoEError) -> Double? {
    guard let value = object[key], value != .null else { return nil }
    return try value.number(keyPath(key), "a number or null")
  }

  func choice<Choice: RawRepresentable & CaseIterable>(
    _ key: String, _: Choice.Type
  ) throws(DynaMoEError) -> Choice? where Choice.RawValue == String {
    guard let value = object[key] else { return nil }
    let names = Choice.allCases.map(\.rawValue)
    let allowed = "\(keyPath(key)) must be one of \(names.joined(separator: ", "))"
    guard case .string(let name) = value else {
      throw .argument("\(allowed); got \(value.summary)")
    }
    if let choice = Choice(rawValue: name) { return choice }
    let hint = nearest(to: name, among: names).map { "; did you mean \($0)?" } ?? ""
    throw .argument("\(allowed); got \(value.summary)\(hint)")
  }

  func requiredChoice<Choice: RawRepresentable & CaseIterable>(
    _ key: String, _ type: Choice.Type
  ) throws(DynaMoEError) -> Choice where Choice.RawValue == String {
    guard let choice = try choice(key, type) else {
      let names = Choice.allCases.map(\.rawValue).joined(separator: ", ")
      throw .argument("\(keyPath(key)) is missing: it requires one of \(names)")
    }
    return choice
  }
}

extension JSONValue {
  func integer(_ path: String, _ allowed: String = "an integer") throws(DynaMoEError) -> Int {
    guard case .number(let number) = self else {
      throw .argument("\(path) must be \(allowed); got \(summary)")
    }
    guard number.isWrittenAsInteger else {
      throw .argument("\(path) must be \(allowed), without point or exponent; got \(summary)")
    }
    guard let integer = number.integer else {
      throw .argument("\(path) must be \(allowed) of at most 64 bits; got \(summary)")
    }
    return integer
  }

  func number(_ path: String, _ allowed: String = "a number") throws(DynaMoEError) -> Double {
    guard case .number(let number) = self else {
      throw .argument("\(path) must be \(allowed); got \(summary)")
    }
    return number.value
  }

  /// The elements, each read by `element` with its own path; nil when this is no list.
  func list<Element>(
    _ path: String, _ element: (JSONValue, String) throws(DynaMoEError) -> Element
  ) throws(DynaMoEError) -> [Element]? {
    guard case .array(let values) = self else { return nil }
    var result: [Element] = []
    result.reserveCapacity(values.count)
    for (index, value) in values.enumerated() {
      result.append(try element(value, "\(path)[\(index)]"))
    }
    return result
  }

  /// The document, or an argument error with the place of the mistake.
  static func configuration(_ bytes: UnsafeBufferPointer<UInt8>) throws(DynaMoEError) -> JSONValue {
    do {
      return try JSONParser.parse(bytes)
    } catch {
      throw .argument("the configuration is not valid JSON: \(error.description)")
    }
  }

  @_spi(Command) public static func configuration(_ text: String) throws(DynaMoEError) -> JSONValue
  {
    do {
      return try JSONParser.parse(text)
    } catch {
      throw .argument("the configuration is not valid JSON: \(error.description)")
    }
  }
}
