import Foundation

/// The input of a network, features in double precision so that they can be varied.
enum ReferenceInput {
  case features(Matrix)
  case tokens([Int])

  var rows: Int {
    switch self {
    case .features(let x): x.rows
    case .tokens(let ids): ids.count
    }
  }
}

/// Unscaled auxiliary losses of one layer.
struct ReferenceAuxiliary {
  var balance = 0.0
  var z = 0.0
  var entropy = 0.0
  var sparsity = 0.0
  /// λ of this layer.
  var sparsityCoefficient = 0.0

  var list: [Double] { [balance, z, entropy, sparsity] }
}

struct ReferenceLayerRun {
  var output: Matrix
  var routing: ReferenceRouting
  var auxiliary: ReferenceAuxiliary
}

/// One layer of the mathematics page, §2 to §4, in obvious double-precision loops. It shares no
/// code with the engine.
struct ReferenceLayer {
  var settings: LayerSettings
  var prefix: String
  /// What an expert's matrices are multiplied with is rounded to bfloat16 first.
  var rounds = false

  func run(
    _ x: Matrix, parameters: [String: [Double]], buffers: [String: [Double]], training: Bool,
    frozen: FrozenRouting
  ) -> ReferenceLayerRun {
    let n = settings.experts
    func parameter(_ name: String) -> [Double] { parameters[prefix + name] ?? [] }
    func buffer(_ name: String) -> [Double]? { buffers[prefix + "router." + name] }
    let control = buffer("control")?[0]
    let router = ReferenceRouter(
      settings: settings.router, weight: Matrix(n, x.columns, parameter("router.weight")),
      gates: parameter("router.gates"), bias: buffer("bias") ?? Array(repeating: 0, count: n),
      stored: buffer("threshold") ?? buffer("expert_thresholds") ?? [],
      control: settings.router.targetActive == nil ? nil : control)
    let routing = router.route(x, training: training, frozen: frozen)

    var output = Matrix(x.rows, x.columns)
    for t in 0..<x.rows {
      for e in 0..<n where routing.active[t * n + e] {
        add(x.row(t), "experts", e, parameters, scale: routing.weights[t, e], to: &output, t)
      }
      for j in 0..<settings.sharedExperts {
        add(x.row(t), "shared", j, parameters, scale: 1, to: &output, t)
      }
    }
    var auxiliary = auxiliaryLosses(routing)
    if settings.router.kind == "relu", settings.router.targetActive != nil {
      auxiliary.sparsityCoefficient = control ?? settings.losses.sparsity ?? 1e-8
    }
    return ReferenceLayerRun(output: output, routing: routing, auxiliary: auxiliary)
  }

  /// output[t] += scale · E_index(x)
  private func add(
    _ x: ArraySlice<Double>, _ group: String, _ index: Int, _ parameters: [String: [Double]],
    scale: Double, to output: inout Matrix, _ t: Int
  ) {
    let h = settings.hidden
    let d = settings.width
    func projection(_ name: String, _ input: ArraySlice<Double>, _ outputs: Int) -> [Double] {
      let weight = parameters["\(prefix)\(group).\(name).weight"]!
      let bias = parameters["\(prefix)\(group).\(name).bias"]
      return (0..<outputs).map { o in
        var sum = bias?[index * outputs + o] ?? 0
        let start = (index * outputs + o) * input.count
        for (i, value) in input.enumerated() {
          sum += weight[start + i] * (rounds ? nearestBFloat16(value) : value)
        }
        return sum
      }
    }
    let up = projection("up", x, h)
    let inner: [Double]
    if settings.isGated {
      inner = zip(projection("gate", x, h), up).map { activate($0) * $1 }
    } else {
      inner = up.map(activate)
    }
    for (i, value) in projection("down", inner[...], d).enumerated() {
      output[t, i] += scale * value
    }
  }

  private func activate(_ a: Double) -> Double {
    switch settings.activation {
    case "relu": max(0, a)
    case "silu", "swiglu": a / (1 + exp(-a))
    case "gelu_tanh":
      0.5 * a * (1 + tanh((2 / Double.pi).squareRoot() * (a + 0.044715 * a * a * a)))
    default: 0.5 * a * (1 + erf(a / 2.0.squareRoot()))
    }
  }

  private func auxiliaryLosses(_ routing: ReferenceRouting) -> ReferenceAuxiliary {
    let n = settings.experts
    let rows = Double(routing.z.rows)
    let counts = routing.counts.map(Double.init)
    let total = counts.reduce(0, +)
    var result = ReferenceAuxiliary()
    for e in 0..<n {
      let share = total == 0 ? 0 : counts[e] / total
      var mean = 0.0
      for t in 0..<routing.z.rows { mean += routing.lossScores[t, e] / rows }
      result.balance += Double(n) * share * mean
    }
    for t in 0..<routing.z.rows {
      let logarithm = referenceLogSumExp(routing.z.row(t))
      result.z += logarithm * logarithm / rows
      for s in routing.lossScores.row(t) where s > 0 { result.entropy -= s * log(s) / rows }
    }
    if settings.router.kind == "relu", let target = settings.router.targetActive {
      for e in 0..<n {
        var weight = 0.0
        for t in 0..<routing.z.rows { weight += routing.weights[t, e] }
        result.sparsity += Double(n) / (target * rows * rows) * counts[e] * weight
      }
    }
    return result
  }
}

