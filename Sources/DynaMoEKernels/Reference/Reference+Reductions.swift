extension Reference {
  static func isFinite(_ x: P, _ n: Int) -> Bool {
    for i in 0..<n where !x[i].isFinite { return false }
    return true
  }

  static func largestMagnitude(_ x: P, _ n: Int) -> Float {
    var largest: UInt32 = 0
    for i in 0..<n { largest = max(largest, x[i].magnitude.bitPattern) }
    return Float(bitPattern: largest)
  }

  static func sumOfSquares(_ x: P, _ n: Int) -> Double {
    var sum = 0.0
    for i in 0..<n { sum += Double(x[i]) * Double(x[i]) }
    return sum
  }
}
