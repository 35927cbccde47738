import DynaMoEKernels

/// Facts of the library and its threads.
public enum Runtime {
  /// The version of the library, `major.minor.patch`.
  public static let version = "0.1.0"

  /// The kernels in use: `v4`, `v3`, `baseline`, `reference` or `openblas`.
  ///
  /// - Throws: ``DynaMoEError/backend(_:)`` when the environment asks for kernels that are not
  ///   there.
  public static var kernels: String {
    get throws(DynaMoEError) {
      do throws(BackendError) {
        return try Backend.shared.name
      } catch {
        throw .backend(error.description)
      }
    }
  }

  /// Threads that work on a call, 1 to 256; others count as the nearer end. Results do not depend
  /// on it.
  public static var threadCount: Int {
    get { WorkerPool.shared.threadCount }
    set { WorkerPool.shared.threadCount = newValue }
  }

  /// Features of this processor that matter to the kernels.
  public static var cpuFeatures: [String] { Backend.cpuFeatures }
}
