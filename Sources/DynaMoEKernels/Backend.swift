import CDynaMoEPlatform
import Glibc

/// Why no backend could be chosen; the description names the culprit and what is allowed.
public struct BackendError: Error, Equatable, CustomStringConvertible {
  public let description: String

  init(_ description: String) {
    self.description = description
  }
}

/// A set of kernels, chosen at start, and the pool that they run on.
///
/// | name | kernels |
/// |---|---|
/// | `v4` | x86-64-v4 (AVX-512) |
/// | `v3` | x86-64-v3 (AVX2, FMA); same bits as `v4` |
/// | `baseline` | any x86-64, and any other processor |
/// | `reference` | plain loops, for tests |
/// | `openblas` | products by OpenBLAS, the rest by the best of the above; not the same bits in any batch |
///
/// The best level of an x86-64 processor is the default. Other processors have no tuned kernels: there the default is `openblas`,
/// or `baseline` where OpenBLAS is not installed.
public final class Backend: Sendable {
  public let name: String
  /// The shared pool.
  public let pool: WorkerPool
  let table: KernelTable

  /// Names that `select` knows, best first.
  public static let names = ["v4", "v3", "baseline", "reference", "openblas"]

  private init(_ table: KernelTable) throws(BackendError) {
    do {
      try ScratchLease.prepare()
    } catch {
      throw BackendError("kernel scratch: \(error)")
    }
    name = table.name
    pool = WorkerPool.shared
    self.table = table
  }

  /// Chooses a backend.
  ///
  /// - Parameter name: one of `names`; nil: `DYNAMOE_KERNELS` from the environment, and if that is
  ///   unset or empty the best
  ///   for this processor.
  public static func select(_ name: String?) throws(BackendError) -> Backend {
    try checkThreads()
    if let name { return try Backend(table(name, source: "kernels")) }
    if let text = getenv("DYNAMOE_KERNELS"), text.pointee != 0 {
      return try Backend(table(String(cString: text), source: "DYNAMOE_KERNELS"))
    }
    #if arch(x86_64)
      return try Backend(preferred(isTuned: true))
    #else
      return try Backend(preferred(isTuned: false))
    #endif
  }

  /// The default of a processor for which there are tuned kernels or none.
  static func preferred(isTuned: Bool) -> KernelTable {
    let best = Levels.available[0]
    if isTuned { return best }
    return (try? OpenBLAS.table(others: best)) ?? best
  }

  /// `select(nil)`, done once.
  public static var shared: Backend {
    get throws(BackendError) { try selected.get() }
  }

  private static let selected: Result<Backend, BackendError> = {
    do throws(BackendError) { return .success(try select(nil)) } catch { return .failure(error) }
  }()

  /// Features of this processor that matter to the kernels, in the order of their age.
  public static var cpuFeatures: [String] {
    let known: [(String, Bool)] = [
      ("sse2", dynamoe_cpu_has_sse2()), ("sse4.2", dynamoe_cpu_has_sse42()),
      ("avx", dynamoe_cpu_has_avx()), ("f16c", dynamoe_cpu_has_f16c()),
      ("fma", dynamoe_cpu_has_fma()), ("bmi1", dynamoe_cpu_has_bmi1()),
      ("bmi2", dynamoe_cpu_has_bmi2()), ("avx2", dynamoe_cpu_has_avx2()),
      ("avx512f", dynamoe_cpu_has_avx512f()), ("avx512bw", dynamoe_cpu_has_avx512bw()),
      ("avx512cd", dynamoe_cpu_has_avx512cd()), ("avx512dq", dynamoe_cpu_has_avx512dq()),
      ("avx512vl", dynamoe_cpu_has_avx512vl()), ("avx512vnni", dynamoe_cpu_has_avx512vnni()),
      ("avx512bf16", dynamoe_cpu_has_avx512bf16()),
    ]
    return known.filter { $0.1 }.map { $0.0 }
  }

  private static func table(_ name: String, source: String) throws(BackendError) -> KernelTable {
    if let level = Levels.available.first(where: { $0.name == name }) { return level }
    switch name {
    case "reference": return Reference.table
    case "openblas": return try OpenBLAS.table(others: Levels.available[0])
    case "v4", "v3":
      let needed = name == "v4" ? "AVX-512 (x86-64-v4)" : "AVX2 and FMA (x86-64-v3)"
      throw BackendError(
        "\(source) is \"\(name)\", but this processor lacks \(needed): allowed are \(allowedHere)")
    default:
      throw BackendError("\(source) is \"\(name)\": allowed are \(allowedHere)")
    }
  }

  private static var allowedHere: String {
    (Levels.available.map(\.name) + ["reference", "openblas"]).joined(separator: ", ")
  }

  private static func checkThreads() throws(BackendError) {
    guard let text = getenv("DYNAMOE_THREADS"), text.pointee != 0 else { return }
    let value = String(cString: text)
    guard let count = Int(value), (1...WorkerPool.maximumThreadCount).contains(count) else {
      throw BackendError(
        "DYNAMOE_THREADS is \"\(value)\": allowed are 1 to \(WorkerPool.maximumThreadCount)")
    }
  }
}
