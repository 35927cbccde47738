/// Experts N of each layer; also sets the number of layers L.
public enum ExpertCounts: Equatable, Sendable {
  /// One count per layer, at least 1 each.
  case list([Int])
  /// The counts of a schedule over 1 to 65,536 layers.
  case schedule(Schedule, layers: Int)
}

/// A size of each layer, such as `hidden`.
public enum LayerCounts: Equatable, Sendable {
  /// The same in every layer, at least 1.
  case all(Int)
  /// One per layer.
  case list([Int])
  /// The counts of a schedule over the network's layers.
  case schedule(Schedule)
}

/// A number of each layer, such as `target_active`.
public enum LayerValues: Equatable, Sendable {
  /// The same in every layer, above 0.
  case all(Double)
  /// One per layer.
  case list([Double])
  /// Rounded to whole numbers like every schedule.
  case schedule(Schedule)
}

extension ExpertCounts: ExpressibleByArrayLiteral {
  public init(arrayLiteral counts: Int...) { self = .list(counts) }
}

extension LayerCounts: ExpressibleByIntegerLiteral, ExpressibleByArrayLiteral {
  public init(integerLiteral count: Int) { self = .all(count) }
  public init(arrayLiteral counts: Int...) { self = .list(counts) }
}

extension LayerValues: ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByArrayLiteral
{
  public init(integerLiteral value: Int) { self = .all(Double(value)) }
  public init(floatLiteral value: Double) { self = .all(value) }
  public init(arrayLiteral values: Double...) { self = .list(values) }
}

extension ExpertCounts {
  /// N per layer, all checked. `path` is the key of the setting.
  func resolved(path: String = "experts") throws(DynaMoEError) -> [Int] {
    let counts: [Int]
    switch self {
    case .list(let list):
      guard !list.isEmpty else {
        throw .argument("\(path) must have at least one layer; got an empty list")
      }
      try Check.integer(list.count, "the length of \(path)", 1...Limit.layers)
      counts = list
    case .schedule(let schedule, let layers):
      try Check.integer(layers, "\(path).layers", 1...Limit.layers)
      counts = try schedule.counts(layers: layers, path: path)
    }
    for (layer, count) in counts.enumerated() {
      try Check.integer(count, "\(path)[\(layer)]", 1...Limit.experts)
    }
    return counts
  }
}

extension LayerCounts {
  /// One size per layer, all checked.
  func resolved(layers: Int, path: String) throws(DynaMoEError) -> [Int] {
    switch self {
    case .all(let count):
      try Check.integer(count, path, 1...Limit.size)
      return Array(repeating: count, count: layers)
    case .list(let counts):
      try checkLength(counts.count, layers, path)
      for (layer, count) in counts.enumerated() {
        try Check.integer(count, "\(path)[\(layer)]", 1...Limit.size)
      }
      return counts
    case .schedule(let schedule): return try schedule.counts(layers: layers, path: path)
    }
  }
}

extension LayerValues {
  /// One value above 0 per layer, all checked.
  func resolved(layers: Int, path: String) throws(DynaMoEError) -> [Double] {
    switch self {
    case .all(let value):
      try Check.number(value, path, .positive)
      return Array(repeating: value, count: layers)
    case .list(let values):
      try checkLength(values.count, layers, path)
      for (layer, value) in values.enumerated() {
        try Check.number(value, "\(path)[\(layer)]", .positive)
      }
      return values
    case .schedule(let schedule):
      return try schedule.counts(layers: layers, path: path).map(Double.init)
    }
  }
}

extension LayerValues {
  /// The value of one layer. A router of its own in each of many layers makes no list for each.
  func resolved(layer: Int, of layers: Int, path: String) throws(DynaMoEError) -> Double {
    if case .all(let value) = self {
      try Check.number(value, path, .positive)
      return value
    }
    return try resolved(layers: layers, path: path)[layer]
  }
}

/// Refuses a list that does not have one element per layer.
func checkLength(_ count: Int, _ layers: Int, _ path: String) throws(DynaMoEError) {
  guard count == layers else {
    throw .argument(
      "\(path) must have one element per layer, which is \(layers); got a list of \(count)")
  }
}
