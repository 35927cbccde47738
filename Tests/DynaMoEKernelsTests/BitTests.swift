import Testing

@testable import DynaMoEKernels

/// What has to be the same to the last bit.
@Suite(.serialized) struct BitTests {
  /// Everything that a backend computes from a problem.
  struct Results: Equatable {
    var product: [UInt32]
    var transposed: [UInt32]
    var gradient: [UInt32]
    var bias: [UInt32]
  }

  static func results(
    _ level: String, _ problem: GroupedProblem, _ outputs: Int, _ inputs: Int, threads: Int
  ) throws -> Results {
    let backend = try Backend.select(level)
    let before = backend.pool.threadCount
    backend.pool.threadCount = threads
    defer { backend.pool.threadCount = before }
    var numbers = SeededNumbers(21)
    let w = numbers.floats(problem.count * outputs * inputs)
    let bias = numbers.floats(problem.count * outputs)
    let x = numbers.floats(problem.sourceRows * inputs)
    let dy = numbers.floats(problem.rows * outputs)
    var c = [Float](repeating: 0, count: problem.rows * outputs)
    var h = c
    var dx = [Float](repeating: 0, count: problem.rows * inputs)
    var dW = [Float](repeating: 0, count: w.count)
    var dBias = [Float](repeating: 0, count: bias.count)
    let matrices = try MatrixGroup(
      backend: backend, values: w, count: problem.count, outputs: outputs, inputs: inputs)
    withExtendedLifetime(w) {
      h.withUnsafeMutableBufferPointer { h in
        problem.withGroups(gathered: true) { groups in
          backend.product(
            groups, x, matrices, bias: bias, into: &c,
            epilogue: .activation(.gelu, into: h.baseAddress!))
          backend.transposedProduct(
            groups, dy, matrices, into: &dx, accumulate: false)
          backend.gradientProduct(
            groups, dy, outputs: outputs, x, inputs: inputs, into: &dW, bias: &dBias,
            accumulate: false)
        }
      }
    }
    return Results(
      product: bits(c) + bits(h), transposed: bits(dx), gradient: bits(dW), bias: bits(dBias))
  }

  static let shapes: [(sizes: [Int], outputs: Int, inputs: Int)] = [
    ([1], 33, 70), ([3, 0, 90], 64, 48), ([9, 17, 150], 131, 1100), ([70], 5, 3), ([257], 40, 300),
  ]

  @Test(arguments: availableLevels + ["reference"], shapes.indices)
  func anyThreadCount(level: String, shape: Int) throws {
    let (sizes, outputs, inputs) = Self.shapes[shape]
    let problem = GroupedProblem(sizes)
    let one = try Self.results(level, problem, outputs, inputs, threads: 1)
    for threads in [2, 3] {
      #expect(try Self.results(level, problem, outputs, inputs, threads: threads) == one)
    }
  }

  @Test(arguments: shapes.indices)
  func v3EqualsV4(shape: Int) throws {
    guard available("v3"), available("v4") else { return }
    let (sizes, outputs, inputs) = Self.shapes[shape]
    let problem = GroupedProblem(sizes)
    #expect(
      try Self.results("v3", problem, outputs, inputs, threads: 2)
        == Self.results("v4", problem, outputs, inputs, threads: 2))
  }

  /// A row alone and in batches of many sizes, at several places.
  @Test(arguments: availableLevels + ["reference"])
  func anyBatch(level: String) throws {
    let backend = try Backend.select(level)
    let (outputs, inputs) = (75, 1200)
    var numbers = SeededNumbers(5)
    let w = numbers.floats(outputs * inputs)
    let bias = numbers.floats(outputs)
    let x = numbers.floats(300 * inputs)
    let dy = numbers.floats(300 * outputs)
    let matrices = try MatrixGroup(
      backend: backend, values: w, count: 1, outputs: outputs, inputs: inputs)
    func run(_ first: Int, _ rows: Int) -> ([UInt32], [UInt32]) {
      var c = [Float](repeating: 0, count: rows * outputs)
      var dx = [Float](repeating: 0, count: rows * inputs)
      let offsets: [Int32] = [0, Int32(rows)]
      offsets.withUnsafeBufferPointer { offsets in
        let groups = RowGroups(count: 1, offsets: offsets.baseAddress!)
        x.withUnsafeBufferPointer { x in
          backend.product(
            groups, x.baseAddress! + first * inputs, matrices, bias: bias, into: &c,
            epilogue: .none)
        }
        dy.withUnsafeBufferPointer { dy in
          backend.transposedProduct(
            groups, dy.baseAddress! + first * outputs, matrices, into: &dx, accumulate: false)
        }
      }
      return (bits(c), bits(dx))
    }
    withExtendedLifetime((w, bias)) {
      let (all, allTransposed) = run(0, 300)
      for (first, rows) in [
        (0, 1), (299, 1), (7, 2), (3, 5), (10, 8), (11, 13), (0, 64), (100, 33),
      ] {
        let (part, partTransposed) = run(first, rows)
        #expect(part == Array(all[(first * outputs)..<((first + rows) * outputs)]))
        #expect(
          partTransposed == Array(allTransposed[(first * inputs)..<((first + rows) * inputs)]))
      }
    }
  }

  @Test func rowPrimitivesV3EqualsV4() throws {
    guard available("v3"), available("v4") else { return }
    let levels = [try Backend.select("v3"), try Backend.select("v4")]
    for n in [1, 5, 15, 16, 17, 63, 64, 65, 200, 1000] {
      let both = levels.map { RowResults($0, n).values.map(\.bitPattern) }
      #expect(both[0] == both[1], "\(n) elements")
    }
  }

  /// An element's activation does not depend on where in a vector it stands.
  @Test(arguments: availableLevels)
  func anyPlace(level: String) throws {
    let table = try Backend.select(level).table
    var numbers = SeededNumbers(3)
    let x = numbers.floats(100).map { 6 * $0 }
    for kind in Activation.allCases {
      var whole = x
      table.activation(kind.rawValue, x, &whole, x.count)
      for i in x.indices {
        var one: Float = 0
        table.activation(kind.rawValue, [x[i]], &one, 1)
        #expect(one.bitPattern == whole[i].bitPattern)
      }
    }
  }
}
