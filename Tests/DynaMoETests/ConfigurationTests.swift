import Testing

@testable import DynaMoE

@Suite struct ConfigurationTests {
  static let complete = """
    {"task": "classification", "inputs": 784, "outputs": 10, "width": 64, "experts": {"schedule": "descending", "layers": 4,
    "minimum": 2, "maximum": 8}, "router": {"kind": "threshold", "target_active": 3}}
    """

  @Test func defaultsAreResolved() throws {
    let model = try ModelConfiguration(json: Self.complete).resolved()
    #expect(model.layers.map(\.experts) == [8, 6, 4, 2])
    #expect(model.layers.map(\.hidden) == [256, 256, 256, 256])
    #expect(model.layers.map(\.router.targetActive) == [3, 3, 3, 2])
    #expect(model.layers.map(\.router.maxActive) == [8, 6, 4, 2])
    let router = model.layers[0].router
    #expect(router.gate == .raw && router.temperature == 1 && router.noise == 0)
    #expect(router.minActive == 1 && router.momentum == 0.9 && router.balanceRate == 0)
    #expect(router.percentile == 0.5 && router.p == 0.4 && router.scale == 1)
    #expect(model.outputs == 10 && model.activation == .gelu && model.norm == .layer)
    #expect(model.bias && model.residual && !model.tiedEmbedding && model.sharedExperts == 0)
    #expect(model.losses == LossConfiguration() && model.losses.sparsity == 1e-8)
    #expect(model.losses.balance == 0 && model.losses.z == 0 && model.losses.entropy == 0)
    let adamw = model.optimizer
    #expect(adamw.kind == .adamw && adamw.lr == 0.001 && adamw.eps == 1e-8)
    #expect(adamw.beta1 == 0.9 && adamw.beta2 == 0.999 && adamw.weightDecay == 0.01)
    #expect(adamw.clip == nil && adamw.warmup == 0 && adamw.total == nil && adamw.floor == 0)
    let sgd = try OptimizerConfiguration(kind: .sgd).resolved()
    #expect(sgd.weightDecay == 0 && sgd.momentum == 0 && !sgd.nesterov && !sgd.decayAll)
  }

  @Test func swiftAndJSONAgree() throws {
    let configuration = ModelConfiguration(
      task: .classification, inputs: 784, outputs: 10, width: 64,
      experts: .schedule(Schedule(.descending, minimum: 2, maximum: 8), layers: 4),
      router: .threshold(targetActive: 3))
    #expect(configuration == (try ModelConfiguration(json: Self.complete)))
  }

  @Test func gatesByKind() throws {
    let defaults: [(RouterConfiguration, Gate)] = [
      (.percentile(0.5), .softmax), (.threshold(targetActive: 1), .raw),
      (.expertThreshold(targetActive: 1), .raw), (.topK(1), .normalized), (.topP(0.5), .raw),
      (.topAny(scale: 1), .raw), (.relu(), .raw), (.dense, .normalized),
    ]
    #expect(defaults.map(\.0.kind) == RouterConfiguration.Kind.allCases)
    for (router, gate) in defaults {
      try router.validate(path: "router")
      #expect(router.resolved(experts: 4, targetActive: nil).gate == gate)
      var raw = router
      if router.kind != .topAny && router.kind != .relu {
        raw.gate = .softmax
        #expect(raw.resolved(experts: 4, targetActive: nil).gate == .softmax)
      }
    }
  }

  /// Settings above N count as N.
  @Test func countsAboveTheExpertsAreClamped() throws {
    var router = RouterConfiguration.topK(9)
    router.minActive = 7
    router.maxActive = 8
    let resolved = router.resolved(experts: 3, targetActive: nil)
    #expect(resolved.k == 3 && resolved.minActive == 3 && resolved.maxActive == 3)
    let model = try ModelConfiguration(
      task: .regression, inputs: 1, outputs: 1, width: 1, experts: [1, 5],
      router: .threshold(targetActive: .schedule(Schedule(.ascending, minimum: 2, maximum: 4)))
    ).resolved()
    #expect(model.layers.map(\.router.targetActive) == [1, 4])
  }

