/// Rows as a file has them.
struct Table {
  enum Targets {
    case none
    /// One class a row, as it is written.
    case labels([String])
    /// [rows · columns], of a regression.
    case values([Float], columns: Int)
  }

  let path: String
  var rows = 0
  var columns = 0
  /// [rows · columns]
  var x: [Float] = []
  var targets = Targets.none
  /// Of CSV files with a header.
  var featureNames: [String]?
  var targetNames: [String]?
  /// The line of each row of a CSV file, else empty.
  var lines: [Int] = []

  /// Where a row stands, for messages.
  func place(_ row: Int) -> String {
    row < lines.count ? "\(path), line \(lines[row])" : "\(path), row \(row)"
  }

  /// The rows of these numbers, in their order.
  func selecting(_ chosen: [Int]) -> Table {
    var part = self
    part.rows = chosen.count
    part.x = []
    part.x.reserveCapacity(chosen.count * columns)
    for row in chosen { part.x += x[row * columns..<(row + 1) * columns] }
    switch targets {
    case .none: break
    case .labels(let labels): part.targets = .labels(chosen.map { labels[$0] })
    case .values(let values, let width):
      part.targets = .values(
        chosen.flatMap { values[$0 * width..<($0 + 1) * width] }, columns: width)
    }
    part.lines = lines.isEmpty ? [] : chosen.map { lines[$0] }
    return part
  }
}

/// What a reader is to find in a file.
struct TableRequest {
  enum Targets {
    case labels, values
  }

  var targets: Targets
  /// Whether a file without targets will do.
  var targetsAreOptional = false
  /// Features that the model knows by name.
  var featureNames: [String]?
  /// Targets that the model knows by name, in the order of its outputs.
  var targetNames: [String]?
  /// Features of the model, when it is there already.
  var inputs: Int?
}
