extension ModelConfiguration {
  /// What the outputs of a network mean, and which loss trains them.
  public enum Task: String, Sendable, CaseIterable {
    /// Softmax cross-entropy over the outputs; a target of -1 is ignored.
    case classification
    /// Classification of the next token: rows are token ids and the outputs are the vocabulary.
    case languageModel = "language_model"
    /// Mean squared error.
    case regression
  }
}

/// The nonlinearity of an expert.
public enum Activation: String, Sendable, CaseIterable {
  /// max(0, x).
  case relu
  /// x · Φ(x) with the error function, exact.
  case gelu
  /// The approximation of `gelu` with tanh.
  case geluTanh = "gelu_tanh"
  /// x · σ(x).
  case silu
  /// Gated: `down(silu(gate(x)) ⊙ up(x))`.
  case swiglu
  /// Gated: `down(gelu(gate(x)) ⊙ up(x))`.
  case geglu

  /// Whether an expert has the third matrix `gate`.
  public var isGated: Bool { self == .swiglu || self == .geglu }
}

/// The normalisation before every layer and before the head.
public enum Norm: String, Sendable, CaseIterable {
  /// None, also none before the head.
  case none
  /// Mean and biased variance, eps 1e-5, with weight and bias.
  case layer
  /// Root mean square, eps 1e-6, with weight.
  case rms
}

/// How scores u become the weights of the active experts A of a row.
public enum Gate: String, Sendable, CaseIterable {
  /// Softmax of u over A.
  case softmax
  /// u / max(Σ_A u, 1e-6).
  case normalized
  /// u itself.
  case raw
}
