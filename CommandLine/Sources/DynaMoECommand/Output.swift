import Glibc

@_spi(Command) import DynaMoE

/// Standard output and error.
enum Output {
  static func write(_ text: String) {
    guard send(text, to: STDOUT_FILENO) else {
      let reason = String(cString: strerror(errno))
      writeError("error: cannot write to standard output: \(reason)\n")
      exit(1)
    }
  }

  static func line(_ text: String = "") { write(text + "\n") }

  static func writeError(_ text: String) { _ = send(text, to: STDERR_FILENO) }

  static func json(_ members: [(String, JSONValue)]) { line(JSONValue.of(members).text) }

  private static func send(_ text: String, to descriptor: Int32) -> Bool {
    var text = text
    return text.withUTF8 { bytes in
      var offset = 0
      while offset < bytes.count {
        let count = Glibc.write(descriptor, bytes.baseAddress! + offset, bytes.count - offset)
        if count < 0 {
          if errno == EINTR { continue }
          return false
        }
        offset += count
      }
      return true
    }
  }
}

/// A line on standard error that is overwritten as work goes on; nothing unless it is a terminal.
struct Progress {
  private let isShown = isatty(STDERR_FILENO) == 1
  private var latest = 0.0

  /// At most some ten times a second.
  mutating func show(_ text: @autoclosure () -> String) {
    guard isShown else { return }
    let now = seconds()
    guard now - latest > 0.1 else { return }
    latest = now
    Output.writeError("\r\u{1B}[K" + text())
  }

  func clear() {
    if isShown { Output.writeError("\r\u{1B}[K") }
  }
}

/// Of the monotonic clock.
func seconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

enum Terminal {
  static var isOutput: Bool { isatty(STDOUT_FILENO) == 1 }

  /// Columns: of the terminal, else of the environment's COLUMNS, else 80.
  static var width: Int {
    var size = winsize()
    if ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 {
      return Int(size.ws_col)
    }
    if let columns = getenv("COLUMNS"), let width = Int(String(cString: columns)), width > 0 {
      return width
    }
    return 80
  }

  /// Whether text may be coloured: a terminal that can, unless NO_COLOR asks for none.
  static var hasColour: Bool {
    guard isOutput, getenv("NO_COLOR") == nil else { return false }
    return getenv("TERM").map { String(cString: $0) != "dumb" } ?? false
  }

  /// Whether block characters can be written: a locale in UTF-8, or none named.
  static var hasBlocks: Bool {
    for name in ["LC_ALL", "LC_CTYPE", "LANG"] {
      guard let value = getenv(name), value.pointee != 0 else { continue }
      let locale = String(cString: value).lowercased()
      return locale.contains("utf-8") || locale.contains("utf8")
    }
    return true
  }
}

/// `text` without characters that a terminal would obey.
func printable(_ text: String) -> String {
  var result = ""
  for scalar in text.unicodeScalars {
    switch scalar.value {
    case 0..<0x20, 0x7F..<0xA0, 0x202A...0x202E, 0x2066...0x2069:
      result += scalar.escaped(asASCII: true)
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result
}

/// Lines of columns; the first is aligned left, the others right.
func aligned(_ rows: [[String]]) -> String {
  var widths: [Int] = []
  for row in rows {
    for (column, cell) in row.enumerated() {
      if column == widths.count { widths.append(0) }
      widths[column] = max(widths[column], cell.count)
    }
  }
  var text = ""
  for row in rows {
    var line = ""
    for (column, cell) in row.enumerated() {
      let space = String(repeating: " ", count: widths[column] - cell.count)
      line += column == 0 ? cell + space : "  " + space + cell
    }
    while line.last == " " { line.removeLast() }
    text += line + "\n"
  }
  return text
}

// MARK: - Numbers

func percent(_ share: Double) -> String { fixed(100 * share, 2) + " %" }

extension JSONValue {
  static func of(_ members: [(String, JSONValue)]) -> JSONValue {
    var object = JSONObject()
    for (key, value) in members { object.append(key, value) }
    return .object(object)
  }

  /// Null for nil.
  static func optional(_ value: Double?) -> JSONValue { value.map(JSONValue.real) ?? .null }

  static func reals(_ values: [Double]) -> JSONValue { .array(values.map(JSONValue.real)) }
}
