import Testing

@testable import DynaMoEKernels

/// Results of every operation on rows of one length, one behind the other.
struct RowResults {
  var values: [Float] = []

  init(_ backend: Backend, _ n: Int) {
    var numbers = SeededNumbers(UInt64(n + 40))
    let (x, y) = (numbers.floats(n).map { 3 * $0 }, numbers.floats(n))
    let (weight, bias) = (numbers.floats(n), numbers.floats(n))
    var out = y
    var normalised = y
    func keep() {
      values += out
      out = y
    }
    values.append(backend.dot(x, y, n))
    backend.add(x, to: &out, n)
    keep()
    backend.addScaled(x, by: 0.3, to: &out, n)
    keep()
    backend.scale(x, by: -1.7, into: &out, n)
    keep()
    values.append(backend.softmax(x, n, inverseTemperature: 2, into: &out))
    keep()
    let layer = backend.layerNorm(x, n, weight: weight, bias: bias, into: &out)
    values += [layer.mean, layer.rstd]
    keep()
    backend.layerNormGradient(
      y, x, n, weight: weight, mean: layer.mean, rstd: layer.rstd, into: &out,
      normalised: &normalised)
    values += normalised
    keep()
    let rstd = backend.rmsNorm(x, n, weight: weight, into: &out)
    values.append(rstd)
    keep()
    backend.rmsNormGradient(
      y, x, n, weight: weight, rstd: rstd, into: &out, normalised: &normalised)
    values += normalised
    keep()
    values.append(Float(backend.sumOfSquares(x, n)))
    optimizers(backend, n, x, y)
  }

  private mutating func optimizers(_ backend: Backend, _ n: Int, _ x: [Float], _ y: [Float]) {
    let squares = y.map { $0 * $0 }
    values += stepped([x, y, squares]) { p in
      var adamw = AdamWStep(lr: 0.01, step: 3)
      adamw.gradientScale = 0.5
      backend.step(.adamw(p[0], p[1], p[2], adamw), y, count: n)
    }
    for nesterov in [false, true] {
      for first in [false, true] {
        values += stepped([x, y]) { p in
          let sgd = SGDStep(
            lr: 0.1, momentum: 0.9, decay: 0.02, nesterov: nesterov, first: first,
            gradientScale: 0.7)
          backend.step(.sgd(p[0], momentum: p[1], sgd), y, count: n)
        }
      }
    }
    values += stepped([x]) { p in
      backend.step(.sgd(p[0], momentum: nil, SGDStep(lr: 0.1, decay: 0.02)), y, count: n)
    }
    for columns in [1, n] where n % columns == 0 {
      var sums = [Float](repeating: 0.5, count: columns)
      backend.addColumnSums(x, times: nil, rows: n / columns, columns: columns, to: &sums)
      backend.addColumnSums(x, times: y, rows: n / columns, columns: columns, to: &sums)
      values += sums
    }
  }
}

/// The arrays after `step` with pointers to copies of them.
private func stepped(
  _ arrays: [[Float]], _ step: ([UnsafeMutablePointer<Float>]) -> Void
) -> [Float] {
  let copies = arrays.map { array in
    let copy = UnsafeMutableBufferPointer<Float>.allocate(capacity: array.count)
    _ = copy.initialize(from: array)
    return copy
  }
  defer { for copy in copies { copy.deallocate() } }
  step(copies.map { $0.baseAddress! })
  return copies.flatMap { Array($0) }
}

@Suite struct RowTests {
  static let lengths = [1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 1001]

  @Test(arguments: availableLevels, lengths)
  func equalsReference(level: String, n: Int) throws {
    let tuned = RowResults(try Backend.select(level), n).values
    let plain = RowResults(try Backend.select("reference"), n).values
    #expect(worstError(tuned, plain.map(Double.init), terms: n) < 4)
  }

  @Test(arguments: availableLevels + ["reference"])
  func activations(level: String) throws {
    let table = try Backend.select(level).table
    var x: [Float] = [0, -0.0, 1e-30, -1e-30, 50, -50, 200, -200, 1e20, -1e20]
    for i in -2000...2000 { x.append(Float(i) / 150) }
    for kind in Activation.allCases {
      var value = x
      table.activation(kind.rawValue, x, &value, x.count)
      var slope = x
      table.activationGradient(
        kind.rawValue, [Float](repeating: 1, count: x.count), x, &slope, x.count)
      var worst: Float = 0
      for (i, element) in x.enumerated() {
        let scale = max(1, abs(element))
        worst = max(worst, abs(value[i] - Reference.value(kind, element)) / scale)
        worst = max(worst, abs(slope[i] - Reference.derivative(kind, element)))
      }
      #expect(worst < 1e-6, "\(kind)")
    }
  }

