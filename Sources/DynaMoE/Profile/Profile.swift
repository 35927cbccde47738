import CDynaMoEPlatform

#if canImport(Glibc)
  import Glibc
#else
  import Musl
#endif

/// Where the time of training steps and evaluations goes, summed over the process.
///
/// With `DYNAMOE_PROFILE=1` in the environment a table is written to standard error when the process
/// ends: for each phase the calls, wall time of the calling thread, which waits for all others, its
/// share, and the useful GFLOP/s of products. Off, a phase costs the look at one flag.
enum Profile {
  /// Parts of a step, in the order of the table.
  enum Phase: Int, CaseIterable {
    case inputForward, norm, router, selection, dispatch, expertsForward, combine, head, loss
    case spread, expertsInputGradient, routerGradient, gather, residual
    case expertsWeightGradient, inputGradient, optimizer, check, statistics
    /// Whole calls: what the others are shares of.
    case call

    var title: String {
      switch self {
      case .inputForward: "input: projection or embedding"
      case .norm: "norms, forward and backward"
      case .router: "router: logits and scores"
      case .selection: "router: thresholds, selection, weights"
      case .dispatch: "counting sort of the pairs"
      case .expertsForward: "experts, forward"
      case .combine: "sum of the experts' outputs"
      case .head: "head, forward and backward"
      case .loss: "loss"
      case .spread: "gradients to the pairs"
      case .expertsInputGradient: "experts, gradients of inputs"
      case .routerGradient: "router, backward"
      case .gather: "gradients from the pairs"
      case .residual: "gradients of the residual"
      case .expertsWeightGradient: "experts, gradients of weights and step"
      case .inputGradient: "input, backward"
      case .optimizer: "step of the other parameters"
      case .check: "checks of gradients"
      case .statistics: "statistics, thresholds, controllers"
      case .call: "whole calls"
      }
    }
  }

  static let isOn: Bool = {
    guard let text = getenv("DYNAMOE_PROFILE"), String(cString: text) == "1" else { return false }
    atexit { Profile.writeTable() }
    return true
  }()

  /// Calls, nanoseconds and useful floating-point operations of each phase.
  private nonisolated(unsafe) static let sums: UnsafeMutablePointer<UInt64> = {
    let count = 3 * Phase.allCases.count
    let sums = UnsafeMutablePointer<UInt64>.allocate(capacity: count)
    sums.initialize(repeating: 0, count: count)
    return sums
  }()

  /// The time now, for `end`; 0 when nothing is measured.
  @inline(__always)
  static func begin() -> UInt64 { isOn ? clock() : 0 }

  /// Counts a phase that `begin` began; `flops` counts 2 per multiply-add.
  @inline(__always)
  static func end(_ phase: Phase, _ start: UInt64, flops: @autoclosure () -> Double = 0) {
    if isOn { count(phase, clock() &- start, flops()) }
  }

  private static func count(_ phase: Phase, _ nanoseconds: UInt64, _ flops: Double) {
    let sum = sums + 3 * phase.rawValue
    dynamoe_add64(sum, 1)
    dynamoe_add64(sum + 1, nanoseconds)
    dynamoe_add64(sum + 2, UInt64(max(0, min(flops, 1e18))))
  }

  private static func clock() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  // MARK: - Table

  private static func writeTable() {
    let total = Double(dynamoe_load64(sums + 3 * Phase.call.rawValue + 1))
    let calls = Double(dynamoe_load64(sums + 3 * Phase.call.rawValue))
    guard total > 0 else { return }
    var lines = "phase                                       calls    ms a call   share  GFLOP/s\n"
    var named = 0.0
    for phase in Phase.allCases {
      let sum = sums + 3 * phase.rawValue
      let count = dynamoe_load64(sum)
      let time = Double(dynamoe_load64(sum + 1))
      guard count > 0 else { continue }
      if phase == .call {
        lines += row("everything else", 0, total - named, total, calls, 0)
      } else {
        named += time
      }
      lines += row(phase.title, count, time, total, calls, Double(dynamoe_load64(sum + 2)))
    }
    var text = lines
    text.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }

  private static func row(
    _ title: String, _ count: UInt64, _ time: Double, _ total: Double, _ calls: Double,
    _ flops: Double
  ) -> String {
    padded(title, 39, left: true) + padded(count > 0 ? "\(count)" : "", 10)
      + padded(fixed(time / calls / 1e6, 4), 13) + padded(fixed(100 * time / total, 1) + " %", 8)
      + padded(flops > 0 && time > 0 ? fixed(flops / time, 1) : "", 9) + "\n"
  }

  private static func padded(_ text: String, _ width: Int, left: Bool = false) -> String {
    let space = String(repeating: " ", count: max(0, width - text.utf8.count))
    return left ? text + space : space + text
  }

  /// `value` with `digits` decimals.
  private static func fixed(_ value: Double, _ digits: Int) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let units = Int((value.magnitude * scale).rounded())
    let whole = "\(units / Int(scale))"
    let rest = "\(units % Int(scale))"
    let zeros = String(repeating: "0", count: max(0, digits - rest.count))
    return (value < 0 && units > 0 ? "-" : "") + whole + "." + zeros + rest
  }
}
