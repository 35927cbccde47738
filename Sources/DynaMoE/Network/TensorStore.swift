import DynaMoEKernels

/// How a tensor is filled when a network is created.
enum InitialValue: Equatable, Sendable {
  /// U(-1/√inputs, 1/√inputs)
  case uniform(inputs: Int)
  /// N(0, 1) · scale
  case normal(scale: Float)
  case constant(Float)
}

/// Name, shape and treatment of one parameter or buffer.
struct TensorSpecification: Equatable, Sendable {
  let name: String
  let shape: [Int]
  let initial: InitialValue
  /// Whether weight decay applies by default: the `*.weight` tensors except those of norms.
  let decays: Bool
  /// Whether a network in bfloat16 keeps the tensor so: the matrices except those of routers.
  let isRounded: Bool

  init(
    _ name: String, _ shape: [Int], _ initial: InitialValue, decays: Bool = false,
    isRounded: Bool = false
  ) {
    self.name = name
    self.shape = shape
    self.initial = initial
    self.decays = decays
    self.isRounded = isRounded
  }

  /// Elements of the packed copy of a matrix: its outputs are filled up to whole panels, of at most
  /// 32.
  var packedCount: Double {
    guard shape.count >= 2, decays else { return 0 }
    let outputs = (shape[shape.count - 2] + 31) / 32 * 32
    return shape.dropLast(2).reduce(Double(outputs) * Double(shape[shape.count - 1])) {
      $0 * Double($1)
    }
  }

  /// Number of elements; nil when it does not fit an `Int`.
  var count: Int? {
    var product = 1
    for extent in shape {
      let (value, overflow) = product.multipliedReportingOverflow(by: extent)
      if overflow { return nil }
      product = value
    }
    return product
  }
}

/// All parameters (or all buffers) of a network in one allocation, in file order, each on a cache
/// line of its own.
///
/// Addresses never change in the life of a store, so that views of them may be lent out.
final class TensorStore {
  struct Entry {
    let specification: TensorSpecification
    let offset: Int
    /// Elements in the store: none when the values are kept elsewhere, rounded.
    let count: Int
  }

  let entries: [Entry]
  /// Elements in the allocation, padding included. The padding is zero and stays zero.
  let extent: Int
  /// Elements of all tensors, without padding.
  let elementCount: Int
  private let indices: [String: Int]
  private let values: Buffer<Float>
  private let gradients: Buffer<Float>
  private let precision: Precision

  init(
    _ specifications: [TensorSpecification], hasGradients: Bool, precision: Precision = .float32
  ) throws(DynaMoEError) {
    var entries: [Entry] = []
    var indices: [String: Int] = [:]
    var offset = 0
    var elements = 0
    for specification in specifications {
      guard let count = specification.count,
        case let (end, overflow) = offset.addingReportingOverflow(count), !overflow,
        case let (sum, tooMany) = elements.addingReportingOverflow(count), !tooMany,
        max(end, sum) < Int.max / 64
      else {
        throw .memory("\(specification.name) \(specification.shape) is larger than any memory")
      }
      indices[specification.name] = entries.count
      elements = sum
      let isElsewhere = precision == .bfloat16 && specification.isRounded
      entries.append(
        Entry(specification: specification, offset: offset, count: isElsewhere ? 0 : count))
      if !isElsewhere { offset = (end + 15) & ~15 }
    }
    self.precision = precision
    self.entries = entries
    self.indices = indices
    self.extent = offset
    self.elementCount = elements
    do {
      values = try Buffer(zeroed: offset)
      gradients = try Buffer(zeroed: hasGradients ? offset : 0)
    } catch {
      throw .memory("no memory for \(elements) parameters (\(offset * 4) bytes)")
    }
  }

  func index(of name: String) -> Int? { indices[name] }

  /// Whether the values of the tensor are kept elsewhere, rounded.
  func isRounded(_ index: Int) -> Bool {
    precision == .bfloat16 && entries[index].specification.isRounded
  }

  func isRounded(_ name: String) -> Bool { indices[name].map(isRounded) ?? false }

  var base: UnsafeMutablePointer<Float> { values.base }
  var gradientBase: UnsafeMutablePointer<Float> { gradients.base }

  func values(_ index: Int) -> UnsafeMutableBufferPointer<Float> {
    UnsafeMutableBufferPointer(
      start: values.base + entries[index].offset, count: entries[index].count)
  }

  func gradient(_ index: Int) -> UnsafeMutableBufferPointer<Float>? {
    guard gradients.capacity > 0 else { return nil }
    return UnsafeMutableBufferPointer(
      start: gradients.base + entries[index].offset, count: entries[index].count)
  }

  /// The values of the tensor `name`; nil when the network has none of that name. Nothing is there
  /// of a tensor that is kept elsewhere.
  func pointer(_ name: String) -> UnsafeMutablePointer<Float>? {
    indices[name].map { values.base + entries[$0].offset }
  }

  func gradientPointer(_ name: String) -> UnsafeMutablePointer<Float>? {
    indices[name].map { gradients.base + entries[$0].offset }
  }

  /// Fills every tensor from `seed`; a value depends only on the seed, the tensor's name and its
  /// index.
  func initialize(seed: UInt64) {
    for (index, entry) in entries.enumerated() {
      let destination = values(index)
      switch entry.specification.initial {
      case .uniform(let inputs):
        Initialization.uniform(
          seed: seed, name: entry.specification.name, bound: 1 / Float(inputs).squareRoot(),
          into: destination)
      case .normal(let scale):
        Initialization.normal(
          seed: seed, name: entry.specification.name, scale: scale, into: destination)
      case .constant(let value):
        destination.update(repeating: value)
      }
    }
  }

  /// All values, to come back to with `restore`.
  func snapshot() -> [Float] { Array(UnsafeBufferPointer(start: values.base, count: extent)) }

  func restore(_ snapshot: [Float]) {
    snapshot.withUnsafeBufferPointer { source in
      guard let base = source.baseAddress else { return }
      values.base.update(from: base, count: min(extent, source.count))
    }
  }

  func tensors() -> [Tensor] {
    entries.indices.map(tensor)
  }

  func tensor(_ index: Int) -> Tensor {
    let specification = entries[index].specification
    return Tensor(
      name: specification.name, shape: specification.shape, count: specification.count ?? 0,
      precision: isRounded(index) ? .bfloat16 : .float32,
      values: UnsafeBufferPointer(values(index)),
      gradient: precision == .float32 ? gradient(index) : nil)
  }
}

/// A parameter or buffer of a network, borrowed: valid as long as the network lives.
public struct Tensor {
  /// The name of the tensor, also in files: `layers.0.experts.up.weight`.
  public let name: String
  /// The extent of each dimension, outermost first.
  public let shape: [Int]
  /// Number of elements: the product of the shape.
  public let count: Int
  /// In what numbers the elements are kept.
  public let precision: Precision
  /// The elements, row-major. Change them through `setParameter` or `setBuffer`. None of a tensor in
  /// ``Precision/bfloat16``: read it with ``RoutedNetwork/copyParameter(_:into:)``.
  public let values: UnsafeBufferPointer<Float>
  /// The gradient, writable, of the same shape; nil for buffers and networks for evaluation only. A
  /// write before `step` is used by it.
  public let gradient: UnsafeMutableBufferPointer<Float>?
}