  @Test(arguments: availableLevels)
  func exponential(level: String) throws {
    let table = try Backend.select(level).table
    var x: [Float] = []
    for i in -87_000...88_000 where i % 3 == 0 { x.append(Float(i) / 1000) }
    var y = x
    table.exponential(x, &y, x.count)
    var worst = 0.0
    for (element, result) in zip(x, y) {
      let exact = exact(exponentialOf: Double(element))
      worst = max(worst, abs(Double(result) - exact) / Double(Float(exact).ulp))
    }
    #expect(worst < 1.5)
    var special: [Float] = [-.infinity, -200, 0, .nan]
    table.exponential(special, &special, 4)
    #expect(special[0] == 0 && special[1] == 0 && special[2] == 1 && special[3].isNaN)
  }

  /// Σ xⁿ/n! of x/1024, squared ten times, so that no library decides.
  private func exact(exponentialOf x: Double) -> Double {
    let small = x / 1024
    var (sum, term) = (1.0, 1.0)
    for n in 1...18 {
      term *= small / Double(n)
      sum += term
    }
    for _ in 0..<10 { sum *= sum }
    return sum
  }

  @Test(arguments: availableLevels + ["reference"])
  func softmax(level: String) throws {
    let backend = try Backend.select(level)
    for n in [1, 3, 8, 16, 50, 257] {
      var numbers = SeededNumbers(UInt64(n))
      var z = numbers.floats(n).map { 100 * $0 }
      if n > 2 { z[1] = -.infinity }
      var s = z
      let total = backend.softmax(s, n, inverseTemperature: 0.5, into: &s)
      #expect(abs(s.reduce(0, +) - 1) < 1e-5)
      #expect(n <= 2 || s[1] == 0)
      let top = z.map { 0.5 * Double($0) }.max()!
      #expect(Double(total) >= top - 1e-4 && Double(total) <= top + 7)
      z[0] = .nan
      _ = backend.softmax(z, n, inverseTemperature: 1, into: &s)
      #expect(s.allSatisfy { $0.isNaN })
    }
  }

  @Test(arguments: availableLevels + ["reference"])
  func epilogues(level: String) throws {
    let backend = try Backend.select(level)
    let problem = GroupedProblem([5, 0, 37, 1])
    let (outputs, inputs) = (45, 19)
    var numbers = SeededNumbers(2)
    let w = numbers.floats(problem.count * outputs * inputs)
    let a = numbers.floats(problem.rows * inputs)
    let gate = numbers.floats(problem.rows * outputs)
    let matrices = try MatrixGroup(
      backend: backend, values: w, count: problem.count, outputs: outputs, inputs: inputs)
    var bits: UInt32 = 0
    func run(_ epilogue: Epilogue, keeping: Bool = true) -> [Float] {
      var c = [Float](repeating: .nan, count: problem.rows * outputs)
      bits = 0
      withUnsafeMutablePointer(to: &bits) { bits in
        c.withUnsafeMutableBufferPointer { c in
          problem.withGroups(gathered: false) {
            backend.product(
              $0, a, matrices, bias: nil, into: keeping ? c.baseAddress : nil, epilogue: epilogue,
              largest: LargestMagnitude(bits))
          }
        }
      }
      return c
    }
    func largest(_ values: [Float]) -> UInt32 {
      values.reduce(0) { max($0, $1.magnitude.bitPattern) }
    }
    withExtendedLifetime(w) {
      let plain = run(.none)
      for kind in Activation.allCases {
        let value = { Double(Reference.value(kind, $0)) }
        var other = plain
        let activated = other.withUnsafeMutableBufferPointer {
          run(.activation(kind, into: $0.baseAddress!))
        }
        #expect(activated == plain)
        #expect(worstError(other, plain.map(value), terms: 1) < 1)
        #expect(bits == largest(other))
        var alone = [Float](repeating: .nan, count: plain.count)
        let untouched = alone.withUnsafeMutableBufferPointer {
          run(.activation(kind, into: $0.baseAddress!), keeping: false)
        }
        #expect(alone == other)
        #expect(untouched.allSatisfy { $0.isNaN })
        let gated = other.withUnsafeMutableBufferPointer { other in
          gate.withUnsafeBufferPointer {
            run(.gated(kind, gate: $0.baseAddress!, into: other.baseAddress!))
          }
        }
        #expect(gated == plain)
        #expect(bits == largest(other))
        #expect(worstError(other, zip(gate, plain).map { value($0) * Double($1) }, terms: 1) < 1)
      }
    }
  }

