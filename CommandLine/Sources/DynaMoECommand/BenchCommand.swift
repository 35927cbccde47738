import ArgumentParser
import Glibc

@_spi(Command) import DynaMoE

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Time the forward pass and the training step of a network.",
    discussion: """
      SOURCE is a configuration in JSON or a saved model, which stays as it is. The rows are random. \
      GFLOP/s: 2 per multiply-add at the mean K measured; a training step counts three forwards.

      dynamoe bench config.json --rows 256 --threads 2
      """)

  @Argument(help: "A configuration (JSON) or a saved model, whatever their names.")
  var source: String
  @Option(parsing: .unconditional, help: "Rows of a batch.")
  var rows = 256
  @Option(
    parsing: .unconditional,
    help: "Threads, 1 to 256; default: DYNAMOE_THREADS, else the processors of the process.")
  var threads: Int?
  @Option(parsing: .unconditional, help: "How long each of the two is timed.")
  var seconds = 2.0
  @Option(
    parsing: .unconditional, help: "Of the weights and the rows; default: 0.", transform: seedValue)
  var seed: UInt64 = 0
  @Flag(help: "One JSON object in place of text.")
  var json = false

  func validate() throws {
    guard rows >= 1 else { throw ValidationError("--rows is \(rows), allowed: at least 1.") }
    if let threads, !(1...256 ~= threads) {
      throw ValidationError("--threads is \(threads), allowed: 1 to 256.")
    }
    guard seconds > 0, seconds <= 3600 else {
      throw ValidationError("--seconds is \(seconds), allowed: above 0, up to 3600.")
    }
  }

  func run() throws {
    if let threads { Runtime.threadCount = threads }
    let model = try model()
    let (batch, targets) = try batch(model)
    var logits = [Float](repeating: 0, count: rows * model.outputs)
    let forward = try batch.with(targets) { input, _ in
      try logits.withUnsafeMutableBufferPointer { logits in
        try Timing(seconds: seconds) { try model.forward(input, training: false, into: logits) }
      }
    }
    let forwardFlops = model.flopsPerRow * Double(rows)
    model.resetRoutingStatistics()
    let training = try batch.with(targets) { input, targets in
      try Timing(seconds: seconds) { _ = try model.trainBatch(input, targets) }
    }
    try write([
      ("forward", forward, forwardFlops),
      ("training step", training, 3 * model.flopsPerRow * Double(rows)),
    ])
  }

  /// The saved model, or a new one of the configuration, whatever the file is called.
  private func model() throws -> Model {
    let bytes = try readFile(source)
    // The length of a header, in 64 bits, ends in zeros, which JSON has nowhere.
    if bytes.prefix(8).contains(0) { return try Model(contentsOf: source) }
    let text = String(decoding: bytes, as: UTF8.self)
    return try named(source) {
      // What else is wrong with the configuration is said first.
      let draft = try ModelConfiguration(json: text, dataInputs: 1, dataOutputs: 1)
      if case .object(let object) = try JSONValue.configuration(text) {
        var missing: [String] = []
        if object["inputs"] == nil, object["vocabulary"] == nil { missing.append("inputs") }
        if object["outputs"] == nil, draft.task != .languageModel { missing.append("outputs") }
        guard missing.isEmpty else {
          throw CommandFailure(
            "\(source): \(missing.joined(separator: " and ")) \(missing.count == 1 ? "is" : "are") missing: train takes them from the data, bench has none; allowed: integers of at least 1"
          )
        }
      }
      return try Model(ModelConfiguration(json: text), seed: seed)
    }
  }

  private func batch(_ model: Model) throws -> (Rows, ModelTargets) {
    var random = Shuffle(seed: seed, stream: 0)
    let configuration = model.configuration
    var table = Table(path: "random rows")
    table.rows = rows
    table.columns = configuration.inputs ?? 1
    let (count, overflow) = rows.multipliedReportingOverflow(by: max(table.columns, model.outputs))
    guard !overflow, count < 1 << 33 else {
      throw CommandFailure("--rows is \(rows): more numbers than are sensible to draw")
    }
    let range = configuration.vocabulary
    table.x = (0..<rows * table.columns).map { _ in
      if let range { return Float(Int.random(in: 0..<range, using: &random)) }
      return Float.random(in: -1.7...1.7, using: &random)
    }
    if configuration.task == .regression {
      let values = (0..<rows * model.outputs).map { _ in Float.random(in: -1...1, using: &random) }
      return (try Rows(table, configuration), .values(values))
    }
    let classes = (0..<rows).map { _ in
      Int32(truncatingIfNeeded: Int.random(in: 0..<model.outputs, using: &random))
    }
    return (try Rows(table, configuration), .classes(classes))
  }

  private func write(_ results: [(name: String, timing: Timing, flops: Double)]) throws {
    let kernels = try Runtime.kernels
    guard !json else {
      var members: [(String, JSONValue)] = [
        ("rows", .integer(rows)), ("threads", .integer(Runtime.threadCount)),
        ("kernels", .string(kernels)),
      ]
      for (name, timing, flops) in results {
        members.append(
          (
            name == "forward" ? "forward" : "training_step",
            .of([
              ("median_seconds", .real(timing.median)), ("fastest_seconds", .real(timing.fastest)),
              ("repetitions", .integer(timing.count)),
              ("gflops_per_second", .real(flops / timing.median * 1e-9)),
              ("rows_per_second", .real(Double(rows) / timing.median)),
            ])
          ))
      }
      Output.json(members)
      return
    }
    Output.line(
      "\(grouped(rows)) rows, \(Runtime.threadCount) threads, kernels \(kernels)\n")
    var table = [["", "median / ms", "fastest / ms", "rows / s", "GFLOP/s", "repetitions"]]
    for (name, timing, flops) in results {
      table.append([
        name, fixed(timing.median * 1e3, 3), fixed(timing.fastest * 1e3, 3),
        grouped(Int(Double(rows) / timing.median)), fixed(flops / timing.median * 1e-9, 1),
        grouped(timing.count),
      ])
    }
    Output.write(aligned(table))
  }
}

/// Repeated runs of one thing.
struct Timing {
  let median: Double
  let fastest: Double
  let count: Int

  /// At least five runs and `seconds` of them, after some that are not counted.
  init(seconds limit: Double, _ body: () throws -> Void) throws {
    for _ in 0..<3 { try body() }
    var times: [Double] = []
    let start = DynaMoECommand.seconds()
    var before = start
    while times.count < 5 || before - start < limit {
      try body()
      let now = DynaMoECommand.seconds()
      times.append(now - before)
      before = now
    }
    times.sort()
    median = times[times.count / 2]
    fastest = times[0]
    count = times.count
  }
}
