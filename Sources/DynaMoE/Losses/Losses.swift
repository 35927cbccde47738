/// The losses of one batch.
public struct Losses: Equatable, Sendable {
  /// Mean cross-entropy in nats, or mean squared error; 0 when all rows are ignored, and for a
  /// single layer.
  public var task: Double
  /// Auxiliary losses times their coefficients, summed over layers.
  public var balance, z, entropy, sparsity: Double
  /// The share of counted rows whose largest logit is the target's; nil for regression and for a
  /// single layer.
  public var accuracy: Double?

  /// The sum of all: what is trained on.
  public var total: Double { task + balance + z + entropy + sparsity }
}

/// What rows are compared with.
public enum Targets {
  /// [T], 0 to C - 1, for classification and language modelling; -1: the row is ignored and not
  /// counted.
  case classes(UnsafeBufferPointer<Int32>)
  /// [T, C], for regression.
  case values(UnsafeBufferPointer<Float>)
}
