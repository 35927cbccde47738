import ArgumentParser
import Glibc

@_spi(Command) import DynaMoE

struct PredictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict", abstract: "What a saved model says of the rows of a file, as CSV.",
    discussion: """
      The target may be missing in the data. One line a row, in the order of the rows; the columns \
      of a regression with several targets have their names.

      dynamoe predict model.safetensors --data new.csv --probabilities --output answers.csv
      """)

  @Argument(help: "A model that train, or another surface, saved.")
  var model: String
  @OptionGroup var options: DataOptions
  @Flag(help: "Also the probability of every class.")
  var probabilities = false
  @Option(help: ArgumentHelp("The file to write; default: standard output.", valueName: "path"))
  var output: String?
  @Flag(help: "One JSON object in place of CSV.")
  var json = false

  func run() throws {
    let model = try Model(contentsOf: model)
    let isRegression = model.configuration.task == .regression
    guard !probabilities || !isRegression else {
      throw CommandFailure(
        "--probabilities is given for a regression, allowed: models with classes")
    }
    let rows = try modelRows(model, options, targetsAreOptional: true)
    let logits = try rows.logits(model)
    let text = isRegression ? values(model, logits) : classes(model, logits)
    guard let output else {
      Output.write(text)
      return
    }
    try writeFile(Array(text.utf8), to: output)
  }

  private func values(_ model: Model, _ outputs: [Float]) -> String {
    let columns = model.outputs
    let starts = stride(from: 0, to: outputs.count, by: columns)
    guard !json else {
      let rows = starts.map { start in
        JSONValue.array(outputs[start..<start + columns].map { .real(Double($0)) })
      }
      var members: [(String, JSONValue)] = [("predictions", .array(rows))]
      if let targets = model.names.targets {
        members.append(("targets", .array(targets.map(JSONValue.string))))
      }
      return JSONValue.of(members).text + "\n"
    }
    var names = columns == 1 ? ["prediction"] : (0..<columns).map { "prediction_\($0)" }
    if columns > 1, let targets = model.names.targets, targets.count == columns { names = targets }
    var text = names.map(csvField).joined(separator: ",") + "\n"
    for start in starts {
      text += outputs[start..<start + columns].map { "\($0)" }.joined(separator: ",") + "\n"
    }
    return text
  }

  private func classes(_ model: Model, _ logits: [Float]) -> String {
    let count = model.outputs
    let names = model.names.classes ?? (0..<count).map { String($0) }
    var text =
      (["prediction"] + (probabilities ? names.map { "p_" + $0 } : [])).map(csvField)
      .joined(separator: ",") + "\n"
    var predictions: [JSONValue] = []
    var shares: [JSONValue] = []
    for start in stride(from: 0, to: logits.count, by: count) {
      let row = logits[start..<start + count]
      var best = start
      for index in row.indices where row[index] > row[best] { best = index }
      let name = names[best - start]
      let p = probabilities ? Self.softmax(row, largest: row[best]) : []
      if json {
        predictions.append(.string(name))
        shares.append(.reals(p))
      } else {
        text += ([csvField(name)] + p.map { "\(Float($0))" }).joined(separator: ",") + "\n"
      }
    }
    guard json else { return text }
    var members: [(String, JSONValue)] = [("predictions", .array(predictions))]
    if probabilities {
      members.append(("classes", .array(names.map(JSONValue.string))))
      members.append(("probabilities", .array(shares)))
    }
    return JSONValue.of(members).text + "\n"
  }

  private static func softmax(_ logits: ArraySlice<Float>, largest: Float) -> [Double] {
    let powers = logits.map { exp(Double($0 - largest)) }
    let sum = powers.reduce(0, +)
    return powers.map { $0 / sum }
  }
}
