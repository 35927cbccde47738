/// Coefficients of the auxiliary losses, summed over layers. Negative ones are allowed.
public struct LossConfiguration: Equatable, Sendable {
  /// Of N·Σ f_e P_e, minimal near 1 when the load is even. Default 0.
  public var balance: Double = 0
  /// Of the mean squared logsumexp of the logits. Default 0.
  public var z: Double = 0
  /// Of the mean entropy of the scores, in nats. Default 0.
  public var entropy: Double = 0
  /// First coefficient, at least 0, of the sparsity of `relu` layers with a target; 0 switches it
  /// off. Default 1e-8. Without effect on other layers.
  public var sparsity: Double = 1e-8

  /// Every coefficient at its default.
  public init() {}

  func validate() throws(DynaMoEError) {
    try Check.number(balance, "losses.balance", .any)
    try Check.number(z, "losses.z", .any)
    try Check.number(entropy, "losses.entropy", .any)
    try Check.number(sparsity, "losses.sparsity", .nonNegative)
  }
}
