import ArgumentParser
import Glibc

@_spi(Command) import DynaMoE

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train a model on the rows of a file and save it.",
    discussion: """
      CONFIG is a JSON file as docs/configuration.md describes; inputs and outputs are taken from \
      the data where it does not name them. Classes may have any names; they are saved with the \
      model. Ctrl-C ends training after the current step and saves the model as it is then.

      dynamoe train config.json --data train.csv --validation-share 0.2 --standardize
      dynamoe train config.json --data train-images-idx3-ubyte --epochs 5 --output digits.safetensors
      """)

  @Argument(help: "The configuration, a JSON file.")
  var config: String
  @OptionGroup var options: DataOptions
  @Option(help: ArgumentHelp("Rows to evaluate after each epoch.", valueName: "path"))
  var validation: String?
  @Option(
    help: ArgumentHelp(
      "IDX: the file of the labels of the rows of --validation; default: beside it, as of --data.",
      valueName: "path"))
  var validationLabels: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The share of the rows of each class that is set aside to evaluate after each epoch.",
      valueName: "share"))
  var validationShare: Double?
  @Option(parsing: .unconditional, help: "Times that all rows are passed.")
  var epochs = 10
  @Option(parsing: .unconditional, help: "Rows of a step.")
  var batchSize = 64
  @Option(
    parsing: .unconditional, help: "Of the weights and of the order of the rows; default: 0.",
    transform: seedValue)
  var seed: UInt64 = 0
  @Flag(
    help:
      "Train on features, and targets of a regression, with mean 0 and standard deviation 1; the saved model takes and gives the data as it is."
  )
  var standardize = false
  @Option(help: ArgumentHelp("The file to write.", valueName: "path"))
  var output = "model.safetensors"
  @Flag(help: "One JSON object at the end in place of text.")
  var json = false

  func validate() throws {
    guard epochs >= 1 else { throw ValidationError("--epochs is \(epochs), allowed: at least 1.") }
    guard batchSize >= 1 else {
      throw ValidationError("--batch-size is \(batchSize), allowed: at least 1.")
    }
    guard validationLabels == nil || validation != nil else {
      throw ValidationError("--validation-labels is given without --validation.")
    }
    if let validationShare {
      guard validation == nil else {
        throw ValidationError("--validation and --validation-share exclude each other.")
      }
      guard validationShare > 0, validationShare < 1 else {
        throw ValidationError(
          "--validation-share is \(validationShare), allowed: above 0 and below 1.")
      }
    }
  }

  func run() throws {
    try checkOutput()
    let text = String(decoding: try readFile(config), as: UTF8.self)
    // What is wrong with the configuration is said before any data is read.
    let draft = try named(config) {
      try ModelConfiguration(json: text, dataInputs: 1, dataOutputs: 1)
    }
    if standardize {
      guard draft.bias, draft.vocabulary == nil else {
        throw CommandFailure(
          "--standardize needs a model with bias whose rows are features, for its maps to take it over"
        )
      }
    }
    let request = TableRequest(targets: draft.task == .regression ? .values : .labels)
    var training = try options.read(request)
    var validationTable: Table?
    if let validationShare {
      let (first, second) = training.split(share: validationShare, seed: seed)
      guard first.rows > 0, second.rows > 0 else {
        throw CommandFailure(
          "--validation-share \(validationShare) of \(training.rows) rows leaves no rows on one side"
        )
      }
      (training, validationTable) = (first, second)
    } else if let validation {
      var request = request
      request.targetNames = training.targetNames
      request.featureNames = training.featureNames
      validationTable = try options.readValidation(
        request, path: validation, labels: validationLabels)
    }
    let (configuration, names) = try configuration(text, draft, training)
    let model = try Model(configuration, seed: seed)
    try model.setNames(
      DataNames(
        classes: names,
        features: configuration.inputs == nil ? nil : training.featureNames,
        targets: training.targetNames))
    var run = TrainingRun(
      model: model, training: training, validation: validationTable, epochs: epochs,
      batchSize: batchSize, seed: seed, standardizes: standardize, isQuiet: json)
    try run.prepare()
    announce(model, training, validationTable)
    try run.train()
    try run.finish(output)
    try tell(run)
  }

  // MARK: - Parts

  /// Refuses at once what would be found after the last epoch.
  private func checkOutput() throws {
    let slash = output.lastIndex(of: "/")
    let folder = slash.map { $0 == output.startIndex ? "/" : String(output[..<$0]) } ?? "."
    guard !output.isEmpty, access(folder, W_OK | X_OK) == 0 else {
      throw CommandFailure(
        "cannot write \(quoted(output)): \(output.isEmpty ? "the name is empty" : String(cString: strerror(errno)))"
      )
    }
    var status = stat()
    guard stat(output, &status) != 0 || status.st_mode & S_IFMT != S_IFDIR else {
      throw CommandFailure("cannot write \(quoted(output)): it is a folder, allowed: a file")
    }
  }

  /// The configuration with what the data says, and the names of the classes.
  private func configuration(
    _ text: String, _ draft: ModelConfiguration, _ table: Table
  ) throws -> (ModelConfiguration, [String]?) {
    var names: [String]?
    var outputs: Int?
    switch table.targets {
    case .labels(let labels):
      let written = try declaredOutputs(text)
      if draft.task == .languageModel
        || written.map({ Classes.numbered(labels, outputs: $0) }) == true
      {
        break
      }
      let found = Classes.names(of: labels)
      if let written, found.count != written {
        throw CommandFailure(
          "\(table.path): \(found.count) classes, allowed: outputs = \(written) in \(config)")
      }
      guard found.count >= 2 else {
        throw CommandFailure(
          "\(table.path): every row has the class \(quoted(found.first ?? "")), allowed: at least two classes"
        )
      }
      names = found
      outputs = found.count
    case .values(_, let columns): outputs = columns
    case .none: break
    }
    let configuration = try named(config) {
      try ModelConfiguration(json: text, dataInputs: table.columns, dataOutputs: outputs)
    }
    return (configuration, names)
  }

  private func declaredOutputs(_ text: String) throws -> Int? {
    guard case .object(let object) = try JSONValue.configuration(text),
      case .number(let number)? = object["outputs"]
    else { return nil }
    return number.integer
  }

  private func announce(_ model: Model, _ training: Table, _ validation: Table?) {
    guard !json else { return }
    let more = validation.map { ", \(grouped($0.rows)) for validation" } ?? ""
    Output.line(
      "\(grouped(training.rows)) rows of \(training.columns) features\(more); "
        + "\(model.outputs) \(model.configuration.task == .regression ? "to predict" : "classes"); "
        + "\(grouped(model.parameterCount)) parameters")
  }

  private func tell(_ run: TrainingRun) throws {
    let words =
      "interrupted after step \(run.steps): \(run.steps == 0 ? "nothing was saved" : "saved \(output)")"
    if json {
      Output.json(
        run.results + [
          ("output", run.steps == 0 ? .null : .string(output)),
          ("interrupted", .boolean(run.isInterrupted)),
        ])
    } else if !run.isInterrupted {
      Output.line("saved \(printable(output))")
    }
    if run.isInterrupted { throw CommandFailure(words, status: 130) }
  }
}

/// Errors of the engine with the file that they come from.
func named<Result>(_ path: String, _ body: () throws -> Result) throws -> Result {
  do {
    return try body()
  } catch let error as DynaMoEError {
    throw CommandFailure("\(path): \(error)")
  }
}
