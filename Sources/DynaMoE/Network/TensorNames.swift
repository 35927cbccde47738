/// The names and shapes of all tensors: the one place that spells them.
///
/// D width, N experts of a layer, H hidden, J shared experts, C outputs. Weights are `[out, in]` as
/// in `torch.nn.Linear`.
enum TensorNames {
  static func parameters(of model: ResolvedModel) -> [TensorSpecification] {
    let width = model.width
    var tensors: [TensorSpecification] = []
    if let inputs = model.inputs {
      tensors.append(weight("input.weight", [width, inputs], inputs: inputs))
      if model.bias {
        tensors.append(.init("input.bias", [width], .uniform(inputs: inputs)))
      }
    } else if let vocabulary = model.vocabulary {
      tensors.append(
        .init(
          "embedding.weight", [vocabulary, width], .normal(scale: 0.02), decays: true,
          isRounded: true))
    }
    for (index, layer) in model.layers.enumerated() {
      let prefix = layerPrefix(index)
      tensors += norm(prefix + "norm", model.norm, width: width)
      tensors += layerParameters(
        layer, width: width, sharedExperts: model.sharedExperts, activation: model.activation,
        bias: model.bias, prefix: prefix)
    }
    tensors += norm("norm", model.norm, width: width)
    if !model.tiedEmbedding {
      tensors.append(weight("head.weight", [model.outputs, width], inputs: width))
    }
    if model.bias {
      tensors.append(.init("head.bias", [model.outputs], .uniform(inputs: width)))
    }
    return tensors
  }

  static func buffers(of model: ResolvedModel) -> [TensorSpecification] {
    model.layers.enumerated().flatMap { index, layer in
      layerBuffers(layer, prefix: layerPrefix(index))
    }
  }

  static func layerPrefix(_ index: Int) -> String { "layers.\(index)." }

  static func layerParameters(
    _ layer: ResolvedLayer, width: Int, sharedExperts: Int, activation: Activation, bias: Bool,
    prefix: String
  ) -> [TensorSpecification] {
    // In full precision: rounded, it would send one row in some hundred elsewhere and save nothing.
    var tensors: [TensorSpecification] = [
      .init(
        prefix + "router.weight", [layer.experts, width], .uniform(inputs: width), decays: true)
    ]
    if layer.router.kind == .topAny {
      tensors.append(.init(prefix + "router.gates", [layer.experts], .constant(0)))
    }
    tensors += bank(
      prefix + "experts.", count: layer.experts, width: width, hidden: layer.hidden,
      activation: activation, bias: bias)
    if sharedExperts > 0 {
      tensors += bank(
        prefix + "shared.", count: sharedExperts, width: width, hidden: layer.hidden,
        activation: activation, bias: bias)
    }
    return tensors
  }

  static func layerBuffers(_ layer: ResolvedLayer, prefix: String) -> [TensorSpecification] {
    let router = layer.router
    var tensors: [TensorSpecification] = []
    switch router.kind {
    case .threshold:
      tensors.append(.init(prefix + "router.threshold", [1], .constant(0)))
    case .expertThreshold:
      tensors.append(.init(prefix + "router.expert_thresholds", [layer.experts], .constant(0)))
    default: break
    }
    if router.balanceRate > 0 {
      tensors.append(.init(prefix + "router.bias", [layer.experts], .constant(0)))
    }
    if router.hasControl {
      tensors.append(.init(prefix + "router.control", [4], .constant(0)))
    }
    return tensors
  }

  private static func weight(_ name: String, _ shape: [Int], inputs: Int) -> TensorSpecification {
    .init(name, shape, .uniform(inputs: inputs), decays: true, isRounded: true)
  }

  private static func norm(_ name: String, _ norm: Norm, width: Int) -> [TensorSpecification] {
    switch norm {
    case .none: []
    case .rms: [.init(name + ".weight", [width], .constant(1))]
    case .layer:
      [
        .init(name + ".weight", [width], .constant(1)),
        .init(name + ".bias", [width], .constant(0)),
      ]
    }
  }

  private static func bank(
    _ prefix: String, count: Int, width: Int, hidden: Int, activation: Activation, bias: Bool
  ) -> [TensorSpecification] {
    var tensors: [TensorSpecification] = []
    func matrix(_ name: String, _ outputs: Int, _ inputs: Int) {
      tensors.append(weight(prefix + name + ".weight", [count, outputs, inputs], inputs: inputs))
      if bias {
        tensors.append(.init(prefix + name + ".bias", [count, outputs], .uniform(inputs: inputs)))
      }
    }
    matrix("up", hidden, width)
    if activation.isGated { matrix("gate", hidden, width) }
    matrix("down", width, hidden)
    return tensors
  }
}

extension ResolvedRouter {
  /// Whether the router keeps the buffer `control`: value, previous error, updates so far, 0.
  var hasControl: Bool {
    switch kind {
    case .threshold, .expertThreshold: true
    case .relu, .topP: targetActive != nil
    case .percentile, .topK, .topAny, .dense: false
    }
  }
}
