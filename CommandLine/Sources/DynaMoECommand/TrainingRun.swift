import Glibc

@_spi(Command) import DynaMoE

/// Set by Ctrl-C; a second one ends the process.
nonisolated(unsafe) private var wasInterrupted: sig_atomic_t = 0

/// The epochs of a training.
struct TrainingRun {
  let model: Model
  let training: Table
  let validation: Table?
  let epochs: Int
  let batchSize: Int
  let seed: UInt64
  let standardizes: Bool
  let isQuiet: Bool

  private(set) var steps = 0
  private(set) var isInterrupted = false
  private var history: [JSONValue] = []
  private var final: (name: String, evaluation: Evaluation)?
  private var standardization: Standardization?
  private var rows: Rows?
  private var validationRows: (rows: Rows, targets: ModelTargets)?

  init(
    model: Model, training: Table, validation: Table?, epochs: Int, batchSize: Int, seed: UInt64,
    standardizes: Bool, isQuiet: Bool
  ) {
    self.model = model
    self.training = training
    self.validation = validation
    self.epochs = epochs
    self.batchSize = batchSize
    self.seed = seed
    self.standardizes = standardizes
    self.isQuiet = isQuiet
  }

  /// Everything that can be refused.
  mutating func prepare() throws {
    if standardizes {
      let standardization = Standardization(training)
      self.standardization = standardization
      for column in standardization.unresolved {
        let name = training.featureNames.map { " \(quoted($0[column]))" } ?? ""
        Output.writeError(
          "warning: feature \(column + 1)\(name) varies by less than a millionth of its mean and counts as constant: subtract something from it first\n"
        )
      }
    }
    rows = try Rows(
      standardization?.applied(to: training) ?? training, model.configuration)
    _ = try ModelTargets(training, model)
    if let validation {
      let table = standardization?.applied(to: validation) ?? validation
      validationRows = (try Rows(table, model.configuration), try ModelTargets(table, model))
    }
  }

  mutating func train() throws {
    guard let rows else { return }
    catchInterrupts()
    var progress = Progress()
    defer { progress.clear() }
    for epoch in 1...epochs {
      var shuffle = Shuffle(seed: seed, stream: UInt64(epoch) + 1)
      let order = shuffle.order(Array(0..<rows.table.rows))
      var loss = 0.0
      var hits: Double?
      let count = (order.count + batchSize - 1) / batchSize
      for (index, first) in stride(from: 0, to: order.count, by: batchSize).enumerated() {
        guard wasInterrupted == 0 else {
          isInterrupted = true
          return
        }
        let chosen = Array(order[first..<min(first + batchSize, order.count)])
        let part = rows.table.selecting(chosen)
        let losses = try Rows(part, model.configuration).with(try ModelTargets(part, model)) {
          try model.trainBatch($0, $1)
        }
        steps += 1
        loss += losses.task * Double(chosen.count)
        if let accuracy = losses.accuracy { hits = (hits ?? 0) + accuracy * Double(chosen.count) }
        progress.show(
          "epoch \(epoch)/\(epochs)  step \(index + 1)/\(count)  loss \(fixed(losses.total, 4))")
      }
      progress.clear()
      try note(epoch, loss: loss / Double(order.count), hits.map { $0 / Double(order.count) })
    }
    isInterrupted = wasInterrupted != 0 && history.count < epochs
  }

  private func catchInterrupts() {
    wasInterrupted = 0
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in wasInterrupted = 1 }
    action.sa_flags = Int32(bitPattern: UInt32(SA_RESETHAND))
    sigaction(SIGINT, &action, nil)
    sigaction(SIGTERM, &action, nil)
  }

  private mutating func note(_ epoch: Int, loss: Double, _ accuracy: Double?) throws {
    var members: [(String, JSONValue)] = [("epoch", .integer(epoch)), ("loss", .real(loss))]
    var line = "epoch \(epoch)/\(epochs)  loss \(fixed(loss, 4))"
    if let accuracy {
      members.append(("accuracy", .real(accuracy)))
      line += "  accuracy \(percent(accuracy))"
    }
    if let (rows, targets) = validationRows {
      let evaluation = try rows.with(targets) { try model.evaluate($0, $1) }
      members.append(("validation", evaluation.value))
      line += "  validation: \(evaluation.words)"
    }
    history.append(.of(members))
    if !isQuiet { Output.line(line) }
  }

  /// Folds, evaluates the model as it is saved, and saves it; nothing without a step.
  mutating func finish(_ path: String) throws {
    guard steps > 0 else { return }
    try standardization?.fold(into: model)
    model.resetRoutingStatistics()
    let table = validation ?? training
    let evaluation = try Rows(table, model.configuration).with(try ModelTargets(table, model)) {
      try model.evaluate($0, $1)
    }
    final = (validation == nil ? "training" : "validation", evaluation)
    try model.save(to: path)
    if !isQuiet {
      Output.line("saved model, on the \(final?.name ?? "") rows: \(evaluation.words)")
    }
  }

  /// For programs.
  var results: [(String, JSONValue)] {
    var members: [(String, JSONValue)] = [
      ("rows", .integer(training.rows)), ("features", .integer(training.columns)),
      ("outputs", .integer(model.outputs)), ("parameters", .integer(model.parameterCount)),
      ("steps", .integer(steps)), ("epochs", .array(history)),
    ]
    if let final { members.append((final.name, final.evaluation.value)) }
    if let classes = model.names.classes {
      members.append(("class_names", .array(classes.map(JSONValue.string))))
    }
    return members
  }
}
