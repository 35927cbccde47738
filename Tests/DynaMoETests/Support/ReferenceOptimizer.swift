import Foundation

/// The formulas of `torch.optim.AdamW` and `torch.optim.SGD` in double precision.
struct ReferenceOptimizer {
  var settings: NetworkDescription.Optimizer
  var parameters: [String: [Double]]
  private(set) var steps = 0
  private var first: [String: [Double]] = [:]
  private var second: [String: [Double]] = [:]

  init(_ settings: NetworkDescription.Optimizer, parameters: [String: [Double]]) {
    self.settings = settings
    self.parameters = parameters
  }

  private var isAdamW: Bool { (settings.kind ?? "adamw") == "adamw" }

  private func decay(_ name: String) -> Double {
    let decays =
      settings.decayAll ?? false || name.hasSuffix(".weight") && !name.hasSuffix("norm.weight")
    return decays ? settings.weightDecay ?? (isAdamW ? 0.01 : 0) : 0
  }

  static func learningRate(_ settings: NetworkDescription.Optimizer, step: Int) -> Double {
    let lr = settings.lr ?? 1e-3
    let warmup = settings.warmup ?? 0
    if step <= warmup { return lr * Double(step) / Double(warmup) }
    guard let total = settings.total else { return lr }
    let floor = settings.floor ?? 0
    let share = min(1, Double(step - warmup) / Double(total - warmup))
    return lr * (floor + (1 - floor) * (1 + cos(.pi * share)) / 2)
  }

  mutating func step(_ gradients: [String: [Double]], learningRate: Double? = nil) {
    steps += 1
    let lr = learningRate ?? Self.learningRate(settings, step: steps)
    let square = gradients.values.reduce(0) { $0 + $1.reduce(0) { $0 + $1 * $1 } }
    let scale = settings.clip.map { min(1, $0 / (square.squareRoot() + 1e-6)) } ?? 1
    for (name, gradient) in gradients {
      let gradient = gradient.map { $0 * scale }
      if isAdamW {
        adamw(name, gradient, lr)
      } else {
        sgd(name, gradient, lr)
      }
    }
  }

  private mutating func adamw(_ name: String, _ gradient: [Double], _ lr: Double) {
    let beta1 = settings.betas?[0] ?? 0.9
    let beta2 = settings.betas?[1] ?? 0.999
    var w = parameters[name]!
    var m = first[name] ?? Array(repeating: 0, count: w.count)
    var v = second[name] ?? Array(repeating: 0, count: w.count)
    let correction1 = 1 - pow(beta1, Double(steps))
    let correction2 = 1 - pow(beta2, Double(steps))
    for (i, g) in gradient.enumerated() {
      w[i] *= 1 - lr * decay(name)
      m[i] = beta1 * m[i] + (1 - beta1) * g
      v[i] = beta2 * v[i] + (1 - beta2) * g * g
      let denominator = v[i].squareRoot() / correction2.squareRoot() + (settings.eps ?? 1e-8)
      w[i] -= lr / correction1 * m[i] / denominator
    }
    parameters[name] = w
    first[name] = m
    second[name] = v
  }

  private mutating func sgd(_ name: String, _ gradient: [Double], _ lr: Double) {
    let momentum = settings.momentum ?? 0
    var w = parameters[name]!
    var buffer = first[name]
    for (i, g) in gradient.enumerated() {
      let decayed = g + decay(name) * w[i]
      var direction = decayed
      if momentum > 0 {
        let kept = steps == 1 ? decayed : momentum * buffer![i] + decayed
        if steps == 1 && buffer == nil { buffer = Array(repeating: 0, count: w.count) }
        buffer![i] = kept
        direction = settings.nesterov ?? false ? decayed + momentum * kept : kept
      }
      w[i] -= lr * direction
    }
    parameters[name] = w
    first[name] = buffer
  }
}
