import Testing

@testable import DynaMoE

/// Every gradient of the engine against central differences of a double-precision reference.
@Suite struct GradientTests {
  @Test(arguments: activations + norms + sharedExperts)
  func expertsAndNorms(_ testCase: GradientCase) throws {
    try expectAgreement(testCase)
  }

  @Test(arguments: kindsAndGates + kindsWithoutGate)
  func routers(_ testCase: GradientCase) throws {
    try expectAgreement(testCase)
  }

  @Test(arguments: temperatures + limits + noises)
  func routerSettings(_ testCase: GradientCase) throws {
    try expectAgreement(testCase)
  }

  @Test(arguments: auxiliaryLosses)
  func auxiliary(_ testCase: GradientCase) throws {
    try expectAgreement(testCase)
  }

  @Test(arguments: tasks)
  func tasksAndHeads(_ testCase: GradientCase) throws {
    try expectAgreement(testCase)
  }

  private func expectAgreement(_ testCase: GradientCase) throws {
    let comparison = try testCase.compare(testCase.model())
    #expect(comparison.mismatches == [])
  }

  static let threshold = RouterDescription(kind: "threshold", targetActive: 1.6)

  static let activations = ["relu", "gelu", "gelu_tanh", "silu", "swiglu", "geglu"].flatMap {
    activation in
    [true, false].map { bias in
      GradientCase("\(activation), bias \(bias)", threshold) {
        $0.activation = activation
        $0.bias = bias
      }
    }
  }

  static let norms = ["none", "layer", "rms"].flatMap { norm in
    [true, false].map { residual in
      GradientCase("norm \(norm), residual \(residual)", threshold) {
        $0.norm = norm
        $0.residual = residual
      }
    }
  }

  static let sharedExperts = ["silu", "geglu"].map { activation in
    GradientCase("two shared experts, \(activation)", threshold) {
      $0.activation = activation
      $0.sharedExperts = 2
    }
  }

  /// Every kind that has a gate, with settings under which K varies or is neither 1 nor N.
  static let gatedKinds = [
    RouterDescription(kind: "percentile", percentile: 0.4),
    threshold,
    RouterDescription(kind: "expert_threshold", targetActive: 1.6),
    RouterDescription(kind: "top_k", k: 2),
    RouterDescription(kind: "top_p", p: 0.7),
    RouterDescription(kind: "dense"),
  ]

  static let gates = ["softmax", "normalized", "raw"]

  static let kindsAndGates = gatedKinds.flatMap { router in
    gates.map { gate in
      var router = router
      router.gate = gate
      return GradientCase("\(router.kind), \(gate)", router)
    }
  }

  static let reluWithSparsity = GradientCase(
    "relu with sparsity", RouterDescription(kind: "relu", targetActive: 1.5)
  ) {
    $0.losses = .init(sparsity: 0.05)
  }

  static let scaledTopAny = GradientCase(
    "top_any, scale 2.5", RouterDescription(kind: "top_any", scale: 2.5))

  static let kindsWithoutGate = [
    GradientCase("top_any", RouterDescription(kind: "top_any")),
    scaledTopAny,
    GradientCase(
      "top_any, 2 to 3 active", RouterDescription(kind: "top_any", minActive: 2, maxActive: 3)),
    GradientCase("relu", RouterDescription(kind: "relu")),
    GradientCase(
      "relu, 2 to 3 active", RouterDescription(kind: "relu", minActive: 2, maxActive: 3)),
    reluWithSparsity,
    GradientCase("controlled top_p", RouterDescription(kind: "top_p", targetActive: 2, p: 0.6)),
    GradientCase(
      "loss-free balancing", RouterDescription(kind: "top_k", balanceRate: 0.01, k: 2)),
    GradientCase("four kinds", RouterDescription(kind: "dense")) {
      $0.experts = [4, 3, 4, 3]
      $0.router = [
        threshold, RouterDescription(kind: "top_any"), RouterDescription(kind: "relu"),
        RouterDescription(kind: "percentile"),
      ]
    },
    GradientCase("more asked for than there are", RouterDescription(kind: "top_k", k: 4)) {
      $0.experts = [5, 1, 3]
    },
  ]

  static let temperatures = gates.map { gate in
    GradientCase(
      "temperature 0.6, \(gate)",
      RouterDescription(kind: "threshold", gate: gate, temperature: 0.6, targetActive: 2))
  }

  static let limits = gates.flatMap { gate in
    [
      GradientCase(
        "at least 2, \(gate)",
        RouterDescription(kind: "threshold", gate: gate, minActive: 2, targetActive: 1)),
      GradientCase(
        "at most 2, \(gate)",
        RouterDescription(kind: "threshold", gate: gate, maxActive: 2, targetActive: 3)),
      GradientCase(
        "none allowed, \(gate)",
        RouterDescription(kind: "threshold", gate: gate, minActive: 0, targetActive: 0.7)),
    ]
  }

  static let noises = gates.map { gate in
    GradientCase(
      "noise, \(gate)",
      RouterDescription(kind: "threshold", gate: gate, noise: 0.1, targetActive: 2))
  }

  static let auxiliaryLosses = [
    threshold, RouterDescription(kind: "dense", temperature: 0.7),
    RouterDescription(kind: "relu", temperature: 1.4, targetActive: 2),
    RouterDescription(kind: "top_any", scale: 1.5),
    RouterDescription(kind: "top_k", gate: "softmax", k: 1),
  ].flatMap { router in
    [
      ("balance", NetworkDescription.Losses(balance: 0.7)),
      ("z", .init(z: 0.3)), ("entropy", .init(entropy: -0.4)),
      ("all", .init(balance: 0.2, z: 0.1, entropy: 0.3, sparsity: 0.02)),
    ].map { name, losses in
      GradientCase("\(name) under \(router.kind)", router) { $0.losses = losses }
    }
  }

  static let tied = GradientCase(
    "language model, tied", .tokens(threshold) { $0.tiedEmbedding = true }, rows: 11)

  static let tasks = [
    GradientCase("regression", threshold) { $0.task = "regression" },
    GradientCase("classification, ignored targets", threshold, ignored: [0, 3, 7]),
    GradientCase("classification, all ignored", threshold, ignored: Array(0..<8)) {
      $0.losses = .init(balance: 0.5)
    },
    GradientCase("one row", threshold, rows: 1),
    GradientCase("language model", .tokens(threshold), rows: 11),
    tied,
    GradientCase(
      "language model, tied, no bias, ignored targets",
      .tokens(threshold) {
        $0.tiedEmbedding = true
        $0.bias = false
        $0.norm = "rms"
      }, rows: 11, ignored: [1, 2]),
    GradientCase(
      "classification of tokens", .tokens(threshold, task: "classification", outputs: 3),
      rows: 11),
    GradientCase(
      "regression of tokens", .tokens(threshold, task: "regression", outputs: 2), rows: 11),
  ]
}
