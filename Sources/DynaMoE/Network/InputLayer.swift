import DynaMoEKernels

/// The first map of a network: h = x · Wᵀ + bias of features, or the embedding's rows of token ids.
final class InputLayer {
  private enum Map {
    case projection(Projection)
    case embedding(
      values: UnsafePointer<Float>, gradient: UnsafeMutablePointer<Float>, vocabulary: Int)
    case roundedEmbedding(BFloat16Matrices)
  }

  /// Features per row; 1 for ids.
  let inputs: Int
  private let width: Int
  private let map: Map
  private let backend: Backend

  init(
    _ model: ResolvedModel, parameters: TensorStore, matrices: MatrixRegistry
  ) throws(DynaMoEError) {
    width = model.width
    backend = matrices.backend
    inputs = model.inputs ?? 1
    if let inputs = model.inputs {
      map = .projection(
        try Projection(
          weight: "input.weight", bias: "input.bias", outputs: model.width, inputs: inputs,
          parameters: parameters, matrices: matrices))
    } else if parameters.isRounded("embedding.weight") {
      map = .roundedEmbedding(
        try matrices.addRounded(
          "embedding.weight", count: 1, outputs: model.vocabulary ?? 0, inputs: model.width,
          for: model.tiedEmbedding ? .products : .rows))
    } else {
      guard let values = parameters.pointer("embedding.weight"),
        let gradient = parameters.gradientPointer("embedding.weight")
      else { throw .argument("the network has no parameter embedding.weight") }
      map = .embedding(
        values: UnsafePointer(values), gradient: gradient, vocabulary: model.vocabulary ?? 0)
    }
  }

  /// Of one product with the projection.
  private func flops(_ rows: Int) -> Double {
    if case .projection = map { 2 * Double(rows * inputs) * Double(width) } else { 0 }
  }

  // MARK: - Checks

  /// The rows, once shape, range and finiteness are known to be right.
  func check(_ input: Input) throws(DynaMoEError) -> RowSource? {
    switch (input, map) {
    case (.features(let x, let rows), .projection):
      return try checkFeatures(x, rows: rows, columns: inputs, name: "inputs", backend: backend)
        .map { .features($0) }
    case (.tokens(let ids), .embedding), (.tokens(let ids), .roundedEmbedding):
      for (row, id) in ids.enumerated() where id < 0 || Int(id) >= vocabulary {
        throw .argument("ids[\(row)] is \(id), allowed: 0 to \(vocabulary - 1)")
      }
      return ids.isEmpty ? nil : ids.baseAddress.map { .tokens($0) }
    case (.tokens, .projection):
      throw .argument("ids are given to a model of features, allowed: x [rows, \(inputs)]")
    case (.features, .embedding), (.features, .roundedEmbedding):
      throw .argument(
        "x is given to a model of token ids, allowed: ids [rows] from 0 to \(vocabulary - 1)")
    }
  }

  /// 0 of features.
  private var vocabulary: Int {
    switch map {
    case .projection: 0
    case .embedding(_, _, let vocabulary): vocabulary
    case .roundedEmbedding(let embedding): embedding.outputs
    }
  }

  // MARK: - Forward and backward

  /// h [T, D].
  func forward(_ source: RowSource, rows: Int, into h: UnsafeMutablePointer<Float>) {
    let start = Profile.begin()
    defer { Profile.end(.inputForward, start, flops: flops(rows)) }
    switch (source, map) {
    case (.features(let x), .projection(let projection)):
      RowGroups.withAll(rows: rows) { projection.forward($0, x, into: h) }
    case (.tokens(let ids), .embedding(let values, _, _)):
      let d = width
      backend.pool.forRanges(rows, grain: 256) { range in
        for row in range {
          (h + row * d).update(from: values + Int(ids[row]) * d, count: d)
        }
      }
    case (.tokens(let ids), .roundedEmbedding(let embedding)):
      let d = width
      backend.pool.forRanges(rows, grain: 256) { range in
        for row in range {
          embedding.copy(
            from: Int(ids[row]) * d, into: UnsafeMutableBufferPointer(start: h + row * d, count: d))
        }
      }
    default: break
    }
  }

  /// Adds to the gradients of an embedding; writes dL/dx [T, inputs] of features if asked. Those of
  /// the projection follow with `weightGradients`.
  func backward(
    _ source: RowSource, rows: Int, outputGradient dh: UnsafePointer<Float>,
    into dx: UnsafeMutablePointer<Float>?
  ) {
    let start = Profile.begin()
    defer { Profile.end(.inputGradient, start, flops: dx == nil ? 0 : flops(rows)) }
    switch (source, map) {
    case (.features, .projection(let projection)):
      guard let dx else { return }
      RowGroups.withAll(rows: rows) {
        projection.inputGradient($0, outputGradient: dh, into: dx)
      }
    case (.tokens(let ids), .embedding(_, let gradient, _)):
      // Threads share columns, not rows: the order of every sum is that of the rows.
      let d = width
      backend.pool.forRanges(d, grain: 32) { range in
        for row in 0..<rows {
          backend.add(
            dh + row * d + range.lowerBound, to: gradient + Int(ids[row]) * d + range.lowerBound,
            range.count)
        }
      }
    default: break
    }
  }

  func weightGradients(
    _ source: RowSource, rows: Int, outputGradient dh: UnsafePointer<Float>, _ use: GradientUse
  ) {
    guard case .features(let x) = source, case .projection(let projection) = map else { return }
    let start = Profile.begin()
    defer { Profile.end(.inputGradient, start, flops: flops(rows)) }
    RowGroups.withAll(rows: rows) {
      projection.weightGradients($0, outputGradient: dh, x, use)
    }
  }

  /// No gradient of the projection's weights and bias is larger; see `ExpertBank`.
  func gradientBound(
    _ source: RowSource, rows: Int, outputGradient dh: UnsafePointer<Float>
  ) -> Double {
    guard case .features(let x) = source else { return 0 }
    return DynaMoE.gradientBound(
      rows: rows, backend.largestMagnitude(dh, rows * width),
      backend.largestMagnitude(x, rows * inputs))
  }

  /// Places of the projection's weights among all parameters.
  var weightRange: Range<Int>? {
    if case .projection(let projection) = map { projection.weightRange } else { nil }
  }
}

/// x [rows, columns], finite; nil if there are no rows.
func checkFeatures(
  _ x: UnsafeBufferPointer<Float>, rows: Int, columns: Int, name: String, backend: Backend
) throws(DynaMoEError) -> UnsafePointer<Float>? {
  let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
  guard rows >= 0, !overflow, x.count == count else {
    throw .argument(
      "x has \(x.count) values, allowed: rows * \(name) = \(rows) * \(columns)"
        + (overflow || rows < 0 ? "" : " = \(count)"))
  }
  guard count > 0, let base = x.baseAddress else { return nil }
  guard backend.isFinite(base, count) else {
    let bad = x.firstIndex { !$0.isFinite } ?? 0
    throw .argument(
      "x[\(bad / columns), \(bad % columns)] is \(x[bad]), allowed: finite numbers")
  }
  return base
}