  @Test(arguments: availableLevels + ["reference"], Activation.allCases)
  func gradientsThroughActivations(level: String, kind: Activation) throws {
    let backend = try Backend.select(level)
    let problem = GroupedProblem([5, 0, 37, 1, 300])
    let (outputs, inputs) = (19, 279)
    var numbers = SeededNumbers(2)
    let w = numbers.floats(problem.count * outputs * inputs)
    let dy = numbers.floats(problem.rows * outputs)
    let gate = numbers.floats(problem.rows * inputs)
    let up = numbers.floats(problem.rows * inputs)
    let matrices = try MatrixGroup(
      backend: backend, values: w, count: problem.count, outputs: outputs, inputs: inputs)
    withExtendedLifetime(w) {
      problem.withGroups(gathered: false) { groups in
        var plain = [Float](repeating: .nan, count: problem.rows * inputs)
        backend.transposedProduct(groups, dy, matrices, into: &plain, accumulate: false)
        let value = { Double(Reference.value(kind, $0)) }
        let slope = { Double(Reference.derivative(kind, $0)) }
        var x = gate
        var bits: UInt32 = 0
        func run(_ activation: ActivationGradient) {
          bits = 0
          withUnsafeMutablePointer(to: &bits) {
            backend.transposedProduct(
              groups, dy, matrices, through: activation, largest: LargestMagnitude($0))
          }
        }
        func largest(_ values: [Float]) -> UInt32 {
          values.reduce(0) { max($0, $1.magnitude.bitPattern) }
        }
        x.withUnsafeMutableBufferPointer {
          run(.plain(kind, of: $0.baseAddress!, into: $0.baseAddress!))
        }
        #expect(worstError(x, zip(gate, plain).map { slope($0) * Double($1) }, terms: 1) < 1)
        #expect(bits == largest(x))
        if kind.hasDerivativeOfValue {
          let activated = gate.map { Reference.value(kind, $0) }
          var other = [Float](repeating: .nan, count: x.count)
          activated.withUnsafeBufferPointer { activated in
            other.withUnsafeMutableBufferPointer {
              run(.plain(kind, of: activated.baseAddress!, into: $0.baseAddress!))
            }
          }
          #expect(other == x)
        }
        var (g, u) = (gate, up)
        g.withUnsafeMutableBufferPointer { g in
          u.withUnsafeMutableBufferPointer { u in
            run(.gated(kind, gate: g.baseAddress!, up: u.baseAddress!))
          }
        }
        #expect(bits == max(largest(g), largest(u)))
        #expect(worstError(u, zip(gate, plain).map { value($0) * Double($1) }, terms: 1) < 1)
        let expected = plain.indices.map { Double(plain[$0]) * Double(up[$0]) * slope(gate[$0]) }
        #expect(worstError(g, expected, terms: 1) < 1)
      }
    }
  }

  /// Without gradients the moments fall below the normal range, where arithmetic takes many times as long; there they are 0.
  @Test(arguments: availableLevels + ["reference"])
  func momentsBelowTheNormalRange(level: String) throws {
    let backend = try Backend.select(level)
    let n = 37
    let tiny = Float.leastNormalMagnitude
    var w = [Float](repeating: 1, count: n)
    var m = [Float](repeating: tiny, count: n)
    var v = m
    let gradient = [Float](repeating: 0, count: n)
    w.withUnsafeMutableBufferPointer { w in
      m.withUnsafeMutableBufferPointer { m in
        v.withUnsafeMutableBufferPointer { v in
          let step = AdamWStep(lr: 0.1, decay: 0, step: 5)
          backend.step(
            .adamw(w.baseAddress!, m.baseAddress!, v.baseAddress!, step), gradient, count: n)
        }
      }
    }
    #expect(m.allSatisfy { $0 == 0 } && v.allSatisfy { $0 == 0 })
    #expect(w.allSatisfy { $0 == 1 })
    #expect(tiny / 2 > 0, "the mode of the caller is as before")
  }

  @Test(arguments: availableLevels + ["reference"])
  func arrays(level: String) throws {
    let backend = try Backend.select(level)
    for n in [0, 1, 17, 40_000, 100_003] {
      var numbers = SeededNumbers(UInt64(n))
      var x = numbers.floats(n)
      #expect(backend.isFinite(x, n))
      #expect(backend.largestMagnitude(x, n) == x.map(\.magnitude).max() ?? 0)
      let exact = x.reduce(0) { $0 + Double($1) * Double($1) }
      #expect(abs(backend.sumOfSquares(x, n) - exact) <= 1e-10 * exact)
      for bad in [Float.nan, .infinity, -.infinity] where n > 0 {
        let place = n - 1 - n / 3
        let good = x[place]
        x[place] = bad
        #expect(!backend.isFinite(x, n))
        #expect(backend.largestMagnitude(x, n) == .infinity)
        x[place] = good
      }
      let doubled = x.map { 2 * $0 }
      backend.scale(&x, by: 2, count: n)
      #expect(x == doubled)
      backend.fill(&x, with: 3, count: n)
      #expect(x.allSatisfy { $0 == 3 })
    }
    var huge: [Float] = [1e30, 1e30]
    #expect(backend.sumOfSquares(&huge, 2).isFinite)
  }
}
