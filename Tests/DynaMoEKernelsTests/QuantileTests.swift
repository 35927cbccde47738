import Testing

@testable import DynaMoEKernels

@Suite struct QuantileTests {
  /// The definition, on sorted values.
  private func bySorting(_ values: [Float], _ q: Double) -> Double {
    let sorted = values.sorted()
    let position = q * Double(values.count - 1)
    if abs(position - position.rounded()) <= 1e-9 { return Double(sorted[Int(position.rounded())]) }
    let low = Int(position)
    let (a, b) = (Double(sorted[low]), Double(sorted[low + 1]))
    return a + (position - Double(low)) * (b - a)
  }

  private func bySelection(_ values: [Float], _ q: Double) -> Double {
    var scratch = values.map { _ in Float.nan }
    return quantile(values, values.count, q, scratch: &scratch)
  }

  @Test func equalsSorting() {
    var numbers = SeededNumbers(1)
    for n in [1, 2, 3, 5, 8, 9, 16, 17, 18, 40, 100, 1000, 5000] {
      var kinds = [numbers.floats(n), [Float](repeating: 0.25, count: n)]
      kinds.append((0..<n).map { _ in Float(numbers.below(4)) })
      kinds.append((0..<n).map { Float($0) })
      kinds.append((0..<n).map { Float(-$0) })
      kinds.append((0..<n).map { Float(min($0, n - $0)) })
      for values in kinds {
        for q in [0, 1e-12, 0.1, 0.25, 1.0 / 3, 0.5, 0.75, 0.9, 1 - 1e-12, 1] {
          #expect(bySelection(values, q) == bySorting(values, q), "\(n) values, q = \(q)")
        }
      }
    }
  }

  @Test func wholePositions() {
    #expect(bySelection([4, 1, 3, 2], 1.0 / 3) == 2)
    #expect(bySelection([4, 1, 3, 2], 0.5) == 2.5)
    // 0.7 · 10 is not 7 in binary, but within 1e-9 of it.
    #expect(bySelection((0...10).map { Float($0 * $0) }, 0.7) == 49)
  }

  @Test func oddArguments() {
    #expect(bySelection([1, 2, 3], -4) == 1)
    #expect(bySelection([1, 2, 3], 9) == 3)
    #expect(bySelection([1, 2, 3], .nan) == 1)
    var nothing: Float = 7
    #expect(quantile([], 0, 0.5, scratch: &nothing) == 0)
    _ = bySelection([Float](repeating: .nan, count: 100), 0.4)
    _ = bySelection((0..<100).map { $0 % 3 == 0 ? .nan : Float($0) }, 0.4)
  }
}
