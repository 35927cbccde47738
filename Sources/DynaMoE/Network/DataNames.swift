/// The words of the data that a model was trained on; saved with it. All may be absent.
public struct DataNames: Equatable, Sendable {
  /// Of each class, in the order of the outputs.
  public var classes: [String]?
  /// Of each feature, in the order of the inputs.
  public var features: [String]?
  /// Of what is predicted: one name, or of a regression one per output, in their order.
  public var targets: [String]?

  /// What is nil has no name.
  public init(classes: [String]? = nil, features: [String]? = nil, targets: [String]? = nil) {
    self.classes = classes
    self.features = features
    self.targets = targets
  }
}

extension DataNames {
  private enum Key {
    static let classes = "class_names"
    static let features = "feature_names"
    /// A single name, as it is.
    static let target = "target_name"
    /// Several.
    static let targets = "target_names"
  }

  /// What a file says of them.
  init(metadata: [String: String]) throws(DynaMoEError) {
    func strings(_ key: String) throws(DynaMoEError) -> [String]? {
      guard let text = metadata[key] else { return nil }
      let value: JSONValue
      do throws(JSONError) {
        value = try JSONParser.parse(text)
      } catch {
        throw .argument("\(key) in the metadata is not valid JSON: \(error.description)")
      }
      return try value.strings("\(key) in the metadata")
    }
    var targets = try strings(Key.targets)
    if let target = metadata[Key.target] { targets = [target] }
    self.init(
      classes: try strings(Key.classes), features: try strings(Key.features), targets: targets)
  }

  var metadata: [String: String] {
    func text(_ names: [String]) -> String { JSONValue.array(names.map(JSONValue.string)).text }
    var metadata: [String: String] = [:]
    if let classes { metadata[Key.classes] = text(classes) }
    if let features { metadata[Key.features] = text(features) }
    if let targets, targets.count == 1 {
      metadata[Key.target] = targets[0]
    } else if let targets {
      metadata[Key.targets] = text(targets)
    }
    return metadata
  }
}

extension Model {
  /// Keeps the words of the data; they change no result.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)`` when there is not one class name per output, or feature
  ///   name per input, for class names of a regression, and for several target names that are not
  ///   one per output of a regression.
  public func setNames(_ names: DataNames) throws(DynaMoEError) {
    try check(names)
    self.names = names
  }

  func check(_ names: DataNames) throws(DynaMoEError) {
    if let classes = names.classes {
      guard configuration.task != .regression else {
        throw .argument("class_names are given for a regression, allowed: models with classes")
      }
      guard classes.count == outputs else {
        throw .argument("class_names has \(classes.count) names, allowed: outputs = \(outputs)")
      }
    }
    if let features = names.features {
      guard let inputs = configuration.inputs else {
        throw .argument("feature_names are given to a model whose rows are token ids")
      }
      guard features.count == inputs else {
        throw .argument("feature_names has \(features.count) names, allowed: inputs = \(inputs)")
      }
    }
    if let targets = names.targets, targets.count != 1 {
      guard configuration.task == .regression, targets.count == outputs else {
        let allowed = configuration.task == .regression ? "one, or outputs = \(outputs)" : "one"
        throw .argument("target_names has \(targets.count) names, allowed: \(allowed)")
      }
    }
  }
}
