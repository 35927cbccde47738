import Testing

/// The double-precision reference itself against golden cases, without the engine.
@Suite struct ReferenceTests {
  @Test(arguments: GoldenCase.names)
  func agreesWithTheRepositorysCases(_ name: String) throws {
    let description = try check(try GoldenCase(named: name))
    #expect(description != nil)
  }

  @Test(
    .enabled(if: !FixtureFolder.names.isEmpty, "no golden cases; DYNAMOE_FIXTURES names a folder"),
    arguments: FixtureFolder.names.filter { $0 != "larger" })
  func agreesWithTheFolders(_ name: String) throws {
    try check(GoldenCase(TensorFile(path: FixtureFolder.path + "/\(name).safetensors")))
  }

  @discardableResult
  private func check(_ golden: GoldenCase) throws -> NetworkDescription? {
    guard let description = try NetworkDescription(golden) else { return nil }
    let state = golden.floats.filter {
      !$0.key.hasPrefix("expected.") && $0.key != "x" && $0.key != "targets"
    }.mapValues(\.doubles)
    let isBuffer = { (name: String) in
      ["threshold", "expert_thresholds", "control", "router.bias"].contains {
        name.hasSuffix("router.\($0)") || name.hasSuffix($0)
      }
    }
    var network = ReferenceNetwork(
      description: description, parameters: state.filter { !isBuffer($0.key) },
      buffers: state.filter { isBuffer($0.key) })
    let input: ReferenceInput
    if let x = golden.floats["x"] {
      let shape = golden.shapes["x"]!
      input = .features(Matrix(shape[0], shape[1], x.doubles))
    } else {
      input = .tokens(golden.integers["ids"]!.map(Int.init))
    }
    let goals =
      golden.floats["targets"].map(Goals.values) ?? .classes(golden.integers["targets"]!)
    func expected(_ name: String) -> [Double] { golden.floats["expected.\(name)"]?.doubles ?? [] }

    let run = network.forward(input, training: true)
    func floats(_ values: [Double]) -> [Float] { values.map { Float($0) } }
    #expect(mismatch("logits", floats(run.logits.values), expected("logits")) == nil)
    let losses = ReferenceLosses(run, goals, description)
    #expect(mismatch("loss", floats([losses.total]), expected("loss")) == nil)
    #expect(mismatch("task", floats([losses.task]), expected("task_loss")) == nil)
    #expect(
      mismatch("aux", floats(run.layers.flatMap(\.auxiliary.list)), expected("aux")) == nil)
    for (l, layer) in run.layers.enumerated() {
      #expect(layer.routing.active == golden.flags["expected.layers.\(l).active"])
      #expect(
        mismatch(
          "weights \(l)", floats(layer.routing.weights.values), expected("layers.\(l).weights"))
          == nil)
      network.frozen.append(
        FrozenRouting(
          active: layer.routing.active, straightThroughOrigin: layer.routing.excess))
    }
    // Zero rows of the router put every score of `ties` on the kink of the relu.
    if description.router.contains(where: { $0.kind == "relu" }), description.optimizer?.lr == 0 {
      return description
    }
    for (name, values) in state where golden.floats["expected.grad.\(name)"] != nil {
      // A sample of each tensor is enough to tell the formulas apart.
      let sample = Array(stride(from: 0, to: values.count, by: max(1, values.count / 16)))
      var varied = network
      let found = centralDifferences(sample.map { values[$0] }) { point in
        for (i, value) in zip(sample, point) { varied.parameters[name]![i] = value }
        return ReferenceLosses(
          varied.forward(input, training: true), goals, description
        ).total
      }
      let wanted = sample.map { expected("grad.\(name)")[$0] }
      #expect(gradientMismatch(name, floats(found), wanted) == nil)
    }
    return description
  }
}
