import DynaMoEKernels

/// logits = norm(h) · Wᵀ + bias; with a tied embedding W is the embedding.
///
/// C can be a vocabulary, so rows go through in slices of at most 2²³ logits.
final class Head {
  let outputs: Int
  private let width: Int
  let norm: NormLayer?
  private let projection: Projection
  /// Places of the weights among all parameters; nil when the step has to wait for other gradients
  /// of theirs: those of the embedding, or of another slice.
  let separateRange: Range<Int>?
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
    let projection = try Projection(
      weight: model.tiedEmbedding ? "embedding.weight" : "head.weight", bias: "head.bias",
      outputs: model.outputs, inputs: model.width, parameters: parameters, matrices: matrices)
    self.projection = projection
    separateRange =
      model.tiedEmbedding || model.outputs > Self.mostSeparateOutputs ? nil : projection.weightRange
  }

  /// Slices of so few logits hold all rows of a usual batch.
  private static let mostSeparateOutputs = 1024

  private func flops(_ rows: Int) -> Double { 2 * Double(rows * width) * Double(outputs) }

  /// Rows of a slice.
  var sliceRows: Int { max(1, (1 << 23) / outputs) }

  /// Rows of the largest slice of a batch.
  func largestSlice(_ rows: Int) -> Int { min(rows, sliceRows) }

  /// logits [T, C] of normalised rows; throws when one is not finite.
  func forward(
    _ x: UnsafePointer<Float>, rows: Int, into logits: UnsafeMutablePointer<Float>
  ) throws(DynaMoEError) {
    let start = Profile.begin()
    defer { Profile.end(.head, start, flops: flops(rows)) }
    RowGroups.withAll(rows: rows) { projection.forward($0, x, into: logits) }
    guard backend.isFinite(logits, rows * outputs) else {
      throw .failed(
        "the logits are not finite: parameters or input have grown too large; nothing was changed")
    }
  }

  /// dL/dx from dL/dlogits of normalised rows.
  func backward(
    rows: Int, outputGradient: UnsafePointer<Float>, into dx: UnsafeMutablePointer<Float>
  ) {
    let start = Profile.begin()
    defer { Profile.end(.head, start, flops: flops(rows)) }
    RowGroups.withAll(rows: rows) {
      projection.inputGradient($0, outputGradient: outputGradient, into: dx)
    }
  }

  /// The gradients of weight and bias from dL/dlogits of normalised rows.
  func weightGradients(
    _ x: UnsafePointer<Float>, rows: Int, outputGradient: UnsafePointer<Float>,
    _ use: GradientUse = .add
  ) {
    let start = Profile.begin()
    defer { Profile.end(.head, start, flops: flops(rows)) }
    RowGroups.withAll(rows: rows) {
      projection.weightGradients($0, outputGradient: outputGradient, x, use)
    }
  }
}
