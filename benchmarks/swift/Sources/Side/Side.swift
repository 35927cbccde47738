import DynaMoE
import Glibc

/// This library from Swift, one side of the benchmark: `Side FOLDER MODE` serves the line protocol
/// of `sides/protocol.py`.
@main
struct Side {
  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count == 3, let mode = Mode(rawValue: arguments[2]) else {
      let modes = Mode.allCases.map(\.rawValue).joined(separator: "|")
      end("usage: Side FOLDER \(modes)")
    }
    do {
      try serve(Case(folder: arguments[1]), mode)
    } catch let failure as Failure {
      end(failure.message)
    } catch {
      end("\(error)")
    }
  }

  private static func end(_ message: String) -> Never {
    let text = "Side: \(message)\n"
    write(2, text, text.utf8.count)
    exit(1)
  }

  private static func serve(_ data: Case, _ mode: Mode) throws {
    let path = "\(data.folder)/model.safetensors"
    let outputs = UnsafeMutableBufferPointer<Float>.allocate(capacity: data.rows * data.outputs)
    let gradientCount = mode == .trainWithInputGradient ? data.rows * data.inputs : 0
    let timed: any Timed =
      data.isLayer
      ? TimedLayer(
        layer: try MoELayer(contentsOf: path), data: data, mode: mode, outputs: outputs,
        inputGradient: .allocate(capacity: gradientCount))
      : TimedModel(model: try Model(contentsOf: path), data: data, mode: mode, outputs: outputs)
    answer("ready")
    while let line = readLine() {
      let words = line.split(separator: " ")
      if words.first == "run", words.count == 2, let steps = Int(words[1]) {
        answer(try run(timed, steps: steps))
      } else if words.first == "output" {
        try timed.evaluate(rows: data.outputRows)
        let values = UnsafeBufferPointer(rebasing: outputs[..<(data.outputRows * data.outputs)])
        answer(try data.writeOutput(values, masks: masks(timed.network, data)))
      } else {
        return
      }
    }
  }

  private static func answer(_ line: String) {
    print(line)
    fflush(nil)
  }

  /// The seconds of each step.
  private static func run(_ timed: any Timed, steps: Int) throws -> String {
    let clock = ContinuousClock()
    var seconds: [Double] = []
    seconds.reserveCapacity(steps)
    for _ in 0..<steps {
      let started = clock.now
      try timed.step()
      seconds.append((clock.now - started) / .seconds(1))
    }
    return seconds.map { "\($0)" }.joined(separator: " ")
  }

  /// The routing of the latest forward: of each row the masks of all layers, one after another.
  private static func masks(_ network: RoutedNetwork, _ data: Case) throws -> [UInt8] {
    let layers = try data.experts.indices.map { try network.lastRouting(layer: $0).active }
    var masks: [UInt8] = []
    for row in 0..<data.outputRows {
      for (active, count) in zip(layers, data.experts) {
        masks += active[(row * count)..<((row + 1) * count)].map { $0 ? 1 : 0 }
      }
    }
    return masks
  }
}
