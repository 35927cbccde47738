import ArgumentParser
import DynaMoE
import Glibc

@main
struct Dynamoe: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dynamoe",
    abstract: "Mixture-of-experts networks whose compute follows the input.",
    discussion: """
      dynamoe schedule descending --layers 4 --minimum 2 --maximum 8
      dynamoe train config.json --data train.csv --standardize --output model.safetensors
      dynamoe evaluate model.safetensors --data test.csv

      Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
      """,
    version: Runtime.version,
    subcommands: [
      ScheduleCommand.self, TrainCommand.self, EvaluateCommand.self, PredictCommand.self,
      InspectCommand.self, ReportCommand.self, BenchCommand.self,
    ])

  static func main() {
    // A reader that goes away ends the program without a word, also where the parent ignores it.
    signal(SIGPIPE, SIG_DFL)
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let error as DynaMoEError {
      end("error: \(error)\n", status: 1)
    } catch let error as CommandFailure {
      end("error: \(error.message)\n", status: error.status)
    } catch {
      let message = fullMessage(for: error)
      guard exitCode(for: error).isSuccess else { end(message + "\n", status: 2) }
      Output.write(message.hasSuffix("\n") ? message : message + "\n")
    }
    Glibc.exit(0)
  }

  private static func end(_ message: String, status: Int32) -> Never {
    Output.writeError(message)
    Glibc.exit(status)
  }
}

/// The value of `--seed`.
func seedValue(_ text: String) throws -> UInt64 {
  guard let seed = UInt64(text) else {
    throw ValidationError("allowed: integers from 0 to \(UInt64.max).")
  }
  return seed
}

/// Why a command could not do its work.
struct CommandFailure: Error {
  let message: String
  var status: Int32 = 1

  init(_ message: String, status: Int32 = 1) {
    self.message = message
    self.status = status
  }
}
