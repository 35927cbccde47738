import Testing

@_spi(Command) @testable import DynaMoE

@Suite struct PresetTests {
  private func refusal(_ preset: Preset, _ overrides: String) -> String {
    do throws(DynaMoEError) {
      _ = try ModelConfiguration.preset(preset, overrides: overrides)
      return "accepted"
    } catch { return error.description }
  }

  /// What arXiv 2603.01697 publishes, in every preset.
  @Test(arguments: Preset.allCases) func publishedSettings(preset: Preset) throws {
    let model = try ModelConfiguration.preset(preset).resolved()
    for layer in model.layers {
      #expect(layer.router.kind == .percentile && layer.router.percentile == 0.5)
      #expect(layer.router.temperature == 0.5 && layer.router.noise == 0.1)
      #expect(layer.router.gate == .softmax && layer.router.balanceRate == 0)
      #expect(layer.router.minActive == 1 && layer.router.maxActive == layer.experts)
    }
    #expect(model.losses == LossConfiguration() && model.losses.balance == 0)
    #expect(model.optimizer.kind == .adamw && model.optimizer.lr == 0.001)
    #expect(model.optimizer.beta1 == 0.9 && model.optimizer.beta2 == 0.999)
    #expect(model.optimizer.warmup == 0 && model.optimizer.total == nil)
    if model.task == .languageModel {
      #expect(preset.batchSize == 32 && preset.sequenceLength == 128)
      #expect(model.vocabulary == 50_257 && model.outputs == 50_257)
    } else {
      #expect(preset.batchSize == 256 && preset.sequenceLength == nil)
      #expect(model.task == .classification && model.outputs == 10)
    }
  }

  @Test func schedulesAndInputs() throws {
    let shapes: [(Preset, [Int], Int?)] = [
      (.paperMNIST, [8, 6, 4, 2], 784), (.paperFashionMNIST, [8, 6, 4, 2], 784),
      (.paperCIFAR10, [8, 6, 4, 2], 3072), (.paperLanguageTiny, [8, 6, 4, 2], nil),
      (.paperLanguageSmall, [2, 4, 6, 8], nil), (.paperLanguageMedium, [5, 5, 5, 5], nil),
    ]
    #expect(shapes.map(\.0) == Preset.allCases)
    for (preset, experts, inputs) in shapes {
      let model = try ModelConfiguration.preset(preset).resolved()
      #expect(model.layers.map(\.experts) == experts)
      #expect(model.inputs == inputs)
    }
  }

  /// The numbers that the documentation prints, against the parameters of real networks.
  @Test func parameterCounts() throws {
    let counts: [(Preset, all: Int, embedding: Int)] = [
      (.paperMNIST, 1_424_010, 0), (.paperFashionMNIST, 1_424_010, 0),
      (.paperCIFAR10, 1_716_874, 0), (.paperLanguageTiny, 83_840 + 3_216_448, 3_216_448),
      (.paperLanguageSmall, 329_600 + 3_216_448, 3_216_448),
      (.paperLanguageMedium, 1_396_480 + 6_432_896, 6_432_896),
    ]
    for (preset, all, embedding) in counts {
      let model = try Model(.preset(preset), seed: 0)
      #expect(model.parameterCount == all && preset.parameterCount == all)
      #expect(preset.embeddingParameterCount == embedding)
      let tensor = model.parameters.first { $0.name == "embedding.weight" }
      #expect((tensor?.values.count ?? 0) == embedding)
    }
  }

  @Test func names() throws {
    for preset in Preset.allCases {
      #expect(try Preset(name: preset.rawValue) == preset)
      #expect(preset.rawValue.hasPrefix("paper_") && preset.summary.hasSuffix("."))
    }
    #expect(throws: DynaMoEError.self) { try Preset(name: "") }
    do throws(DynaMoEError) {
      _ = try Preset(name: "paper_languag_tiny")
      Issue.record("accepted")
    } catch {
      #expect(error.description.contains("did you mean paper_language_tiny?"))
    }
  }

