/// Random networks over everything that a configuration can say, the same for the same seed.
enum RandomNetwork {
  static let kinds = [
    "percentile", "threshold", "expert_threshold", "top_k", "top_p", "top_any", "relu", "dense",
  ]

  static func router(_ kind: String, _ random: inout SeededGenerator) -> RouterDescription {
    var router = RouterDescription(kind: kind)
    let scored = kind != "top_any" && kind != "relu"
    if scored {
      router.gate = [nil, "softmax", "normalized", "raw"][random.integer(0..<4)]
      router.temperature = [nil, 0.6, 1.7][random.integer(0..<3)]
    }
    router.minActive = [nil, 0, 1, 2][random.integer(0..<4)]
    router.maxActive = [nil, nil, 2, 3][random.integer(0..<4)]
    if ["percentile", "threshold", "top_k", "top_p"].contains(kind), random.integer(0..<3) == 0 {
      router.balanceRate = 0.02
    }
    switch kind {
    case "percentile": router.percentile = [nil, 0.3, 0.75, 0, 1][random.integer(0..<5)]
    case "threshold", "expert_threshold":
      router.targetActive = [0.7, 1.5, 2, 20][random.integer(0..<4)]
      router.momentum = [nil, 0, 0.5][random.integer(0..<3)]
    case "top_k": router.k = 1 + random.integer(0..<4)
    case "top_p":
      router.p = [nil, 0.6, 1][random.integer(0..<3)]
      router.targetActive = [nil, 2][random.integer(0..<2)]
    case "top_any": router.scale = [nil, 2.5][random.integer(0..<2)]
    case "relu": router.targetActive = [nil, 2][random.integer(0..<2)]
    default: break
    }
    return router
  }

  static func testCase(seed: UInt64) -> GradientCase {
    var random = SeededGenerator(seed &+ 1000)
    let layers = 1 + random.integer(0..<3)
    let kind = kinds[Int(seed) % kinds.count]
    var description = NetworkDescription(router(kind, &random)) {
      $0.experts = (0..<layers).map { _ in 1 + random.integer(0..<7) }
      $0.width = 2 + random.integer(0..<18)
      $0.hidden = 1 + random.integer(0..<20)
      $0.inputs = 1 + random.integer(0..<12)
      $0.outputs = 1 + random.integer(0..<9)
      $0.task = ["classification", "regression"][random.integer(0..<2)]
      $0.activation =
        ["relu", "gelu", "gelu_tanh", "silu", "swiglu", "geglu"][random.integer(0..<6)]
      $0.norm = ["none", "layer", "rms"][random.integer(0..<3)]
      $0.bias = random.integer(0..<2) == 0
      $0.residual = random.integer(0..<4) > 0
      $0.sharedExperts = random.integer(0..<3)
    }
    description.router = description.experts.map { _ in
      random.integer(0..<2) == 0
        ? description.router[0] : router(kinds[random.integer(0..<kinds.count)], &random)
    }
    if random.integer(0..<4) == 0 {
      description.vocabulary = 5 + random.integer(0..<20)
      description.inputs = nil
    }
    let used = Set(description.router.map(\.kind)).sorted().joined(separator: " + ")
    return GradientCase(
      "seed \(seed): \(used)", description, rows: 1 + random.integer(0..<24), seed: seed)
  }

  static let cases = (0..<48 as Range<UInt64>).map(testCase)

  /// One network per kind, wide enough for kernels to work in several tiles.
  static let wideCases = kinds.map { kind in
    var router = RouterDescription(kind: kind)
    if kind.hasSuffix("threshold") { router.targetActive = 2 }
    if kind == "top_k" { router.k = 2 }
    return GradientCase(kind, router, rows: 70, seed: 5) {
      $0.inputs = 19
      $0.outputs = 11
      $0.width = 35
      $0.hidden = 41
      $0.experts = [7, 4]
      $0.sharedExperts = 1
      $0.activation = "swiglu"
    }
  }
}
