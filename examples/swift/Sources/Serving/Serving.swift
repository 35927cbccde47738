import DynaMoE
import Foundation

/// Answers rows from several tasks at once: a session for each, all on the weights of one model.
///
///     Serving                       a network for digits that was not trained
///     Serving model.safetensors     the classifier of a file
@main
struct Serving {
  static let requests = 256
  static let rowsOfRequest = 32

  static func main() async throws {
    let model =
      if let path = CommandLine.arguments.dropFirst().first {
        try Model(contentsOf: path)
      } else {
        try Model(.preset(.paperMNIST), seed: 0)
      }
    guard let inputs = model.configuration.inputs, model.configuration.task == .classification
    else { throw Failure.notAClassifierOfFeatures }
    let batches = (0..<requests).map { _ in
      (0..<rowsOfRequest * inputs).map { _ in Float.random(in: 0...1) }
    }

    let expected = try batches.map { try model.classes(of: $0) }
    for count in Set([1, ProcessInfo.processInfo.activeProcessorCount]).sorted() {
      let sessions = try (0..<count).map { _ in try model.session() }
      let clock = ContinuousClock()
      var answers: [[Int]] = []
      let duration = try await clock.measure {
        answers = try await classes(of: batches, sessions)
      }
      let rate = Double(requests * rowsOfRequest) / (duration / .seconds(1))
      let shown = rate.formatted(.number.precision(.significantDigits(3)))
      print("\(count) \(count == 1 ? "session" : "sessions"): \(shown) rows/s")
      guard answers == expected else { throw Failure.answersDiffer }
    }
    print("the same classes as the model's own")
  }

  enum Failure: Error {
    case notAClassifierOfFeatures
    case answersDiffer
  }

  /// The classes of each batch; of n sessions the first answers every n-th batch from the first on.
  static func classes(of batches: [[Float]], _ sessions: [Session]) async throws -> [[Int]] {
    try await withThrowingTaskGroup(of: [(Int, [Int])].self) { group in
      for (first, session) in sessions.enumerated() {
        group.addTask {
          try stride(from: first, to: batches.count, by: sessions.count).map {
            ($0, try session.classes(of: batches[$0]))
          }
        }
      }
      var answers = [[Int]](repeating: [], count: batches.count)
      for try await part in group {
        for (index, classes) in part { answers[index] = classes }
      }
      return answers
    }
  }
}