  @Test func perLayerSettings() throws {
    let model = try ModelConfiguration(
      task: .languageModel, vocabulary: 11, width: 6, experts: [4, 3, 2],
      routers: [.topK(2), .threshold(targetActive: [9, 1.5, 9]), .topP(0.3, targetActive: 1)],
      hidden: .schedule(Schedule(.descending, minimum: 5, maximum: 9)), activation: .swiglu,
      tiedEmbedding: true
    ).resolved()
    #expect(model.outputs == 11 && model.vocabulary == 11 && model.inputs == nil)
    #expect(model.layers.map(\.hidden) == [9, 7, 5])
    #expect(model.layers.map(\.router.kind) == [.topK, .threshold, .topP])
    #expect(model.layers.map(\.router.targetActive) == [nil, 1.5, 1])
    #expect(model.layers[2].router.p == 0.3)
  }

  @Test func nullsAreAbsences() throws {
    let configuration = try ModelConfiguration(
      json: """
        {"task": "regression", "inputs": 1, "outputs": 1, "width": 2, "experts": {"schedule": "wave", "layers": 2, "maximum": 3,
        "total": null}, "router": {"kind": "dense", "max_active": null}, "optimizer": {"clip": null, "total": null}}
        """)
    #expect(
      configuration
        == ModelConfiguration(
          task: .regression, inputs: 1, outputs: 1, width: 2,
          experts: .schedule(Schedule(.wave, maximum: 3), layers: 2), router: .dense))
  }

  /// The whole text is part of the interface: keys, order and defaults.
  @Test func resolvedText() throws {
    #expect(
      try ModelConfiguration(json: Self.complete).json
        == """
        {"task": "classification", "inputs": 784, "outputs": 10, "width": 64, "experts": {"schedule": "descending", "layers": 4, \
        "minimum": 2, "maximum": 8, "cycles": 2.0, "total": null}, "hidden": 256, "shared_experts": 0, "activation": "gelu", \
        "bias": true, "residual": true, "norm": "layer", "tied_embedding": false, "router": {"kind": "threshold", \
        "gate": "raw", "temperature": 1.0, "noise": 0.0, "min_active": 1, "max_active": null, "balance_rate": 0.0, \
        "target_active": 3.0, "momentum": 0.9}, "losses": {"balance": 0.0, "z": 0.0, "entropy": 0.0, "sparsity": 1e-08}, \
        "optimizer": {"kind": "adamw", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.01, \
        "decay_all": false, "clip": null, "warmup": 0, "total": null, "floor": 0.0}}
        """)
    var layer = LayerConfiguration(width: 4, experts: 3, router: .relu(), activation: .relu)
    layer.optimizer = OptimizerConfiguration(kind: .sgd)
    #expect(
      layer.json
        == """
        {"width": 4, "experts": 3, "hidden": 16, "shared_experts": 0, "activation": "relu", "bias": true, \
        "router": {"kind": "relu", "temperature": 1.0, "min_active": 1, "max_active": null}, "losses": {"balance": 0.0, \
        "z": 0.0, "entropy": 0.0, "sparsity": 1e-08}, "optimizer": {"kind": "sgd", "lr": 0.001, "momentum": 0.0, \
        "nesterov": false, "weight_decay": 0.0, "decay_all": false, "clip": null, "warmup": 0, "total": null, "floor": 0.0}}
        """)
  }

  /// Written configurations with every setting away from its default read back as equal networks,
  /// and stay as they are.
  @Test func writtenIsReadBackEqual() throws {
    var optimizer = OptimizerConfiguration(kind: .sgd)
    (optimizer.lr, optimizer.momentum, optimizer.nesterov) = (0.1, 0.9, true)
    (optimizer.weightDecay, optimizer.decayAll, optimizer.clip) = (1e-4, true, 0.7)
    (optimizer.warmup, optimizer.total, optimizer.floor) = (3, 9, 0.2)
    var adamw = OptimizerConfiguration()
    (adamw.beta1, adamw.beta2, adamw.eps, adamw.weightDecay) = (0.8, 0.95, 1e-6, 0.2)
    var losses = LossConfiguration()
    (losses.balance, losses.z, losses.entropy, losses.sparsity) = (0.1, -0.2, 0.3, 0)
    var routers: [RouterConfiguration] = [
      .percentile(0.3), .threshold(targetActive: 1.5), .expertThreshold(targetActive: [1, 2, 3]),
      .topK(2), .topP(0.6, targetActive: .schedule(Schedule(.wave, maximum: 2, cycles: 1.5))),
      .topAny(scale: 2), .relu(targetActive: 2), .dense,
    ]
    for index in routers.indices {
      (routers[index].minActive, routers[index].maxActive) = (2, 3)
      for setting in RouterConfiguration.Setting.allCases
      where setting.kinds.contains(routers[index].kind) {
        switch setting {
        case .gate: routers[index].gate = .normalized
        case .temperature: routers[index].temperature = 0.7
        case .noise: routers[index].noise = 0.1
        case .balanceRate: routers[index].balanceRate = 0.01
        case .momentum: routers[index].momentum = 0.5
        default: break
        }
      }
    }
    for router in routers {
      let model = ModelConfiguration(
        task: .regression, vocabulary: 7, outputs: 2, width: 5, experts: [4, 3, 2], router: router,
        hidden: [3, 4, 5], sharedExperts: 2, activation: .geglu, bias: false, residual: false,
        norm: .rms, losses: losses, optimizer: router.kind == .dense ? adamw : optimizer)
      #expect(try ModelConfiguration(json: model.json) == model, "\(model.json)")
      var single = router
      if case .list? = single.targetActive { single.targetActive = [2] }
      let layer = LayerConfiguration(
        width: 5, experts: 4, router: single, hidden: 3, sharedExperts: 1, activation: .silu,
        bias: false, losses: losses, optimizer: optimizer)
      #expect(try LayerConfiguration(json: layer.json) == layer, "\(layer.json)")
    }
    let mixed = ModelConfiguration(
      task: .classification, inputs: 3, outputs: 2, width: 5,
      experts: .list(Array(repeating: 4, count: 8)),
      routers: routers.map {
        var router = $0
        if router.targetActive != nil { router.targetActive = 2 }
        return router
      })
    #expect(try ModelConfiguration(json: mixed.json).resolved() == mixed.resolved())
    #expect(try ModelConfiguration(json: mixed.json).json == mixed.json)
  }

  /// A description of a configuration that would be refused never traps.
  @Test func textOfInvalidConfigurations() {
    let configuration = ModelConfiguration(
      task: .languageModel, width: .max, experts: [], router: RouterConfiguration(kind: .topK))
    #expect(configuration.json.contains("\"hidden\": 9223372036854775807"))
    var layer = LayerConfiguration(width: .min, experts: -1, router: .topP(.nan))
    layer.losses.z = .infinity
    #expect(layer.json.contains("\"p\": null") && layer.json.contains("\"z\": null"))
  }

  @Test func goldenConfigurations() throws {
    for name in GoldenCases.names(endingIn: ".safetensors") {
      let file = try SafetensorsFile(path: "\(GoldenCases.folder)/\(name)")
      let text = try #require(file.metadata["config"])
      let optimizer = try #require(file.metadata["optimizer"])
      let configuration = try ModelConfiguration(
        json: text.dropLast() + ", \"optimizer\": \(optimizer)}")
      let model = try configuration.resolved()
      let again = try ModelConfiguration(json: configuration.json)
      #expect(try again.resolved() == model, "\(name)")
      #expect(again.json == configuration.json, "\(name)")
      for (index, layer) in model.layers.enumerated() {
        let up = file.tensors["layers.\(index).experts.up.weight"]
        #expect(up?.shape == [layer.experts, layer.hidden, model.width], "\(name)")
      }
      #expect(file.tensors["layers.\(model.layers.count).experts.up.weight"] == nil, "\(name)")
    }
  }

  @Test func learningRates() {
    var optimizer = OptimizerConfiguration()
    optimizer.lr = 0.4
    #expect((1...3).map(optimizer.learningRate) == [0.4, 0.4, 0.4])
    optimizer.warmup = 4
    for (step, expected) in [(1, 0.1), (2, 0.2), (3, 0.3), (5, 0.4)] {
      #expect(abs(optimizer.learningRate(step: step) - expected) < 1e-15, "step \(step)")
    }
    #expect(
      optimizer.learningRate(step: 4) == 0.4 && optimizer.learningRate(step: 1_000_000) == 0.4)
    optimizer.total = 8
    optimizer.floor = 0.25
    for (step, share) in [(4, 1.0), (6, 0.625), (8, 0.25), (9, 0.25), (Int.max, 0.25)] {
      #expect(abs(optimizer.learningRate(step: step) - 0.4 * share) < 1e-15, "step \(step)")
    }
    #expect(
      abs(optimizer.learningRate(step: 5) - 0.4 * (0.25 + 0.75 * (1 + 0.5.squareRoot()) / 2))
        < 1e-15)
    #expect(optimizer.learningRate(step: 0) == optimizer.learningRate(step: 1))
    optimizer.warmup = .min
    optimizer.total = .max
    _ = optimizer.learningRate(step: .max)
  }
}
