/// A network of the paper (arXiv 2603.01697), by name, with the sizes of its batches.
///
///     let configuration = ModelConfiguration.preset(.paperLanguageTiny)
///     let batch = Preset.paperLanguageTiny.batchSize  // windows of sequenceLength tokens
///
/// From the paper: data sets, the router (`percentile` 0.5, temperature 0.5, noise 0.1, gate
/// `softmax`), no auxiliary loss, AdamW with a learning rate of 0.001, the batches, the vocabulary
/// of GPT-2, the schedule that was best on each task, and the size of the language models, about
/// 85 K to 1.4 M parameters besides the embedding. Everything else (width, hidden size, number of
/// layers and experts, activation, norm, biases, the tied embedding) is our choice.
public enum Preset: String, Sendable, CaseIterable {
  /// MNIST digits, 28 x 28 pixels; experts descend with depth.
  case paperMNIST = "paper_mnist"
  /// Fashion-MNIST images, 28 x 28 pixels; experts descend with depth.
  case paperFashionMNIST = "paper_fashion_mnist"
  /// CIFAR-10 images, 3 x 32 x 32 pixels; experts descend with depth.
  case paperCIFAR10 = "paper_cifar10"
  /// The next token, smallest; experts descend with depth.
  case paperLanguageTiny = "paper_language_tiny"
  /// The next token, in the middle; experts ascend with depth.
  case paperLanguageSmall = "paper_language_small"
  /// The next token, largest; as many experts in every layer.
  case paperLanguageMedium = "paper_language_medium"

  /// Token ids of GPT-2, `<|endoftext|>` among them.
  private static let gpt2Vocabulary = 50_257

  /// What the network is for, in one sentence.
  public var summary: String {
    switch self {
    case .paperMNIST: "MNIST digits, 28 x 28 pixels, descending experts."
    case .paperFashionMNIST: "Fashion-MNIST images, 28 x 28 pixels, descending experts."
    case .paperCIFAR10: "CIFAR-10 images, 3 x 32 x 32 pixels, descending experts."
    case .paperLanguageTiny: "Next token of text in GPT-2's vocabulary, tiny, descending experts."
    case .paperLanguageSmall: "Next token of text in GPT-2's vocabulary, small, ascending experts."
    case .paperLanguageMedium: "Next token of text in GPT-2's vocabulary, medium, uniform experts."
    }
  }

  /// Images of a batch, or windows of `sequenceLength` tokens.
  public var batchSize: Int { sequenceLength == nil ? 256 : 32 }

  /// Tokens of a window; nil for images.
  public var sequenceLength: Int? {
    switch self {
    case .paperMNIST, .paperFashionMNIST, .paperCIFAR10: nil
    case .paperLanguageTiny, .paperLanguageSmall, .paperLanguageMedium: 128
    }
  }

  /// The preset of that name.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)`` with all names, and the nearest one when it is near.
  public init(name: String) throws(DynaMoEError) {
    if let preset = Preset(rawValue: name) {
      self = preset
      return
    }
    let names = Preset.allCases.map(\.rawValue)
    let hint = nearest(to: name, among: names).map { "; did you mean \($0)?" } ?? ""
    throw .argument(
      "name must be one of \(names.joined(separator: ", ")); got \(quoted(name))\(hint)")
  }

  fileprivate var configuration: ModelConfiguration {
    switch self {
    case .paperMNIST, .paperFashionMNIST: Self.images(inputs: 28 * 28)
    case .paperCIFAR10: Self.images(inputs: 3 * 32 * 32)
    case .paperLanguageTiny:
      Self.language(width: 64, hidden: 32, Schedule(.descending, minimum: 2, maximum: 8))
    case .paperLanguageSmall:
      Self.language(width: 64, hidden: 128, Schedule(.ascending, minimum: 2, maximum: 8))
    case .paperLanguageMedium:
      Self.language(width: 128, hidden: 272, Schedule(.uniform, maximum: 5))
    }
  }

  private static func images(inputs: Int) -> ModelConfiguration {
    ModelConfiguration(
      task: .classification, inputs: inputs, outputs: 10, width: 128,
      experts: .schedule(Schedule(.descending, minimum: 2, maximum: 8), layers: 4),
      router: router, hidden: 256, optimizer: optimizer)
  }

