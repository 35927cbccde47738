import DynaMoEKernels

extension AvailableMemory {
  /// Refuses what the system cannot give.
  static func check(_ needed: Int, for what: String) throws(DynaMoEError) {
    guard let available = bytes(), needed > available else { return }
    throw .memory("\(what) would need \(needed) bytes of memory; \(available) are available")
  }
}

/// Runs what allocates: memory that is refused becomes an error that says for what.
func withMemory<Result: ~Copyable>(
  for what: @autoclosure () -> String, _ body: () throws(AllocationError) -> Result
) throws(DynaMoEError) -> Result {
  do throws(AllocationError) {
    return try body()
  } catch {
    throw .memory("no memory for \(what()): \(error)")
  }
}
