import Foundation

extension NetworkDescription {
  /// The description of a golden case, its counts read from the shapes of its tensors.
  ///
  /// - Returns: nil if the case says something per layer that a description cannot.
  init?(_ golden: GoldenCase) throws {
    guard
      var object = try JSONSerialization.jsonObject(with: Data(golden.configuration.utf8))
        as? [String: Any]
    else { return nil }
    let layers = (0...).prefix { golden.shapes["layers.\($0).router.weight"] != nil }
    object["experts"] = layers.map { golden.shapes["layers.\($0).router.weight"]![0] }
    object["hidden"] = golden.shapes["layers.0.experts.up.weight"]![1]
    guard
      layers.allSatisfy({
        golden.shapes["layers.\($0).experts.up.weight"]![1] == object["hidden"] as? Int
      })
    else { return nil }
    if let router = object["router"] as? [String: Any] {
      if router["target_active"] is [String: Any] { return nil }
      object["router"] = layers.map { _ in router }
    }
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    self = try decoder.decode(
      NetworkDescription.self, from: JSONSerialization.data(withJSONObject: object))
  }
}
