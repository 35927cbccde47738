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
    #expect(model.outputs == 10 && model.activation == .gelu && model.norm == .layer)
    #expect(model.bias && model.residual && !model.tiedEmbedding && model.sharedExperts == 0)
    #expect(model.losses == LossConfiguration() && model.losses.sparsity == 1e-8)
    #expect(model.optimizer == (try OptimizerConfiguration().resolved()))
    #expect(model.optimizer.weightDecay == 0.01 && model.optimizer.beta2 == 0.999)
  }

  @Test func swiftAndJSONAgree() throws {
    let configuration = ModelConfiguration(
      task: .classification, inputs: 784, outputs: 10, width: 64,
      experts: .schedule(Schedule(.descending, minimum: 2, maximum: 8), layers: 4),
      router: .threshold(targetActive: 3))
    #expect(configuration == (try ModelConfiguration(json: Self.complete)))
    let again = try ModelConfiguration(json: configuration.json)
    #expect(try again.resolved() == configuration.resolved())
    #expect(again.json == configuration.json)
  }
}
