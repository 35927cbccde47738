/// An SVG picture in CSS pixels, drawn at its own size: what is wider than the screen scrolls in its
/// box.
struct Drawing {
  let width: Int
  let height: Int
  private var content = Markup()
  private let label: String

  /// - Parameter label: what a reader who does not see it is told.
  init(width: Int, height: Int, label: String) {
    self.width = width
    self.height = height
    self.label = label
  }

  enum Anchor: String {
    case start, middle, end
  }

  mutating func text(
    _ text: String, x: Double, y: Double, _ anchor: Anchor = .start, style: String = "",
    hint: String? = nil
  ) {
    let name = style.isEmpty ? "" : " class=\"\(style)\""
    content.literal(
      "<text x=\"\(short(x))\" y=\"\(short(y))\" text-anchor=\"\(anchor.rawValue)\"\(name)>")
    if let hint { content.element("title", hint) }
    content.text(text)
    content.literal("</text>")
  }

  /// Text that reads upwards, for the name of a vertical axis.
  mutating func upwards(_ text: String, x: Double, y: Double) {
    content.literal(
      "<text text-anchor=\"middle\" transform=\"translate(\(short(x)) \(short(y))) rotate(-90)\">")
    content.text(text)
    content.literal("</text>")
  }

  mutating func rectangle(
    x: Double, y: Double, width: Double, height: Double, style: String, hint: String? = nil
  ) {
    content.literal(
      "<rect x=\"\(short(x))\" y=\"\(short(y))\" width=\"\(short(max(0, width)))\" height=\"\(short(max(0, height)))\" class=\"\(style)\""
    )
    if let hint {
      content.literal(">")
      content.element("title", hint)
      content.literal("</rect>")
    } else {
      content.literal("/>")
    }
  }

  mutating func line(x1: Double, y1: Double, x2: Double, y2: Double, style: String) {
    content.literal(
      "<line x1=\"\(short(x1))\" y1=\"\(short(y1))\" x2=\"\(short(x2))\" y2=\"\(short(y2))\" class=\"\(style)\"/>"
    )
  }

  /// Many rectangles of one look.
  mutating func path(_ commands: String, style: String) {
    content.literal("<path class=\"\(style)\" d=\"\(commands)\"/>")
  }

  var markup: Markup {
    var result = Markup()
    result.literal(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(width)\" height=\"\(height)\" viewBox=\"0 0 \(width) \(height)\" role=\"img\" aria-label=\"\(escaped(label))\">"
    )
    result.append(content)
    result.literal("</svg>")
    return result
  }
}

/// A coordinate with no more digits than anybody sees.
func short(_ value: Double) -> String {
  let text = fixed(value, 1)
  return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
}

/// The smallest of 1, 2, 4, 6, 8 times a power of ten that is at least `value`.
func niceMaximum(_ value: Double) -> Double {
  guard value > 0, value.isFinite else { return 1 }
  var power = 1.0
  while power * 10 <= value { power *= 10 }
  while power > value { power /= 10 }
  for step in [1.0, 2, 4, 6, 8] where step * power >= value * (1 - 1e-12) { return step * power }
  return 10 * power
}