  @Test func catalogueListsAll() throws {
    guard case .array(let entries) = try JSONParser.parse(Preset.catalogue) else {
      Issue.record("the catalogue is no list")
      return
    }
    for (entry, preset) in zip(entries, Preset.allCases) {
      guard case .object(let object) = entry else { continue }
      #expect(object["name"] == .string(preset.rawValue))
      #expect(object["batch_size"] == .integer(preset.batchSize))
      #expect(object["sequence_length"] == preset.sequenceLength.map { .integer($0) } ?? .null)
      #expect(object["parameter_count"] == .integer(preset.parameterCount))
    }
    #expect(entries.count == Preset.allCases.count)
  }

  // MARK: - Overrides

  @Test func objectsAreMerged() throws {
    let changed = try ModelConfiguration.preset(
      .paperMNIST,
      overrides:
        "{\"router\": {\"noise\": 0}, \"experts\": {\"schedule\": \"wave\"}, \"width\": 32}")
    var expected = ModelConfiguration.preset(.paperMNIST)
    expected.routers[0].noise = 0
    expected.experts = .schedule(Schedule(.wave, minimum: 2, maximum: 8), layers: 4)
    expected.width = 32
    #expect(try changed.resolved() == expected.resolved())
    let same = try ModelConfiguration.preset(.paperLanguageSmall, overrides: "{}")
    #expect(try same.resolved() == ModelConfiguration.preset(.paperLanguageSmall).resolved())
  }

  @Test func anotherKindReplaces() throws {
    let changed = try ModelConfiguration.preset(
      .paperLanguageTiny,
      overrides: "{\"router\": {\"kind\": \"threshold\", \"target_active\": 2}}")
    let router = try changed.resolved().layers[0].router
    #expect(router.kind == .threshold && router.gate == .raw && router.noise == 0)
    let again = try ModelConfiguration.preset(
      .paperLanguageTiny, overrides: "{\"router\": {\"kind\": \"percentile\"}}")
    #expect(try again.resolved().layers[0].router.noise == 0.1)
    let plain = try ModelConfiguration.preset(
      .paperMNIST, overrides: "{\"optimizer\": {\"kind\": \"sgd\", \"momentum\": 0.9}}")
    let optimizer = try plain.resolved().optimizer
    #expect(optimizer.kind == .sgd && optimizer.momentum == 0.9 && optimizer.weightDecay == 0)
  }

  @Test func listsReplace() throws {
    let changed = try ModelConfiguration.preset(
      .paperMNIST,
      overrides: "{\"experts\": [3, 2], \"router\": [{\"kind\": \"dense\"}, {\"kind\": \"relu\"}]}")
    #expect(try changed.resolved().layers.map(\.experts) == [3, 2])
    #expect(changed.routers.map(\.kind) == [.dense, .relu])
  }

  @Test func outputsFollowTheVocabulary() throws {
    let changed = try ModelConfiguration.preset(
      .paperLanguageTiny, overrides: "{\"vocabulary\": 300}")
    #expect(try changed.resolved().outputs == 300)
  }

  @Test(arguments: [
    ("{\"router\": {\"nose\": 0}}", "unknown key router.nose; did you mean noise?"),
    ("{\"widht\": 3}", "unknown key widht; did you mean width?"),
    ("{\"width\": 0}", "width must be an integer of at least 1; got 0"),
    ("{\"router\": {\"k\": 2}}", "router.k is not used by kind percentile"),
    ("{\"router\": null}", "router"), ("{\"router\": 3}", "router"), ("[]", "an object"),
    ("3", "an object"), ("{\"width\": 3, \"width\": 4}", "width: this key occurs twice"),
    ("", "not valid JSON"), ("{\"outputs\": 3}", "vocabulary"),
  ])
  func refused(overrides: String, expected: String) {
    let message = refusal(.paperLanguageTiny, overrides)
    #expect(message.contains(expected), "\(message)")
  }
}
