import Testing

@testable import DynaMoEKernels

/// The three grouped products against sums in f64, for every level of this machine.
@Suite struct ProductTests {
  static let levels: [String] =
    ["reference", "openblas"].filter { available($0) } + availableLevels
  /// Groups of no, one and about six to eight rows; columns of one panel ± 1 and of two, sums of nothing and of one.
  static let edges: [(sizes: [Int], outputs: Int, inputs: Int)] =
    [1, 31, 32, 33, 63, 64, 65].flatMap { many in
      [0, 1].flatMap { few in
        [([0, 1, 5, 6, 7, 8, 9], many, few), ([9, 8, 7, 6, 1, 0], few, many)]
      }
    }
  static let shapes: [(sizes: [Int], outputs: Int, inputs: Int)] =
    edges + [
      ([], 3, 4), ([0], 3, 4), ([0, 0, 5], 1, 1), ([1], 1, 7), ([1, 0, 2], 31, 33),
      ([7, 8, 9], 32, 16), ([6, 5, 0, 13], 65, 17), ([3, 1, 40], 17, 129), ([130], 33, 31),
      ([2], 300, 5), ([5], 0, 4), ([5], 4, 0), ([11], 9, 2100), ([129, 1], 8, 16),
      ([13, 4], 100, 2100), ([14, 3], 300, 130), ([200], 130, 100),
    ]

  @Test(arguments: levels, shapes.indices)
  func product(level: String, shape: Int) throws {
    let (sizes, outputs, inputs) = Self.shapes[shape]
    let backend = try Backend.select(level)
    for gathered in [false, true] {
      for biased in [false, true] {
        let problem = GroupedProblem(sizes)
        var numbers = SeededNumbers(7)
        let a = numbers.floats(problem.sourceRows * inputs)
        let w = numbers.floats(problem.count * outputs * inputs)
        let bias = numbers.floats(problem.count * outputs)
        var c = [Float](repeating: .nan, count: problem.rows * outputs)
        let matrices = try MatrixGroup(
          backend: backend, values: w, count: problem.count, outputs: outputs, inputs: inputs)
        withExtendedLifetime((w, a, bias)) {
          problem.withGroups(gathered: gathered) { groups in
            backend.product(
              groups, a, matrices, bias: biased ? bias : nil, into: &c, epilogue: .none)
          }
        }
        var expected = [Double]()
        for row in 0..<problem.rows {
          let group = problem.group(of: row)
          let source = gathered ? Int(problem.gather[row]) : row
          for o in 0..<outputs {
            var sum = biased ? Double(bias[group * outputs + o]) : 0
            for k in 0..<inputs {
              sum += Double(a[source * inputs + k]) * Double(w[(group * outputs + o) * inputs + k])
            }
            expected.append(sum)
          }
        }
        #expect(worstError(c, expected, terms: inputs) < 1)
      }
    }
  }

  @Test(arguments: levels, shapes.indices)
  func transposedProduct(level: String, shape: Int) throws {
    let (sizes, outputs, inputs) = Self.shapes[shape]
    let backend = try Backend.select(level)
    for accumulate in [false, true] {
      let problem = GroupedProblem(sizes)
      var numbers = SeededNumbers(8)
      let a = numbers.floats(max(1, problem.rows * outputs))
      let w = numbers.floats(problem.count * outputs * inputs)
      let start = numbers.floats(problem.rows * inputs)
      var c = accumulate ? start : [Float](repeating: .nan, count: start.count)
      let matrices = try MatrixGroup(
        backend: backend, values: w, count: problem.count, outputs: outputs, inputs: inputs)
      withExtendedLifetime((w, a)) {
        problem.withGroups(gathered: true) { groups in
          backend.transposedProduct(groups, a, matrices, into: &c, accumulate: accumulate)
        }
      }
      var expected = [Double]()
      for row in 0..<problem.rows {
        let group = problem.group(of: row)
        for i in 0..<inputs {
          var sum = accumulate ? Double(start[row * inputs + i]) : 0
          for o in 0..<outputs {
            sum += Double(a[row * outputs + o]) * Double(w[(group * outputs + o) * inputs + i])
          }
          expected.append(sum)
        }
      }
      #expect(worstError(c, expected, terms: outputs) < 1)
    }
  }

