import ArgumentParser

@_spi(Command) import DynaMoE

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "What is in the file of a model or a layer.",
    discussion: """
      dynamoe inspect model.safetensors
      """)

  @Argument(help: "A file that train, or another surface, saved.")
  var file: String
  @Flag(help: "One JSON object in place of text.")
  var json = false

  func run() throws {
    let network = try network()
    let names = (network as? Model)?.names ?? DataNames()
    if json {
      writeJSON(network, names)
    } else {
      write(network, names)
    }
  }

  /// A model, or a layer where the file holds one; what is wrong with a file is said of a model.
  private func network() throws -> RoutedNetwork {
    let model = Result { try Model(contentsOf: file) }
    if case .success(let model) = model { return model }
    if let layer = try? MoELayer(contentsOf: file) { return layer }
    return try model.get()
  }

  private func shapes(_ tensors: [Tensor]) -> JSONValue {
    .of(tensors.map { ($0.name, .array($0.shape.map(JSONValue.integer))) })
  }

  private func writeJSON(_ network: RoutedNetwork, _ names: DataNames) {
    let buffers = network.buffers.map { tensor in
      (tensor.name, JSONValue.reals(tensor.values.map { Double($0) }))
    }
    func list(_ names: [String]?) -> JSONValue {
      names.map { .array($0.map(JSONValue.string)) } ?? .null
    }
    var targetName = JSONValue.null
    if let targets = names.targets, targets.count == 1 { targetName = .string(targets[0]) }
    Output.json([
      ("kind", .string(network is Model ? "model" : "layer")),
      (
        "experts", .array((0..<network.layerCount).map { .integer(network.expertCount(layer: $0)) })
      ),
      ("parameter_count", .integer(network.parameterCount)),
      ("active_parameter_count", .real(network.activeParameterCount)),
      ("flops_per_row", .real(network.flopsPerRow)),
      ("optimizer_steps", .integer(network.optimizerSteps)),
      ("training_forwards", .integer(network.trainingForwards)),
      ("class_names", list(names.classes)), ("feature_names", list(names.features)),
      ("target_name", targetName),
      ("target_names", list(names.targets)),
      ("config", (try? JSONValue.configuration(network.configurationJSON)) ?? .null),
      ("parameters", shapes(network.parameters)), ("buffers", .of(buffers)),
    ])
  }

  private func write(_ network: RoutedNetwork, _ names: DataNames) {
    let counts = (0..<network.layerCount).map { network.expertCount(layer: $0) }
    if let model = network as? Model {
      let configuration = model.configuration
      let rows =
        configuration.inputs.map { "\(grouped($0)) inputs" }
        ?? "vocabulary \(grouped(configuration.vocabulary ?? 0))"
      Output.line(
        "model, \(configuration.task.rawValue): \(rows), \(grouped(model.outputs)) outputs, width \(configuration.width)"
      )
    } else {
      Output.line("layer")
    }
    Output.line(
      "\(grouped(network.parameterCount)) parameters; a row uses \(grouped(Int(network.activeParameterCount.rounded()))) of them and \(grouped(Int(network.flopsPerRow.rounded()))) flops at the K aimed at"
    )
    Output.line(
      "\(grouped(network.optimizerSteps)) optimizer steps, \(grouped(network.trainingForwards)) training forwards"
    )
    if let classes = names.classes { Output.line("classes: " + words(classes)) }
    if let features = names.features { Output.line("features: " + words(features)) }
    if let targets = names.targets {
      Output.line("\(targets.count == 1 ? "target" : "targets"): " + words(targets))
    }
    Output.line()
    Output.write(
      Bars.drawing(
        counts, width: Terminal.width, blocks: Terminal.hasBlocks, colour: Terminal.hasColour))
    Output.line()
    var rows = [["parameter", "shape", "values"]]
    for tensor in network.parameters {
      rows.append([
        tensor.name, tensor.shape.map { String($0) }.joined(separator: " × "),
        grouped(tensor.count),
      ])
    }
    Output.write(aligned(rows))
    Output.line()
    rows = [["buffer", "shape", "contents"]]
    for tensor in network.buffers {
      let values = tensor.values.prefix(4).map { "\($0)" }.joined(separator: " ")
      rows.append([
        tensor.name, tensor.shape.map { String($0) }.joined(separator: " × "),
        tensor.count > 4 ? values + " …" : values,
      ])
    }
    if rows.count > 1 {
      Output.write(aligned(rows))
      Output.line()
    }
    Output.line("configuration: " + network.configurationJSON)
  }

  private func words(_ names: [String]) -> String {
    let shown = names.prefix(12).map(printable).joined(separator: ", ")
    return names.count > 12 ? "\(shown) and \(names.count - 12) more" : shown
  }
}
