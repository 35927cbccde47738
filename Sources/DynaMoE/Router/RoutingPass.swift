import DynaMoEKernels

/// What one forward computes in a router, kept for its backward. T rows, N experts.
struct RoutingPass: ~Copyable {
  /// z [T, N]
  var logits = Buffer<Float>()
  /// s [T, N], clean
  var scores = Buffer<Float>()
  /// u [T, N]; only with noise, otherwise u = s
  var noisy = Buffer<Float>()
  /// v [T, N]; only with a balancing bias, otherwise v = u
  var selection = Buffer<Float>()
  /// logsumexp z [T]
  var logSumExp = Buffer<Float>()
  /// Routing entropy of each row, nats [T]
  var entropy = Buffer<Double>()
  /// Whether `min_active` or `max_active` changed the row's K [T]
  var limited = Buffer<UInt8>()
  /// θ of each expert in this forward [N]
  var thresholds = Buffer<Double>()
  /// θ₀ of each expert, of the clean scores [N]
  var cleanThresholds = Buffer<Double>()
  /// ‖x‖ [T] and ‖W‖ [N], at least 1e-8 (top_any)
  var inputNorms = Buffer<Float>()
  var weightNorms = Buffer<Float>()
  /// Room for quantiles and for order, [T, N]
  var scratch = Buffer<Float>()
  var columns = Buffer<Float>()
  var order = Buffer<Int32>()
  /// Whether every row's logits gave finite scores.
  var isFinite = true
  var hasNoise = false
  var hasBias = false
}

/// The active sets and weights of one forward: `active [rows, N]`, `weights [rows, N]`, zero
/// elsewhere.
final class RoutingRecord {
  private(set) var rows = 0
  let experts: Int
  private var activeStore = Buffer<UInt8>()
  private var weightStore = Buffer<Float>()

  init(experts: Int) { self.experts = experts }

  func reserve(rows: Int) throws(AllocationError) {
    try activeStore.reserve(rows * experts)
    try weightStore.reserve(rows * experts)
    self.rows = rows
  }

  var active: UnsafeMutablePointer<UInt8> { activeStore.base }
  var weights: UnsafeMutablePointer<Float> { weightStore.base }

  /// Copies the first `rows` rows out.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)`` when an array is too small.
  func copy(
    rows: Int, active: UnsafeMutableBufferPointer<UInt8>?,
    weights: UnsafeMutableBufferPointer<Float>?
  ) throws(DynaMoEError) {
    let count = rows * experts
    for (name, capacity) in [("active", active?.count), ("weights", weights?.count)] {
      guard capacity ?? count >= count else {
        throw .argument(
          "\(name) has room for \(capacity ?? 0) values, allowed: at least rows * experts = \(count)"
        )
      }
    }
    guard count > 0 else { return }
    active?.baseAddress?.update(from: self.active, count: count)
    weights?.baseAddress?.update(from: self.weights, count: count)
  }
}