struct ReferenceRun {
  var logits: Matrix
  var layers: [ReferenceLayerRun]
}

/// The network of the mathematics page, §1, in double precision.
struct ReferenceNetwork {
  var description: NetworkDescription
  var parameters: [String: [Double]]
  var buffers: [String: [Double]]
  /// Per layer; empty: nothing is frozen.
  var frozen: [FrozenRouting] = []
  /// What the matrices but those of routers are multiplied with is rounded to bfloat16 first.
  var rounds = false

  func forward(_ input: ReferenceInput, training: Bool) -> ReferenceRun {
    let width = description.width
    var h: Matrix
    switch input {
    case .features(let x): h = linear(x, "input", width)
    case .tokens(let ids):
      h = Matrix(ids.count, width)
      let table = parameters["embedding.weight"]!
      for (t, id) in ids.enumerated() {
        for d in 0..<width { h[t, d] = table[id * width + d] }
      }
    }
    var layers: [ReferenceLayerRun] = []
    for l in description.experts.indices {
      let layer = ReferenceLayer(
        settings: LayerSettings(description, layer: l), prefix: "layers.\(l).", rounds: rounds)
      let run = layer.run(
        normalise(h, "layers.\(l).norm"), parameters: parameters, buffers: buffers,
        training: training, frozen: frozen.isEmpty ? FrozenRouting() : frozen[l])
      if description.residual ?? true {
        for i in h.values.indices { h.values[i] += run.output.values[i] }
      } else {
        h = run.output
      }
      layers.append(run)
    }
    let tied = description.tiedEmbedding ?? false
    let logits = linear(
      normalise(h, "norm"), "head", description.outputCount,
      weight: tied ? parameters["embedding.weight"]! : nil)
    return ReferenceRun(logits: logits, layers: layers)
  }

  private func linear(_ x: Matrix, _ name: String, _ outputs: Int, weight: [Double]? = nil)
    -> Matrix
  {
    let weight = weight ?? parameters["\(name).weight"]!
    let bias = parameters["\(name).bias"]
    var y = Matrix(x.rows, outputs)
    for t in 0..<x.rows {
      for o in 0..<outputs {
        var sum = bias?[o] ?? 0
        for i in 0..<x.columns {
          sum += weight[o * x.columns + i] * (rounds ? nearestBFloat16(x[t, i]) : x[t, i])
        }
        y[t, o] = sum
      }
    }
    return y
  }

  private func normalise(_ x: Matrix, _ name: String) -> Matrix {
    let kind = description.norm ?? "layer"
    if kind == "none" { return x }
    let weight = parameters["\(name).weight"]!
    let bias = parameters["\(name).bias"]
    var y = x
    let width = Double(x.columns)
    for t in 0..<x.rows {
      let mean = kind == "layer" ? x.row(t).reduce(0, +) / width : 0
      let square = x.row(t).reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / width
      let deviation = (square + (kind == "layer" ? 1e-5 : 1e-6)).squareRoot()
      for d in 0..<x.columns {
        y[t, d] = (x[t, d] - mean) / deviation * weight[d] + (kind == "layer" ? bias![d] : 0)
      }
    }
    return y
  }
}

/// The nearest number of 8 bits of precision, halves to even.
func nearestBFloat16(_ x: Double) -> Double {
  guard x != 0 else { return x }
  let step = Double(sign: .plus, exponent: x.exponent - 7, significand: 1)
  return (x / step).rounded(.toNearestOrEven) * step
}

/// Targets of a batch.
enum Goals: Sendable {
  case classes([Int32])
  case values([Float])
}

struct ReferenceLosses {
  var task = 0.0
  var balance = 0.0
  var z = 0.0
  var entropy = 0.0
  var sparsity = 0.0
  var total: Double { task + balance + z + entropy + sparsity }

  /// Weighted auxiliary losses summed over layers.
  init(layers: [ReferenceLayerRun], _ coefficients: NetworkDescription.Losses?) {
    for layer in layers {
      balance += (coefficients?.balance ?? 0) * layer.auxiliary.balance
      z += (coefficients?.z ?? 0) * layer.auxiliary.z
      entropy += (coefficients?.entropy ?? 0) * layer.auxiliary.entropy
      sparsity += layer.auxiliary.sparsityCoefficient * layer.auxiliary.sparsity
    }
  }

  init(
    _ run: ReferenceRun, _ goals: Goals, _ description: NetworkDescription,
    sampleWeight: [Float]? = nil
  ) {
    self.init(layers: run.layers, description.losses)
    let logits = run.logits
    var sum = 0.0
    var weight = 0.0
    for t in 0..<logits.rows {
      let w = Double(sampleWeight?[t] ?? 1)
      switch goals {
      case .classes(let classes):
        if classes[t] < 0 { continue }
        sum += w * (referenceLogSumExp(logits.row(t)) - logits[t, Int(classes[t])])
      case .values(let values):
        for c in 0..<logits.columns {
          let error = logits[t, c] - Double(values[t * logits.columns + c])
          sum += w * error * error / Double(logits.columns)
        }
      }
      weight += w
    }
    task = weight == 0 ? 0 : sum / weight
  }
}
