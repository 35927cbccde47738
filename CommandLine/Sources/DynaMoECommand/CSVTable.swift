@_spi(Command) import DynaMoE

/// A CSV file as a table: which columns are features, which the target.
struct CSVTable {
  let path: String
  let options: DataOptions
  let request: TableRequest

  func read(_ bytes: [UInt8]) throws -> Table {
    var csv = try CSV(path: path, bytes: bytes, delimiter: try options.delimiterByte())
    guard let first = try csv.next() else {
      throw CommandFailure("\(path): there are no rows")
    }
    let hasHeader = options.header ?? !first.contains { $0.number != nil }
    let names = hasHeader ? first.map(\.text) : nil
    let targets = try targetColumns(first.count, names)
    let features = try featureColumns(first.count, names, targets: targets)
    var table = Table(path: path)
    table.columns = features.count
    table.featureNames = names.map { names in features.map { names[$0] } }
    if let names, !targets.isEmpty { table.targetNames = targets.map { names[$0] } }
    var labels: [String] = []
    var values: [Float] = []
    var record: [CSV.Field]? = hasHeader ? try csv.next() : first
    while let fields = record {
      guard fields.count == first.count else {
        throw CommandFailure(
          "\(path), line \(csv.line): \(fields.count) fields, allowed: \(first.count), as in the first line"
        )
      }
      func refuse(_ column: Int, _ allowed: String) -> CommandFailure {
        let name = names.map { " (\(quoted($0[column])))" } ?? ""
        let what = fields[column].bytes.isEmpty ? "empty" : quoted(fields[column].text)
        return CommandFailure(
          "\(path), line \(csv.line), column \(column + 1)\(name): \(what), allowed: \(allowed)")
      }
      for column in features {
        guard let number = fields[column].number else { throw refuse(column, "a finite number") }
        table.x.append(number)
      }
      for column in targets {
        switch request.targets {
        case .labels:
          guard !fields[column].bytes.isEmpty else { throw refuse(column, "a class") }
          labels.append(fields[column].text)
        case .values:
          guard let number = fields[column].number else {
            throw refuse(column, "a finite number")
          }
          values.append(number)
        }
      }
      table.lines.append(csv.line)
      record = try csv.next()
    }
    table.rows = table.lines.count
    guard table.rows > 0 else {
      throw CommandFailure("\(path): there are no rows below the header")
    }
    if !targets.isEmpty {
      table.targets =
        request.targets == .labels ? .labels(labels) : .values(values, columns: targets.count)
    }
    return table
  }

  // MARK: - Columns

  /// The place of a column that is named, or numbered from 1.
  private func column(_ wanted: String, _ count: Int, _ names: [String]?) throws -> Int {
    if let names {
      let matches = names.indices.filter { names[$0] == wanted }
      if matches.count == 1 { return matches[0] }
      guard matches.isEmpty else {
        throw CommandFailure("\(path): \(matches.count) columns are called \(quoted(wanted))")
      }
    }
    if let number = Int(wanted), 1...count ~= number { return number - 1 }
    let allowed =
      names.map { $0.prefix(20).map { quoted($0) }.joined(separator: ", ") + ", or " } ?? ""
    throw CommandFailure(
      "\(path): there is no column \(quoted(wanted)), allowed: \(allowed)a number from 1 to \(count)"
    )
  }

  private func targetColumns(_ count: Int, _ names: [String]?) throws -> [Int] {
    guard options.label.isEmpty else {
      let columns = try options.label.map { try column($0, count, names) }
      guard Set(columns).count == columns.count else {
        throw CommandFailure("--label names a column twice")
      }
      guard request.targets == .values || columns.count == 1 else {
        throw CommandFailure("--label is given \(columns.count) times, allowed: once for classes")
      }
      return try inOrderOfOutputs(columns, names)
    }
    if let wanted = request.targetNames, let names {
      let matches = wanted.map { name in names.indices.filter { names[$0] == name } }
      if matches.allSatisfy({ $0.count == 1 }) { return matches.map { $0[0] } }
      if request.targetsAreOptional { return [] }
      let missing = zip(wanted, matches).first { $1.count != 1 }
      let count = missing?.1.count ?? 0
      throw CommandFailure(
        "\(path): \(count == 0 ? "there is no column" : "\(count) columns are called") \(quoted(missing?.0 ?? "")), which the model predicts: name \(wanted.count == 1 ? "the target" : "its \(wanted.count) targets") with --label"
      )
    }
    // Features are found by their names: no other column need be the target.
    if request.targetsAreOptional, request.featureNames != nil, names != nil { return [] }
    // A file with the features and no more has no target.
    if let inputs = request.inputs, request.targetsAreOptional,
      count - options.ignore.count <= inputs
    {
      return []
    }
    return [count - 1]
  }

  /// Columns of `--label` as the model has them: names that it knows in another order are put into
  /// its own.
  private func inOrderOfOutputs(_ columns: [Int], _ names: [String]?) throws -> [Int] {
    guard let wanted = request.targetNames, let names, wanted.count == columns.count else {
      return columns
    }
    let given = columns.map { names[$0] }
    if given.sorted() == wanted.sorted() {
      guard Set(given).count == given.count else { return columns }
      return wanted.compactMap { name in given.firstIndex(of: name).map { columns[$0] } }
    }
    // Other names stand for the targets in their order, which a name of another place contradicts.
    for (place, name) in given.enumerated() where name != wanted[place] && wanted.contains(name) {
      throw CommandFailure(
        "\(path): --label names \(given.map { quoted($0) }.joined(separator: ", ")), allowed: \(wanted.map { quoted($0) }.joined(separator: ", ")), as the model predicts them"
      )
    }
    return columns
  }

  private func featureColumns(
    _ count: Int, _ names: [String]?, targets: [Int]
  ) throws -> [Int] {
    if let wanted = request.featureNames, let names {
      return try wanted.map { name in
        let matches = names.indices.filter { names[$0] == name && !targets.contains($0) }
        guard matches.count == 1 else {
          throw CommandFailure(
            "\(path): \(matches.count) columns are called \(quoted(name)), which the model takes; allowed: one"
          )
        }
        return matches[0]
      }
    }
    let ignored = Set(try options.ignore.map { try column($0, count, names) })
    let features = (0..<count).filter { !targets.contains($0) && !ignored.contains($0) }
    guard !features.isEmpty else {
      throw CommandFailure("\(path): no column is left for the features of its \(count)")
    }
    return features
  }
}
