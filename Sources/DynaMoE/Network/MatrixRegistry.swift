import DynaMoEKernels

/// The weight matrices that have packed copies, by parameter name, so that a changed parameter is
/// packed again.
final class MatrixRegistry {
  let backend: Backend
  private var matrices: [String: MatrixGroup] = [:]
  private var all: [MatrixGroup] = []
  private var roundedMatrices: [String: BFloat16Matrices] = [:]

  init(backend: Backend) {
    self.backend = backend
  }

  func add(
    _ name: String, in parameters: TensorStore, count: Int, outputs: Int, inputs: Int
  ) throws(DynaMoEError) -> MatrixGroup {
    if let existing = matrices[name] { return existing }
    let isRounded = parameters.isRounded(name)
    if isRounded {
      _ = try addRounded(name, count: count, outputs: outputs, inputs: inputs, for: .products)
    }
    do {
      let group = try MatrixGroup(
        backend: backend, values: parameters.pointer(name)!, count: isRounded ? 0 : count,
        outputs: isRounded ? 0 : outputs, inputs: isRounded ? 0 : inputs)
      matrices[name] = group
      all.append(group)
      return group
    } catch {
      throw .memory("no memory for the packed copy of \(name) [\(count), \(outputs), \(inputs)]")
    }
  }

  /// Matrices in bfloat16 in place of a parameter's values; zeros, until they are read from a file.
  func addRounded(
    _ name: String, count: Int, outputs: Int, inputs: Int, for use: BFloat16Matrices.Use
  ) throws(DynaMoEError) -> BFloat16Matrices {
    if let existing = roundedMatrices[name] { return existing }
    let matrices = try withMemory(for: "\(name) [\(count), \(outputs), \(inputs)] in bfloat16") {
      () throws(AllocationError) in
      try BFloat16Matrices(
        backend: backend, count: count, outputs: outputs, inputs: inputs, use: use)
    }
    roundedMatrices[name] = matrices
    return matrices
  }

  func rounded(_ name: String) -> BFloat16Matrices? { roundedMatrices[name] }

  func invalidate(_ name: String) { matrices[name]?.invalidate() }

  func invalidateAll() {
    for group in all { group.invalidate() }
  }
}
