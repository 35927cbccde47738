/// Largest sizes that a configuration may ask for. They keep every product of sizes that the engine
/// forms within `Int`.
enum Limit {
  /// Any size: width, hidden, inputs, vocabulary, outputs.
  static let size = Int(Int32.max)
  static let layers = 65_536
  /// Experts of a layer; the co-activation statistics are quadratic in it.
  static let experts = 1 << 20
  /// Steps of training: exact in double precision.
  static let steps = 1 << 53
  /// Parameters of a network.
  static let parameters = 1 << 44
}

/// The values that a numeric setting may take. All are finite in single precision.
struct NumberRange: Sendable {
  let text: String
  let contains: @Sendable (Double) -> Bool

  static let any = NumberRange(text: "a finite number") { _ in true }
  static let positive = NumberRange(text: "a number above 0") { $0 > 0 }
  static let nonNegative = NumberRange(text: "a number of at least 0") { $0 >= 0 }
  static let unit = NumberRange(text: "a number from 0 to 1") { $0 >= 0 && $0 <= 1 }
  static let decay = NumberRange(text: "a number of at least 0 and below 1") { $0 >= 0 && $0 < 1 }
  static let share = NumberRange(text: "a number above 0 and at most 1") { $0 > 0 && $0 <= 1 }
  /// Beyond a million the cosine's argument loses the fraction that makes the wave.
  static let cycles = NumberRange(text: "a number above 0 and at most 1000000") {
    $0 > 0 && $0 <= 1e6
  }
}

/// Checks of single values; `path` is the key in the configuration, such as
/// `router[2].temperature`.
enum Check {
  static func integer(
    _ value: Int, _ path: String, _ range: ClosedRange<Int>
  ) throws(DynaMoEError) {
    guard !range.contains(value) else { return }
    let allowed =
      value < range.lowerBound
      ? "of at least \(range.lowerBound)" : "of at most \(range.upperBound)"
    throw .argument("\(path) must be an integer \(allowed); got \(value)")
  }

  static func number(_ value: Double, _ path: String, _ range: NumberRange) throws(DynaMoEError) {
    guard value.isFinite, range.contains(value) else {
      throw .argument("\(path) must be \(range.text); got \(value)")
    }
    // The engine computes in single precision, where the value must neither become infinite nor
    // vanish.
    let magnitude = Double(Float.greatestFiniteMagnitude)
    guard abs(value) <= magnitude else {
      throw .argument("\(path) must be at most \(magnitude) in magnitude; got \(value)")
    }
    guard value == 0 || range.contains(0) || value >= Double(Float.leastNormalMagnitude) else {
      throw .argument("\(path) must be at least \(Float.leastNormalMagnitude); got \(value)")
    }
  }
}
