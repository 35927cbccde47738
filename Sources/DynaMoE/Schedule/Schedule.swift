import Glibc

/// How a count changes with depth: experts per layer, also hidden sizes or target counts per layer.
///
/// With t = l/(L - 1) for layer l of L (0 when L = 1), the count is
/// `minimum + round((maximum - minimum)·s(t))`, halves upwards, with s by ``Shape``:
///
/// | shape | s(t) |
/// |---|---|
/// | `uniform` | 1 |
/// | `descending` | 1 - t |
/// | `ascending` | t |
/// | `pyramid` | 1 - abs(2t - 1) |
/// | `valley` | abs(2t - 1) |
/// | `wave` | (1 + cos(2π·cycles·t))/2 |
/// | `inverse_wave` | 1 - wave |
///
/// With ``total`` the same shape is scaled so that the counts sum to `total` exactly, which
/// compares schedules at equal parameters; the counts may then leave minimum … maximum, but none is
/// below 1.
///
///     try Schedule(.descending, minimum: 2, maximum: 8).counts(layers: 4)  // [8, 6, 4, 2]
///
/// Source: the six patterns named in arXiv 2603.01697; the formulas are ours, `pyramid`/`valley`
/// and `wave`/`inverse_wave` cover both readings of a name.
public struct Schedule: Equatable, Sendable {
  /// The name of a schedule; the raw value is its spelling in a configuration.
  public enum Shape: String, Sendable, CaseIterable {
    /// `maximum` everywhere.
    case uniform
    /// From `maximum` down to `minimum`, linearly.
    case descending
    /// From `minimum` up to `maximum`, linearly.
    case ascending
    /// `maximum` in the middle, `minimum` at both ends.
    case pyramid
    /// `minimum` in the middle, `maximum` at both ends.
    case valley
    /// A cosine of `cycles` periods that begins at `maximum`.
    case wave
    /// A cosine of `cycles` periods that begins at `minimum`.
    case inverseWave = "inverse_wave"
  }

  /// How the count goes from layer to layer.
  public var shape: Shape
  /// At least 1. Default 1.
  public var minimum: Int
  /// At least `minimum`.
  public var maximum: Int
  /// Above 0, at most 1,000,000. Default 2. Of the waves; without effect on the other shapes.
  public var cycles: Double
  /// The exact sum over layers, at least one per layer. Default nil: as the formula says.
  public var total: Int?

  /// A schedule whose settings are checked by ``counts(layers:)``.
  public init(_ shape: Shape, minimum: Int = 1, maximum: Int, cycles: Double = 2, total: Int? = nil)
  {
    self.shape = shape
    self.minimum = minimum
    self.maximum = maximum
    self.cycles = cycles
    self.total = total
  }

  /// The count of each layer, `[layers]`.
  ///
  /// - Parameter layers: 1 to 65,536.
  /// - Throws: ``DynaMoEError/argument(_:)`` when `layers` or a setting is out of its range.
  public func counts(layers: Int) throws(DynaMoEError) -> [Int] {
    try Check.integer(layers, "layers", 1...Limit.layers)
    return try counts(layers: layers, path: "")
  }

  /// `path` is the key of this schedule in a configuration. `layers` is in its range.
  func counts(layers: Int, path: String) throws(DynaMoEError) -> [Int] {
    try validate(layers: layers, path: path)
    let range = Double(maximum - minimum)
    guard let total else {
      return (0..<layers).map { layer in
        minimum + Int(Self.roundedHalfUp(range * height(layer: layer, layers: layers)))
      }
    }
    return Self.matched(
      (0..<layers).map { Double(minimum) + range * height(layer: $0, layers: layers) }, total: total
    )
  }

  private func validate(layers: Int, path: String) throws(DynaMoEError) {
    let prefix = path.isEmpty ? "" : path + "."
    try Check.integer(minimum, prefix + "minimum", 1...Limit.size)
    try Check.integer(maximum, prefix + "maximum", 1...Limit.size)
    guard minimum <= maximum else {
      throw .argument(
        "\(prefix)minimum must not be above \(prefix)maximum; got minimum \(minimum), maximum \(maximum)"
      )
    }
    try Check.number(cycles, prefix + "cycles", .cycles)
    if let total {
      guard total >= layers else {
        throw .argument(
          "\(prefix)total must be at least the number of layers, \(layers); got \(total)")
      }
      try Check.integer(total, prefix + "total", 1...Limit.size)
    }
  }

  /// s(t) in [0, 1].
  private func height(layer: Int, layers: Int) -> Double {
    let t = layers == 1 ? 0 : Double(layer) / Double(layers - 1)
    return switch shape {
    case .uniform: 1
    case .descending: 1 - t
    case .ascending: t
    case .pyramid: 1 - abs(2 * t - 1)
    case .valley: abs(2 * t - 1)
    case .wave: (1 + cos(2 * Double.pi * cycles * t)) / 2
    case .inverseWave: 1 - (1 + cos(2 * Double.pi * cycles * t)) / 2
    }
  }

  /// The rounding error of a cosine must not decide a half.
  private static func roundedHalfUp(_ value: Double) -> Double {
    (value + 0.5 + 1e-9).rounded(.down)
  }
}
