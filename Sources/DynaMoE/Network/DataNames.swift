/// The words of the data that a model was trained on; saved with it. All may be absent.
public struct DataNames: Equatable, Sendable {
  /// Of each class, in the order of the outputs.
  public var classes: [String]?
  /// Of each feature, in the order of the inputs.
  public var features: [String]?
  /// Of what is predicted.
  public var target: String?

  /// What is nil has no name.
  public init(classes: [String]? = nil, features: [String]? = nil, target: String? = nil) {
    self.classes = classes
    self.features = features
    self.target = target
  }
}

extension DataNames {
  private enum Key {
    static let classes = "class_names"
    static let features = "feature_names"
    static let target = "target_name"
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
    self.init(
      classes: try strings(Key.classes), features: try strings(Key.features),
      target: metadata[Key.target])
  }

  var metadata: [String: String] {
    func text(_ names: [String]) -> String { JSONValue.array(names.map(JSONValue.string)).text }
    var metadata: [String: String] = [:]
    if let classes { metadata[Key.classes] = text(classes) }
    if let features { metadata[Key.features] = text(features) }
    if let target { metadata[Key.target] = target }
    return metadata
  }
}

extension Model {
  /// Keeps the words of the data; they change no result.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)`` when there is not one class name per output, or feature
  ///   name per input, and for class names of a regression.
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
  }
}
