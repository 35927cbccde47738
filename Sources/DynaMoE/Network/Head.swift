import DynaMoEKernels

/// logits = norm(h) · Wᵀ + bias; with a tied embedding W is the embedding.
///
/// C can be a vocabulary, so rows go through in slices of at most 2²³ logits.
final class Head {
  let outputs: Int
  private let width: Int
  let norm: NormLayer?
  private let projection: Projection
  private let backend: Backend

  init(
    _ model: ResolvedModel, parameters: TensorStore, matrices: MatrixRegistry
  ) throws(DynaMoEError) {
    outputs = model.outputs
    width = model.width
    backend = matrices.backend
    norm = NormLayer(
      model.norm, name: "norm", width: model.width, parameters: parameters,
      backend: matrices.backend)
    projection = try Projection(
      weight: model.tiedEmbedding ? "embedding.weight" : "head.weight", bias: "head.bias",
      outputs: model.outputs, inputs: model.width, parameters: parameters, matrices: matrices)
  }

  /// Rows of a slice.
  var sliceRows: Int { max(1, (1 << 23) / outputs) }

  /// Rows of the largest slice of a batch.
  func largestSlice(_ rows: Int) -> Int { min(rows, sliceRows) }

  /// logits [T, C] of normalised rows; throws when one is not finite.
  func forward(
    _ x: UnsafePointer<Float>, rows: Int, into logits: UnsafeMutablePointer<Float>
  ) throws(DynaMoEError) {
    RowGroups.withAll(rows: rows) { projection.forward($0, x, into: logits) }
    guard backend.isFinite(logits, rows * outputs) else {
      throw .failed(
        "the logits are not finite: parameters or input have grown too large; nothing was changed")
    }
  }

  /// From dL/dlogits of normalised rows: adds to the gradients of weight and bias, writes dL/dx.
  func backward(
    _ x: UnsafePointer<Float>, rows: Int, outputGradient: UnsafePointer<Float>,
    into dx: UnsafeMutablePointer<Float>
  ) {
    RowGroups.withAll(rows: rows) { groups in
      projection.addGradients(groups, outputGradient: outputGradient, x)
      projection.inputGradient(groups, outputGradient: outputGradient, into: dx)
    }
  }
}
