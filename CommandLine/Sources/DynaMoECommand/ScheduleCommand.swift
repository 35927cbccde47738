import ArgumentParser

@_spi(Command) import DynaMoE

struct ScheduleCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schedule", abstract: "Draw how many experts each layer has.",
    discussion: """
      NAME is one of uniform, descending, ascending, pyramid, valley, wave, inverse_wave.

      dynamoe schedule wave --layers 9 --minimum 2 --maximum 8
      dynamoe schedule descending --layers 4 --maximum 8 --total 16 --json
      """)

  @Argument(help: "The shape of the schedule.")
  var name: String
  @Option(parsing: .unconditional, help: "Layers, 1 to 65536.")
  var layers: Int
  @Option(parsing: .unconditional, help: "Experts of the smallest layer.")
  var minimum = 1
  @Option(parsing: .unconditional, help: "Experts of the largest layer.")
  var maximum: Int
  @Option(parsing: .unconditional, help: "The exact sum over layers; default: as the shape says.")
  var total: Int?
  @Option(parsing: .unconditional, help: "Cycles of the waves.")
  var cycles = 2.0
  @Flag(help: "One JSON object in place of a drawing.")
  var json = false

  func run() throws {
    guard let shape = Schedule.Shape(rawValue: name) else {
      let names = Schedule.Shape.allCases.map(\.rawValue).joined(separator: ", ")
      throw CommandFailure("the schedule is \(quoted(name)), allowed: \(names)", status: 2)
    }
    let schedule = Schedule(
      shape, minimum: minimum, maximum: maximum, cycles: cycles, total: total)
    let counts: [Int]
    do {
      counts = try schedule.counts(layers: layers)
    } catch {
      // All that it takes is on the command line.
      throw CommandFailure("\(error)", status: 2)
    }
    let sum = counts.reduce(0, +)
    guard !json else {
      Output.json([
        ("schedule", .string(name)), ("experts", .array(counts.map(JSONValue.integer))),
        ("total", .integer(sum)),
      ])
      return
    }
    Output.write(
      "\(name): \(layers) \(layers == 1 ? "layer" : "layers"), \(sum) experts\n\n"
        + Bars.drawing(
          counts, width: Terminal.width, blocks: Terminal.hasBlocks, colour: Terminal.hasColour))
  }
}

/// Horizontal bars, one per layer.
enum Bars {
  private static let eighths = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
  /// The most columns of one expert.
  private static let widestExpert = 4

  static func drawing(_ counts: [Int], width: Int, blocks: Bool, colour: Bool) -> String {
    let most = max(1, counts.max() ?? 1)
    let indexWidth = max(5, String(max(0, counts.count - 1)).count)
    let countWidth = String(most).count
    let room = max(1, width - indexWidth - countWidth - 4)
    let scale = min(Double(widestExpert), Double(room) / Double(most))
    var text = pad("layer", indexWidth) + "  experts\n"
    for (layer, count) in counts.enumerated() {
      let length = Double(count) * (scale >= 1 ? scale.rounded(.down) : scale)
      let bar = blocks ? self.bar(length) : String(repeating: "#", count: max(1, Int(length)))
      let painted = colour ? "\u{1B}[34m\(bar)\u{1B}[0m" : bar
      text += "\(pad(String(layer), indexWidth))  \(painted) \(count)\n"
    }
    return text
  }

  private static func bar(_ length: Double) -> String {
    let parts = max(1, Int((length * 8).rounded()))
    return String(repeating: "█", count: parts / 8) + eighths[parts % 8]
  }

  private static func pad(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }
}
