@_spi(Command) import DynaMoE

/// The classes of labels as they are written.
enum Classes {
  /// The different labels: by value when all are integers, else by their bytes.
  static func names(of labels: [String]) -> [String] {
    let distinct = Array(Set(labels))
    let numbers = distinct.map { Int($0) }
    guard numbers.allSatisfy({ $0 != nil }) else { return distinct.sorted() }
    return distinct.sorted { ((Int($0) ?? 0), $0) < ((Int($1) ?? 0), $1) }
  }

  /// Numbers from 0 for `outputs` classes when the labels are such numbers already.
  static func numbered(_ labels: [String], outputs: Int) -> Bool {
    labels.allSatisfy { label in
      guard let number = Int(label), String(number) == label else { return false }
      return 0..<outputs ~= number
    }
  }

  /// The class of each row of `table`.
  ///
  /// - Parameter names: nil: labels are the numbers of the classes.
  static func numbers(
    of table: Table, names: [String]?, outputs: Int
  ) throws -> [Int32] {
    guard case .labels(let labels) = table.targets else {
      throw CommandFailure("\(table.path): there are no targets")
    }
    var numbers: [String: Int32] = [:]
    for (number, name) in (names ?? []).enumerated() { numbers[name] = Int32(number) }
    return try labels.enumerated().map { row, label in
      if names == nil {
        if let number = Int32(label), number >= 0, Int(number) < outputs { return number }
        throw CommandFailure(
          "\(table.place(row)): the class is \(quoted(label)), allowed: 0 to \(outputs - 1)")
      }
      if let number = numbers[label] { return number }
      let known = (names ?? []).prefix(10).map { quoted($0) }.joined(separator: ", ")
      let more = outputs > 10 ? " and \(outputs - 10) more" : ""
      throw CommandFailure(
        "\(table.place(row)): the class is \(quoted(label)), allowed: \(known)\(more)")
    }
  }
}

/// Targets as the engine takes them.
enum ModelTargets {
  case classes([Int32])
  case values([Float])

  init(_ table: Table, _ model: Model) throws {
    try self.init(table, model.configuration, outputs: model.outputs, names: model.names.classes)
  }

  init(
    _ table: Table, _ configuration: ModelConfiguration, outputs: Int, names: [String]?
  ) throws {
    switch configuration.task {
    case .classification, .languageModel:
      self = .classes(try Classes.numbers(of: table, names: names, outputs: outputs))
    case .regression:
      guard case .values(let values, let columns) = table.targets else {
        throw CommandFailure("\(table.path): there are no targets")
      }
      guard columns == outputs else {
        throw CommandFailure(
          "\(table.path): \(columns) \(columns == 1 ? "column" : "columns") of targets, allowed: outputs = \(outputs)"
        )
      }
      self = .values(values)
    }
  }
}

/// Rows and their targets as the engine takes them.
struct Rows {
  let table: Table
  /// Token ids of models with a vocabulary.
  let tokens: [Int32]?

  init(_ table: Table, _ configuration: ModelConfiguration) throws {
    self.table = table
    guard let vocabulary = configuration.vocabulary else {
      tokens = nil
      if let inputs = configuration.inputs, inputs != table.columns {
        throw CommandFailure(
          "\(table.path): \(table.columns) columns of features, allowed: inputs = \(inputs)")
      }
      return
    }
    guard table.columns == 1 else {
      throw CommandFailure(
        "\(table.path): \(table.columns) columns, allowed: one token id a row, because the model has a vocabulary"
      )
    }
    // Beyond, numbers of a table are no longer exact.
    guard vocabulary <= 1 << 24 else {
      throw CommandFailure("the vocabulary is \(vocabulary), allowed here: up to \(1 << 24)")
    }
    tokens = try table.x.enumerated().map { row, value in
      guard let id = Int32(exactly: value), id >= 0, Int(id) < vocabulary else {
        throw CommandFailure(
          "\(table.place(row)): the token is \(value), allowed: integers from 0 to \(vocabulary - 1)"
        )
      }
      return id
    }
  }

  /// What `body` makes of the rows and their targets. Not `rethrows`: closures that throw typed errors
  /// end the program there (Swift 6.3.1).
  func with<Result>(
    _ targets: ModelTargets, _ body: (Input, Targets) throws -> Result
  ) throws -> Result {
    try withInput { input in
      switch targets {
      case .classes(let classes):
        try classes.withUnsafeBufferPointer { try body(input, .classes($0)) }
      case .values(let values):
        try values.withUnsafeBufferPointer { try body(input, .values($0)) }
      }
    }
  }

  private func withInput<Result>(_ body: (Input) throws -> Result) throws -> Result {
    if let tokens { return try tokens.withUnsafeBufferPointer { try body(.tokens($0)) } }
    return try table.x.withUnsafeBufferPointer { try body(.features($0, rows: table.rows)) }
  }

  /// [rows · outputs], in parts: a row's result is the same in any batch.
  func logits(_ model: Model) throws -> [Float] {
    var logits: [Float] = []
    logits.reserveCapacity(table.rows * model.outputs)
    for first in stride(from: 0, to: table.rows, by: Self.partRows) {
      let part = first..<min(first + Self.partRows, table.rows)
      if let tokens {
        logits += try model.logits(ofTokens: Array(tokens[part]))
      } else {
        let columns = table.columns
        logits += try model.logits(
          of: Array(table.x[part.lowerBound * columns..<part.upperBound * columns]))
      }
    }
    return logits
  }

  private static let partRows = 4096
}
