/// Text of an HTML document as it grows. Only ``literal(_:)`` takes markup; everything that comes
/// from outside goes through ``text(_:)``.
struct Markup {
  private(set) var html = ""

  mutating func literal(_ markup: String) { html += markup }

  mutating func text(_ text: String) { html += escaped(text) }

  /// `<name>text</name>`
  mutating func element(_ name: String, _ text: String) { element(name, "", text) }

  /// `<name attributes>text</name>`
  mutating func element(_ name: String, _ attributes: String, _ text: String) {
    html += "<\(name)\(attributes.isEmpty ? "" : " " + attributes)>\(escaped(text))</\(name)>"
  }

  mutating func append(_ other: Markup) { html += other.html }
}

/// `text` inside an element or a quoted attribute. Characters that HTML does not allow, and those
/// that reorder the text around them, become U+FFFD.
func escaped(_ text: String) -> String {
  var result = ""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "&": result += "&amp;"
    case "<": result += "&lt;"
    case ">": result += "&gt;"
    case "\"": result += "&quot;"
    case "'": result += "&#39;"
    case "\t", "\n": result.unicodeScalars.append(scalar)
    case "\u{0}"..<"\u{20}", "\u{7F}"..<"\u{A0}", "\u{202A}"..."\u{202E}", "\u{2066}"..."\u{2069}",
      "\u{FFFE}", "\u{FFFF}":
      result += "\u{FFFD}"
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result
}

/// `text` in at most `count` characters.
func shortened(_ text: String, to count: Int) -> String {
  text.count <= count ? text : String(text.prefix(count - 1)) + "…"
}

// MARK: - Numbers

/// With `decimals` digits behind the point, halves away from zero.
@_spi(Command) public func fixed(_ value: Double, _ decimals: Int) -> String {
  guard value.isFinite else { return "–" }
  var scale = 1.0
  for _ in 0..<decimals { scale *= 10 }
  let scaled = (abs(value) * scale).rounded()
  guard scaled < 1e15 else { return "\(value)" }
  let digits = String(Int(scaled))
  let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
  let sign = value < 0 && scaled > 0 ? "-" : ""
  guard decimals > 0 else { return sign + padded }
  return sign + padded.dropLast(decimals) + "." + padded.suffix(decimals)
}

/// With three significant digits or so, without trailing zeros.
func significant(_ value: Double) -> String {
  let magnitude = abs(value)
  guard magnitude < 1e7 && (magnitude >= 1e-4 || magnitude == 0) else {
    return value.isFinite ? scientific(value) : "–"
  }
  var text = fixed(
    value,
    magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : magnitude >= 1 ? 2 : magnitude >= 0.1 ? 3 : 5)
  while text.contains(".") && (text.hasSuffix("0") || text.hasSuffix(".")) { text.removeLast() }
  return text
}

private func scientific(_ value: Double) -> String {
  var exponent = 0
  var mantissa = abs(value)
  while mantissa >= 10 {
    mantissa /= 10
    exponent += 1
  }
  while mantissa < 1 {
    mantissa *= 10
    exponent -= 1
  }
  return (value < 0 ? "-" : "") + fixed(mantissa, 2) + "e\(exponent)"
}

/// Digits in groups of three.
@_spi(Command) public func grouped(_ value: Int) -> String {
  var result = ""
  for (index, digit) in String(value.magnitude).reversed().enumerated() {
    if index > 0 && index % 3 == 0 { result.append(",") }
    result.append(digit)
  }
  return (value < 0 ? "-" : "") + String(result.reversed())
}

/// With a space that does not break.
func percent(_ share: Double, _ decimals: Int = 1) -> String {
  fixed(100 * share, decimals) + "\u{A0}%"
}
