extension Reference {
  static func dot(_ a: P, _ b: P, _ n: Int) -> Float {
    var sum: Float = 0
    for i in 0..<n { sum += a[i] * b[i] }
    return sum
  }

  static func add(_ x: P, to y: M, _ n: Int) {
    for i in 0..<n { y[i] += x[i] }
  }

  static func addScaled(_ x: P, by s: Float, to y: M, _ n: Int) {
    for i in 0..<n { y[i] += s * x[i] }
  }

  static func scale(_ x: P, by s: Float, into y: M, _ n: Int) {
    for i in 0..<n { y[i] = s * x[i] }
  }
}
