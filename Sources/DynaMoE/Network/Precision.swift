/// In what numbers a network keeps and multiplies its weight matrices.
public enum Precision: String, Sendable, CaseIterable {
  /// f32: 24 bits of precision.
  case float32
  /// The upper half of an f32, 8 bits of precision, for evaluation only: half the memory, and up to twice the speed.
  ///
  /// The matrices of the experts, the input, the embedding and the head are rounded to the nearest, halves to even, and
  /// kept in no other form; what they are multiplied with is rounded too, products are exact and sums are f32. Biases,
  /// norms, routers, scores, gates and softmax stay f32.
  case bfloat16
}

extension RoutedNetwork {
  /// In what numbers the weight matrices are kept.
  public var precision: Precision { storage.precision }

  /// Refuses a network that is for evaluation only.
  ///
  /// - Throws: ``DynaMoEError/state(_:)`` unless the precision is ``Precision/float32``.
  public func requireTraining() throws(DynaMoEError) {
    guard precision == .float32 else {
      throw .state(
        "the \(storage.kind.rawValue) is for evaluation only: loaded as \(precision.rawValue), allowed to train, change or save: loaded as float32"
      )
    }
  }

  /// Copies the values of the parameter `name` as f32, whatever the precision: of a rounded matrix what it was rounded
  /// to.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)`` for an unknown name or another number of values.
  public func copyParameter(
    _ name: String, into values: UnsafeMutableBufferPointer<Float>
  ) throws(DynaMoEError) {
    let index = try index(of: name, in: storage.parameters, "parameter")
    let tensor = storage.parameters.tensor(index)
    guard values.count == tensor.count else { throw wrongCount(tensor, values.count) }
    if let matrices = storage.matrices.rounded(name) {
      backend.pool.forRanges(values.count, grain: 1 << 16) { range in
        matrices.copy(from: range.lowerBound, into: .init(rebasing: values[range]))
      }
    } else {
      _ = values.update(from: tensor.values)
    }
  }

  /// The values of the parameter `name` as ``copyParameter(_:into:)`` gives them.
  public func parameterValues(_ name: String) throws(DynaMoEError) -> [Float] {
    let index = try index(of: name, in: storage.parameters, "parameter")
    var values = [Float](repeating: 0, count: storage.parameters.tensor(index).count)
    var failure: DynaMoEError?
    values.withUnsafeMutableBufferPointer { values in
      do throws(DynaMoEError) { try copyParameter(name, into: values) } catch { failure = error }
    }
    if let failure { throw failure }
    return values
  }

  /// The place of a tensor; the error names the nearest one.
  func index(
    of name: String, in store: TensorStore, _ noun: String
  ) throws(DynaMoEError) -> Int {
    if let index = store.index(of: name) { return index }
    let names = store.entries.map(\.specification.name)
    let hint = nearest(to: name, among: names).map { "; did you mean \(quoted($0))?" } ?? ""
    throw .argument("there is no \(noun) \(quoted(name))\(hint)")
  }

  func wrongCount(_ tensor: Tensor, _ count: Int) -> DynaMoEError {
    .argument("\(tensor.name) has \(tensor.count) values, shape \(tensor.shape); got \(count)")
  }
}