  @Test(arguments: levels, shapes.indices)
  func gradientProduct(level: String, shape: Int) throws {
    let (sizes, outputs, inputs) = Self.shapes[shape]
    let backend = try Backend.select(level)
    for gathered in [false, true] {
      for accumulate in [false, true] {
        let problem = GroupedProblem(sizes)
        var numbers = SeededNumbers(9)
        let a = numbers.floats(max(1, problem.rows * outputs))
        let b = numbers.floats(problem.sourceRows * inputs)
        let start = numbers.floats(problem.count * outputs * inputs)
        let startBias = numbers.floats(problem.count * outputs)
        var dW = accumulate ? start : [Float](repeating: .nan, count: start.count)
        var dBias = accumulate ? startBias : [Float](repeating: .nan, count: startBias.count)
        problem.withGroups(gathered: gathered) { groups in
          backend.gradientProduct(
            groups, a, outputs: outputs, b, inputs: inputs, into: &dW, bias: &dBias,
            accumulate: accumulate)
        }
        var expected = start.map { accumulate ? Double($0) : 0 }
        var expectedBias = startBias.map { accumulate ? Double($0) : 0 }
        for row in 0..<problem.rows {
          let group = problem.group(of: row)
          let source = gathered ? Int(problem.gather[row]) : row
          for o in 0..<outputs {
            let value = Double(a[row * outputs + o])
            expectedBias[group * outputs + o] += value
            for i in 0..<inputs {
              expected[(group * outputs + o) * inputs + i] += value * Double(b[source * inputs + i])
            }
          }
        }
        #expect(worstError(dW, expected, terms: problem.rows) < 1)
        #expect(worstError(dBias, expectedBias, terms: problem.rows) < 1)
      }
    }
  }

  /// The product and the step in one against one after the other: weights, state, bias and the
  /// packed copy, bit for bit.
  @Test(arguments: levels, shapes.indices)
  func gradientStep(level: String, shape: Int) throws {
    let (sizes, outputs, inputs) = Self.shapes[shape]
    guard outputs * inputs > 0 else { return }
    let backend = try Backend.select(level)
    for gathered in [false, true] {
      for isAdamW in [false, true] {
        let problem = GroupedProblem(sizes)
        let count = problem.count * outputs * inputs
        var numbers = SeededNumbers(10)
        let a = numbers.floats(max(1, problem.rows * outputs))
        let b = numbers.floats(problem.sourceRows * inputs)
        let start = numbers.floats(count)
        let apart = try Weights(start, problem.count * outputs)
        let together = try Weights(start, problem.count * outputs)
        let separate = try apart.matrices(backend, problem.count, outputs, inputs)
        let joint = try together.matrices(backend, problem.count, outputs, inputs)
        var dW = [Float](repeating: .nan, count: count)
        problem.withGroups(gathered: gathered) { groups in
          backend.gradientProduct(
            groups, a, outputs: outputs, b, inputs: inputs, into: &dW, bias: apart.bias,
            accumulate: false)
          backend.step(apart.step(isAdamW), dW, count: count)
          backend.gradientStep(
            groups, a, b, joint, bias: together.bias, together.step(isAdamW))
        }
        separate.invalidate()
        #expect(together.values == apart.values)
        #expect(count == 0 || Array(together.values.prefix(count)) != start)
        var products: [[Float]] = []
        for matrices in [separate, joint] {
          var c = [Float](repeating: .nan, count: problem.rows * outputs)
          problem.withGroups(gathered: true) { groups in
            backend.product(groups, b, matrices, bias: nil, into: &c, epilogue: .none)
          }
          products.append(c)
        }
        withExtendedLifetime((apart, together)) { #expect(products[0] == products[1]) }
      }
    }
  }
}

/// Weights, the state of an optimizer and the gradient of a bias, in memory that stays where it is.
private final class Weights {
  private let count: Int
  private let outputs: Int
  private let memory: Buffer<Float>

  init(_ values: [Float], _ outputs: Int) throws {
    count = values.count
    self.outputs = outputs
    memory = try Buffer(zeroed: 3 * values.count + outputs)
    for (i, value) in values.enumerated() {
      memory.base[i] = value
      memory.base[count + i] = value / 3
      memory.base[2 * count + i] = value * value
    }
  }

  private func part(_ index: Int) -> UnsafeMutablePointer<Float> { memory.base + index * count }

  var bias: UnsafeMutablePointer<Float> { part(3) }

  var values: [Float] { Array(UnsafeBufferPointer(start: memory.base, count: memory.capacity)) }

  func matrices(
    _ backend: Backend, _ count: Int, _ outputs: Int, _ inputs: Int
  ) throws -> MatrixGroup {
    try MatrixGroup(
      backend: backend, values: part(0), count: count, outputs: outputs, inputs: inputs)
  }

  func step(_ isAdamW: Bool) -> ParameterStep {
    isAdamW
      ? .adamw(part(0), part(1), part(2), AdamWStep(lr: 0.01, step: 3))
      : .sgd(part(0), momentum: part(1), SGDStep(lr: 0.1, momentum: 0.9, decay: 0.01))
  }
}
