import DynaMoEKernels

/// The weight matrices that have packed copies, by parameter name, so that a changed parameter is
/// packed again.
final class MatrixRegistry {
  let backend: Backend
  private var matrices: [String: MatrixGroup] = [:]
  private var all: [MatrixGroup] = []

  init(backend: Backend) {
    self.backend = backend
  }

  func add(
    _ name: String, in parameters: TensorStore, count: Int, outputs: Int, inputs: Int
  ) throws(DynaMoEError) -> MatrixGroup {
    if let existing = matrices[name] { return existing }
    do {
      let group = try MatrixGroup(
        backend: backend, values: parameters.pointer(name)!, count: count, outputs: outputs,
        inputs: inputs)
      matrices[name] = group
      all.append(group)
      return group
    } catch {
      throw .memory("no memory for the packed copy of \(name) [\(count), \(outputs), \(inputs)]")
    }
  }

  func invalidate(_ name: String) { matrices[name]?.invalidate() }

  func invalidateAll() {
    for group in all { group.invalidate() }
  }
}
