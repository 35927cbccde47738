import ArgumentParser

@_spi(Command) import DynaMoE

/// Reads rows as a model takes them.
func modelRows(
  _ model: Model, _ options: DataOptions, targetsAreOptional: Bool = false
) throws -> Rows {
  let configuration = model.configuration
  let request = TableRequest(
    targets: configuration.task == .regression ? .values : .labels,
    targetsAreOptional: targetsAreOptional, featureNames: model.names.features,
    targetNames: model.names.targets,
    inputs: configuration.inputs ?? 1)
  return try Rows(options.read(request), configuration)
}

struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Loss and accuracy of a saved model on the rows of a file.",
    discussion: """
      Columns of a CSV file with a header are found by the names that the model was trained with.

      dynamoe evaluate model.safetensors --data test.csv
      """)

  @Argument(help: "A model that train, or another surface, saved.")
  var model: String
  @OptionGroup var options: DataOptions
  @Flag(help: "One JSON object in place of text.")
  var json = false

  func run() throws {
    let model = try Model(contentsOf: model)
    let rows = try modelRows(model, options)
    let evaluation = try rows.with(try ModelTargets(rows.table, model)) {
      try model.evaluate($0, $1)
    }
    guard !json else {
      Output.line(evaluation.value.text)
      return
    }
    Output.line("\(grouped(rows.table.rows)) rows: \(evaluation.words)")
  }
}

struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Write how a saved model routes the rows of a file as one HTML file.",
    discussion: """
      dynamoe report model.safetensors --data test.csv --output report.html
      """)

  @Argument(help: "A model that train, or another surface, saved.")
  var model: String
  @OptionGroup var options: DataOptions
  @Option(help: ArgumentHelp("The file to write.", valueName: "path"))
  var output = "report.html"
  @Option(help: "The heading; default: Routing report.")
  var title: String?
  @Flag(help: "One JSON object in place of text.")
  var json = false

  func run() throws {
    let model = try Model(contentsOf: model)
    let rows = try modelRows(model, options)
    let evaluation = try rows.with(try ModelTargets(rows.table, model)) {
      try model.writeReport($0, $1, options: ReportOptions(title: title), to: output)
    }
    guard !json else {
      Output.json([("output", .string(output)), ("evaluation", evaluation.value)])
      return
    }
    Output.line("\(grouped(rows.table.rows)) rows: \(evaluation.words)")
    Output.line("wrote \(printable(output))")
  }
}
