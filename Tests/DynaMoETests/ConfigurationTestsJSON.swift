import Testing

@_spi(Command) @testable import DynaMoE

@Suite struct JSONTests {
  private func problem(_ text: String) -> String { problem(Array(text.utf8)) }

  private func problem(_ bytes: [UInt8]) -> String {
    do throws(JSONError) {
      return "accepted \(try parse(bytes).text)"
    } catch { return error.description }
  }

  private func parse(_ bytes: [UInt8]) throws(JSONError) -> JSONValue {
    var result = Result<JSONValue, JSONError>.success(.null)
    bytes.withUnsafeBufferPointer { buffer in
      do throws(JSONError) {
        result = .success(try JSONParser.parse(buffer))
      } catch { result = .failure(error) }
    }
    return try result.get()
  }

  @Test(arguments: [
    ("null", "null"), (" \t\r\n[ ]\n", "[]"), ("{ }", "{}"), ("[true,false]", "[true, false]"),
    ("{\"b\":1,\"a\":[{}]}", "{\"b\": 1, \"a\": [{}]}"),
    ("[0,-0,-1.50e+3,1E5,0.1,1e-7]", "[0, -0, -1.50e+3, 1E5, 0.1, 1e-7]"),
    (
      "\"\\u0041\\u00e9\\u20AC\\ud83D\\uDE00\\/\\\\\\\"\\b\\f\\n\\r\\t\\u0000\"",
      "\"Aé€😀/\\\\\\\"\\u0008\\u000c\\n\\r\\t\\u0000\""
    ),
    ("\"\u{7F}é€😀\"", "\"\u{7F}é€😀\""),
  ])
  func accepted(text: String, expected: String) throws {
    #expect(problem(text) == "accepted \(expected)")
    #expect(try JSONParser.parse(expected) == JSONParser.parse(JSONParser.parse(expected).text))
  }

  @Test(arguments: [
    ("", "the document ends where a value is expected at line 1, column 1"),
    ("[1,\n 2,]", "[2]: expected a value, got ']' at line 2, column 4"),
    ("{\"é\": x}", "é: expected a value, got 'x' at line 1, column 7"),
    (
      "{\"a\":{\"b\":[1,{\"c\":01}]}}",
      "a.b[1].c: a number has no leading zeros at line 1, column 19"
    ),
    ("{\"a\":1,\"a\":2}", "a: this key occurs twice at line 1, column 8"),
    ("{\"a\":1,}", "expected a key in double quotes, got '}' at line 1, column 8"),
    ("{'a':1}", "expected a key in double quotes, got ''' at line 1, column 2"),
    ("{\"a\" 1}", "a: expected ':', got '1' at line 1, column 6"),
    ("{\"a\":1", "the document ends where ',' or '}' is expected at line 1, column 7"),
    ("[1 2]", "expected ',' or ']', got '2' at line 1, column 4"),
    ("1 2", "expected the end of the document, got '2' at line 1, column 3"),
    ("-", "the document ends where a digit is expected at line 1, column 2"),
    ("1.", "the document ends where a digit is expected at line 1, column 3"),
    (".5", "expected a value, got '.' at line 1, column 1"),
    ("+1", "expected a value, got '+' at line 1, column 1"),
    ("1e", "the document ends where a digit is expected at line 1, column 3"),
    ("0x10", "expected the end of the document, got 'x' at line 1, column 2"),
    ("[1e400]", "[0]: this number is too large at line 1, column 2"),
    ("nul", "expected a value, got 'n' at line 1, column 1"),
    ("True", "expected a value, got 'T' at line 1, column 1"),
    ("NaN", "NaN is not a number of JSON at line 1, column 1"),
    ("\"a", "the string that starts here does not end at line 1, column 1"),
    ("\"a\u{1}\"", "a string does not hold byte 0x01 unescaped at line 1, column 3"),
    ("\"\\x\"", "there is no escape \\ with 'x' at line 1, column 2"),
    ("\"\\u12g4\"", "expected four hexadecimal digits, got 'g' at line 1, column 6"),
    ("\"\\ud800\"", "a lone surrogate is not a character at line 1, column 2"),
    ("\"\\ud800\\u0041\"", "a lone surrogate is not a character at line 1, column 2"),
    ("\"\\udc00\"", "a lone surrogate is not a character at line 1, column 2"),
    ("// no\n1", "expected a value, got '/' at line 1, column 1"),
    ("\u{FEFF}1", "a byte order mark is not allowed at line 1, column 1"),
  ])
  func refused(text: String, expected: String) {
    #expect(problem(text) == expected)
  }

