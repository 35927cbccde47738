import Glibc

extension Reference {
  static func value(_ kind: Activation, _ x: Float) -> Float {
    let x64 = Double(x)
    switch kind {
    case .relu: return x > 0 ? x : (x.isNaN ? x : 0)
    case .gelu: return Float(x64 * normalCumulative(x64))
    case .geluTanh: return Float(0.5 * x64 * (1 + tanh(tanhArgument(x64))))
    case .silu: return Float(x64 * logistic(x64))
    }
  }

  static func derivative(_ kind: Activation, _ x: Float) -> Float {
    let x64 = Double(x)
    switch kind {
    case .relu: return x > 0 ? 1 : 0
    case .gelu:
      let density = exp(-0.5 * x64 * x64) / (2 * Double.pi).squareRoot()
      return Float(normalCumulative(x64) + x64 * density)
    case .geluTanh:
      let t = tanh(tanhArgument(x64))
      let slope = (2 / Double.pi).squareRoot() * (1 + 3 * 0.044715 * x64 * x64)
      return Float(0.5 * (1 + t) + 0.5 * x64 * (1 - t * t) * slope)
    case .silu:
      let s = logistic(x64)
      return Float(s * (1 + x64 * (1 - s)))
    }
  }

  private static func normalCumulative(_ x: Double) -> Double { 0.5 * erfc(-x / 2.0.squareRoot()) }

  private static func tanhArgument(_ x: Double) -> Double {
    (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)
  }

  private static func logistic(_ x: Double) -> Double { 1 / (1 + exp(-x)) }

  private static func kind(_ code: Int) -> Activation { Activation(rawValue: code) ?? .relu }

  static func activation(_ code: Int, _ x: P, into y: M, _ n: Int) {
    for i in 0..<n { y[i] = value(kind(code), x[i]) }
  }

  static func gated(_ code: Int, gate: P, _ x: P, into y: M, _ n: Int) {
    for i in 0..<n { y[i] = value(kind(code), gate[i]) * x[i] }
  }

  static func activationGradient(_ code: Int, _ c: P, _ x: P, into y: M, _ n: Int) {
    for i in 0..<n { y[i] = c[i] * derivative(kind(code), x[i]) }
  }

  static func gatedGradient(_ code: Int, _ c: P, gate: M, up: M, _ n: Int) {
    for i in 0..<n {
      let activated = value(kind(code), gate[i])
      gate[i] = c[i] * up[i] * derivative(kind(code), gate[i])
      up[i] = c[i] * activated
    }
  }
}