  /// Four layers of 20 experts in all.
  private static func language(
    width: Int, hidden: Int, _ schedule: Schedule
  ) -> ModelConfiguration {
    ModelConfiguration(
      task: .languageModel, vocabulary: gpt2Vocabulary, width: width,
      experts: .schedule(schedule, layers: 4), router: router, hidden: .all(hidden), bias: false,
      tiedEmbedding: true, optimizer: optimizer)
  }

  private static var router: RouterConfiguration {
    var router = RouterConfiguration.percentile(0.5)
    router.temperature = 0.5
    router.noise = 0.1
    router.gate = .softmax
    return router
  }

  private static var optimizer: OptimizerConfiguration {
    var optimizer = OptimizerConfiguration(kind: .adamw)
    optimizer.lr = 0.001
    return optimizer
  }
}

extension ModelConfiguration {
  /// The configuration of a preset: a value to change freely.
  public static func preset(_ preset: Preset) -> ModelConfiguration { preset.configuration }

  /// The configuration of a preset with some settings replaced, checked throughout.
  ///
  /// An object is merged member by member into the preset's (`{"router": {"noise": 0}}` leaves the
  /// rest of the router as it is), unless it names another `kind`: it then takes the place of the
  /// preset's, whose settings belong to the old kind. Everything else replaces what was there.
  ///
  /// - Parameters:
  ///   - preset: what is not replaced.
  ///   - json: an object of settings, in the words of ``init(json:)-(String)`` and as strict.
  /// - Throws: ``DynaMoEError/argument(_:)`` with the key, what came and what is allowed.
  public static func preset(
    _ preset: Preset, overrides json: String
  ) throws(DynaMoEError) -> ModelConfiguration {
    let overrides = try JSONValue.configuration(json)
    guard case .object = overrides else {
      throw .argument("the overrides must be an object; got \(overrides.summary)")
    }
    let base = try JSONValue.configuration(preset.configuration.json)
    return try ModelConfiguration(json: base.withoutOutputsOfVocabulary.merged(overrides).text)
  }
}

extension JSONValue {
  /// A language model's outputs follow its vocabulary, also one that is replaced.
  fileprivate var withoutOutputsOfVocabulary: JSONValue {
    guard case .object(let object) = self, object["vocabulary"] != nil else { return self }
    var result = JSONObject()
    for member in object.members where member.key != "outputs" {
      result.append(member.key, member.value)
    }
    return .object(result)
  }

  /// Objects of the same kind are merged member by member; anything else is replaced.
  fileprivate func merged(_ overrides: JSONValue) -> JSONValue {
    guard case .object(let base) = self, case .object(let changes) = overrides,
      changes["kind"] == nil || changes["kind"] == base["kind"]
    else { return overrides }
    var result = JSONObject()
    for member in base.members {
      result.append(
        member.key, changes[member.key].map { member.value.merged($0) } ?? member.value)
    }
    for member in changes.members where base[member.key] == nil {
      result.append(member.key, member.value)
    }
    return .object(result)
  }
}

extension Preset {
  /// All presets as one JSON list of objects, in order: `name`, `description`, `batch_size`,
  /// `sequence_length` (null for images), `parameter_count` and `embedding_parameter_count` (0 for
  /// images), which is part of it.
  public static var catalogue: String {
    JSONValue.array(allCases.map { .object($0.entry) }).text
  }

  private var entry: JSONObject {
    var object = JSONObject()
    object.append("name", .string(rawValue))
    object.append("description", .string(summary))
    object.append("batch_size", .integer(batchSize))
    object.append("sequence_length", sequenceLength.map { .integer($0) } ?? .null)
    object.append("parameter_count", .integer(parameterCount))
    object.append("embedding_parameter_count", .integer(embeddingParameterCount))
    return object
  }

  /// Elements of all parameters of the preset's network.
  public var parameterCount: Int {
    // A preset that its own checks refuse would be caught by the tests.
    guard let model = try? configuration.resolved() else { return 0 }
    return TensorNames.parameters(of: model).reduce(0) { $0 + ($1.count ?? 0) }
  }

  /// Of these the elements of the embedding, which is also the head; 0 for images.
  public var embeddingParameterCount: Int {
    (configuration.vocabulary ?? 0) * configuration.width
  }
}