  @Test func bytesThatAreNotUTF8() {
    for bytes: [UInt8] in [
      [0xFF], [0xC0, 0x80], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80],
    ] {
      #expect(
        problem([0x22] + bytes + [0x22])
          == "the string that starts here is not valid UTF-8 at line 1, column 1")
    }
    #expect(problem([0xFF]) == "expected a value, got byte 0xFF at line 1, column 1")
    #expect(
      problem([0x22, 0x61, 0x00, 0x22])
        == "a string does not hold byte 0x00 unescaped at line 1, column 3")
  }

  @Test func nestingIsBounded() {
    func nested(_ depth: Int) -> String {
      String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    }
    #expect(problem(nested(64)).hasPrefix("accepted"))
    #expect(problem(nested(65)).contains("nesting is deeper than 64 levels"))
    #expect(
      problem(String(repeating: "[", count: 1_000_000)).contains("nesting is deeper than 64 levels")
    )
    #expect(
      problem(String(repeating: "{\"a\":", count: 1_000_000)).contains(
        "nesting is deeper than 64 levels"))
  }

  /// The text of a value is small, its memory is not.
  @Test func valuesAreBounded() throws {
    let bytes = Array("[1, {\"a\": []}]".utf8)
    try bytes.withUnsafeBufferPointer { buffer in
      _ = try JSONParser.parse(buffer, valueLimit: 4)
      #expect {
        _ = try JSONParser.parse(buffer, valueLimit: 3)
      } throws: { error in
        (error as? JSONError)?.description
          == "[1].a: the document has more than 3 values at line 1, column 11"
      }
    }
  }

  @Test func integersAreKnownAsSuch() throws {
    func number(_ text: String) throws -> JSONNumber {
      guard case .number(let number) = try JSONParser.parse(text) else {
        throw DynaMoEError.failed(text)
      }
      return number
    }
    #expect(try number("2").integer == 2)
    #expect(try number("-0").integer == 0)
    #expect(try number("-9223372036854775808").integer == .min)
    #expect(try number("9223372036854775808").integer == nil)
    #expect(try number("9223372036854775808").isWrittenAsInteger)
    for text in ["2.0", "2e0", "2E1"] { #expect(try number(text).integer == nil, "\(text)") }
    #expect(try number(String(repeating: "9", count: 300)).value == 1e300)
  }

  @Test func doublesRoundTrip() throws {
    var state: UInt64 = 9
    var values: [Double] = [
      0, 0.1, 1e-8, .leastNonzeroMagnitude, .greatestFiniteMagnitude, -2, 1e16,
      123_456_789_012_345_680,
    ]
    for _ in 0..<2000 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let value = Double(bitPattern: state)
      if value.isFinite { values.append(value) }
    }
    for value in values {
      #expect(try JSONParser.parse(JSONValue.real(value).text) == JSONValue.real(value))
      guard case .number(let number) = JSONValue.real(value) else { continue }
      #expect(Double(number.text) == value)
    }
    #expect(JSONValue.real(.nan) == .null && JSONValue.real(.infinity) == .null)
  }

  /// Random and mutated documents: an answer or an error, never a trap; what is accepted is written
  /// and read back equal.
  @Test func fuzz() throws {
    let generator = Philox(key: 77)
    var counter: UInt32 = 0
    func next(_ bound: Int) -> Int {
      counter &+= 1
      return Int(generator.block(counter, 0, 0, 0)[0]) % bound
    }
    let seeds = [
      ConfigurationTests.complete,
      "{\"a\": [1, -2.5e3, \"\\ud83d\\ude00\\n\", {\"b\": null, \"c\": [true, false]}]}",
      ModelConfiguration(
        task: .languageModel, vocabulary: 9, width: 4, experts: [2, 3],
        routers: [.topK(1), .threshold(targetActive: [1, 2])], tiedEmbedding: true
      ).json,
    ].map { Array($0.utf8) }
    let pieces = [
      "{", "}", "[", "]", "\"", "\\u", "\\", ",", ":", "1e", "-", "NaN", "\u{0}", "é", "null",
      "99999999999999999999", "1e999", "\"kind\"", "0.5",
    ].map { Array($0.utf8) }
    var accepted = 0
    var configured = 0
    for round in 0..<6000 {
      var bytes =
        round % 4 == 0 ? (0..<next(40)).map { _ in UInt8(next(256)) } : seeds[next(seeds.count)]
      for _ in 0..<next(4) {
        let place = next(bytes.count + 1)
        switch next(4) {
        case 0: bytes.insert(contentsOf: pieces[next(pieces.count)], at: place)
        case 1: bytes.removeSubrange(place..<min(bytes.count, place + next(6)))
        case 2: bytes.insert(UInt8(next(256)), at: place)
        default: if place < bytes.count { bytes[place] = UInt8(truncatingIfNeeded: next(96) + 32) }
        }
      }
      if let value = try? parse(bytes) {
        accepted += 1
        #expect(try JSONParser.parse(value.text) == value)
      }
      bytes.withUnsafeBufferPointer { buffer in
        if let configuration = try? ModelConfiguration(json: buffer) {
          configured += 1
          #expect(
            (try? ModelConfiguration(json: configuration.json).resolved())
              == (try? configuration.resolved()))
        }
        _ = try? LayerConfiguration(json: buffer)
      }
    }
    #expect(
      accepted > 500 && configured > 200,
      "the mutations reach both sides: \(accepted), \(configured)")
  }
}
