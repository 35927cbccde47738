import CDynaMoEPlatform
import Testing

@testable import DynaMoEKernels

/// Products in bfloat16: the same bits at every level, whatever the numbers.
@Suite(.serialized) struct BFloat16Tests {
  static let shapes: [(sizes: [Int], outputs: Int, inputs: Int)] = [
    ([], 3, 4), ([0], 3, 4), ([0, 0, 5], 1, 1), ([1], 1, 7), ([1, 0, 2], 31, 33),
    ([7, 8, 9], 32, 16), ([6, 5, 0, 13], 65, 17), ([3, 1, 40], 17, 129), ([130], 33, 31),
    ([2], 300, 5), ([5], 0, 4), ([5], 4, 0), ([11], 9, 2100), ([140], 40, 2050), ([129, 1], 8, 16),
  ]

  /// Numbers that are asked for in one problem.
  enum Numbers: CaseIterable {
    /// Between -1 and 1.
    case plain
    /// Around 2⁻⁶³, whose products leave the normal range.
    case small
    /// f32 and bfloat16 below the normal range, and zeros of both signs.
    case subnormal
    /// Products and sums that overflow.
    case large
    /// Any bits that are a finite f32.
    case any

    func next(_ numbers: inout SeededNumbers) -> Float {
      let word = UInt32(truncatingIfNeeded: numbers.next() >> 16)
      let fraction = word & 0x807f_ffff
      func with(_ exponents: ClosedRange<UInt32>) -> Float {
        let count = exponents.upperBound - exponents.lowerBound + 1
        return Float(bitPattern: fraction | (exponents.lowerBound + (word >> 23) % count) << 23)
      }
      switch self {
      case .plain: return numbers.float()
      case .small: return with(58...66)
      case .subnormal:
        return [with(0...1), with(0...0), 0, -0.0, with(126...128)][numbers.below(5)]
      case .large: return numbers.below(8) == 0 ? with(180...254) : with(120...190)
      case .any: return with(0...254)
      }
    }

    func values(_ count: Int, _ seed: UInt64) -> [Float] {
      var numbers = SeededNumbers(seed)
      return (0..<count).map { _ in next(&numbers) }
    }
  }

  static func matrices(
    _ kernels: BFloat16Kernels, _ w: [Float], _ count: Int, _ outputs: Int, _ inputs: Int
  ) throws -> BFloat16Matrices {
    let matrices = try BFloat16Matrices(
      kernels: kernels, count: count, outputs: outputs, inputs: inputs, use: .products)
    w.withUnsafeBufferPointer { matrices.store($0, from: 0) }
    return matrices
  }

  /// Bits; of numbers that are none, that they are none.
  static func bits(_ x: [Float]) -> [UInt32] { x.map { $0.isNaN ? .max : $0.bitPattern } }

  static func product(
    _ kernels: BFloat16Kernels, _ problem: GroupedProblem, _ outputs: Int, _ inputs: Int,
    _ numbers: Numbers, gathered: Bool = true, biased: Bool = true, threads: Int = 2
  ) throws -> [UInt32] {
    let pool = WorkerPool.shared
    let before = pool.threadCount
    pool.threadCount = threads
    defer { pool.threadCount = before }
    let a = numbers.values(problem.sourceRows * inputs, 11)
    let bias = numbers.values(problem.count * outputs, 12)
    let w = numbers.values(problem.count * outputs * inputs, 13)
    let matrices = try matrices(kernels, w, problem.count, outputs, inputs)
    return bits(try run(problem, a, matrices, bias: biased ? bias : nil, gathered: gathered))
  }

  static func run(
    _ problem: GroupedProblem, _ a: [Float], _ matrices: BFloat16Matrices, bias: [Float]?,
    gathered: Bool = false
  ) throws -> [Float] {
    let backend = try Backend.select("baseline")
    var c = [Float](repeating: .nan, count: problem.rows * matrices.outputs)
    problem.withGroups(gathered: gathered) { groups in
      guard let bias else {
        return backend.product(groups, a, matrices, bias: nil, into: &c, epilogue: .none)
      }
      backend.product(groups, a, matrices, bias: bias, into: &c, epilogue: .none)
    }
    return c
  }

  @Test func levels() {
    let names = BFloat16Kernels.available.map(\.name)
    print("products in bfloat16 tested here: \(names.joined(separator: ", "))")
    #expect(names.last == "reference")
    #expect(names.contains("baseline") == dynamoe_flushes_denormals())
    let fastest = dynamoe_cpu_has_fast_avx512bf16() ? "v4bfloat16" : "v4"
    if Backend.cpuFeatures.contains("avx512bf16") {
      #expect(names.first == fastest && names.contains("v4bfloat16"))
    }
    #expect(BFloat16Kernels.matching("openblas").name == names[0])
    for name in ["v3", "baseline", "reference"] where names.contains(name) {
      #expect(BFloat16Kernels.matching(name).name == name)
    }
    if available("v4") { #expect(BFloat16Kernels.matching("v4").name == names[0]) }
  }

  @Test(arguments: BFloat16Kernels.available.dropLast().map(\.name), Numbers.allCases)
  func sameBits(level: String, numbers: Numbers) throws {
    let kernels = try #require(BFloat16Kernels.available.first { $0.name == level })
    for (sizes, outputs, inputs) in Self.shapes {
      let problem = GroupedProblem(sizes)
      for (gathered, biased) in [(false, false), (true, true)] {
        func result(_ kernels: BFloat16Kernels) throws -> [UInt32] {
          try Self.product(
            kernels, problem, outputs, inputs, numbers, gathered: gathered, biased: biased)
        }
        let isEqual = try result(kernels) == result(.reference)
        #expect(isEqual, "\(sizes), \(outputs) outputs, \(inputs) inputs")
      }
    }
  }

  /// The reference itself: near the sums in f64 of the rounded numbers.
  @Test(arguments: shapes.indices)
  func referenceIsNear(shape: Int) throws {
    let (sizes, outputs, inputs) = Self.shapes[shape]
    let problem = GroupedProblem(sizes)
    let a = Numbers.plain.values(problem.sourceRows * inputs, 11).map(BFloat16.rounded)
    let bias = Numbers.plain.values(problem.count * outputs, 12)
    let w = Numbers.plain.values(problem.count * outputs * inputs, 13).map(BFloat16.rounded)
    var expected = [Double]()
    for row in 0..<problem.rows {
      let (group, source) = (problem.group(of: row), Int(problem.gather[row]))
      for o in 0..<outputs {
        var sum = Double(bias[group * outputs + o])
        for k in 0..<inputs {
          sum += Double(a[source * inputs + k]) * Double(w[(group * outputs + o) * inputs + k])
        }
        expected.append(sum)
      }
    }
    let found = try Self.product(.reference, problem, outputs, inputs, .plain)
    #expect(worstError(found.map(Float.init(bitPattern:)), expected, terms: inputs) < 1)
  }

  /// Sums that begin just above the least normal number and are moved around it by products far below it.
  @Test(arguments: BFloat16Kernels.available.dropLast().map(\.name))
  func leastNormalNumber(level: String) throws {
    let kernels = try #require(BFloat16Kernels.available.first { $0.name == level })
    var numbers = SeededNumbers(17)
    let (rows, outputs) = (64, 64)
    let bias = (0..<outputs).map { Float(bitPattern: 0x0080_0000 + UInt32($0 % 5)) }
    // Products of -2⁻¹⁵² to 2⁻¹⁴⁶.
    let a = (0..<2 * rows).map { _ in numbers.float() * 0x1p-40 }
    let w = (0..<2 * outputs).map { _ in numbers.float() * 0x1p-108 }
    func result(_ kernels: BFloat16Kernels) throws -> [Float] {
      let matrices = try Self.matrices(kernels, w, 1, outputs, 2)
      return try Self.run(GroupedProblem([rows]), a, matrices, bias: bias)
    }
    let (found, expected) = (try result(kernels), try result(.reference))
    let isEqual = Self.bits(found) == Self.bits(expected)
    #expect(isEqual)
    let hasBoth = expected.contains(0) && expected.contains(.leastNormalMagnitude)
    #expect(hasBoth)
    let isFlushed = expected.allSatisfy { !$0.isSubnormal }
    #expect(isFlushed)
  }

  /// A row times 1: what it is rounded to.
  @Test(arguments: BFloat16Kernels.available.map(\.name))
  func rounding(level: String) throws {
    let kernels = try #require(BFloat16Kernels.available.first { $0.name == level })
    let rounded: [(UInt32, UInt32)] = [
      (0x3f80_8000, 0x3f80_0000), (0x3f81_8000, 0x3f82_0000), (0x3f80_8001, 0x3f81_0000),
      (0x3f80_7fff, 0x3f80_0000), (0xbf81_8000, 0xbf82_0000), (0x3fff_8000, 0x4000_0000),
      (0x7f7f_7fff, 0x7f7f_0000), (0x7f7f_8000, 0x7f80_0000), (0xff7f_ffff, 0xff80_0000),
      (0x0080_0000, 0x0080_0000), (0x007f_ffff, 0), (0x807f_ffff, 0), (0x0000_0001, 0), (0, 0),
    ]
    let a = rounded.map { Float(bitPattern: $0.0) }
    let matrices = try Self.matrices(kernels, [1], 1, 1, 1)
    let c = try Self.run(GroupedProblem([a.count]), a, matrices, bias: nil)
    #expect(c.map(\.bitPattern) == rounded.map { $0.1 })
  }

  @Test(arguments: BFloat16Kernels.available.map(\.name))
  func anyThreadCountAndBatch(level: String) throws {
    let kernels = try #require(BFloat16Kernels.available.first { $0.name == level })
    let problem = GroupedProblem([9, 17, 150])
    let all = try Self.product(kernels, problem, 75, 1301, .plain, gathered: false, threads: 1)
    for threads in [2, 3] {
      let other = try Self.product(
        kernels, problem, 75, 1301, .plain, gathered: false, threads: threads)
      let isEqual = other == all
      #expect(isEqual)
    }
    // The last group alone, and parts of it.
    let a = Numbers.plain.values(problem.sourceRows * 1301, 11)
    let bias = Numbers.plain.values(problem.count * 75, 12)
    let w = Numbers.plain.values(problem.count * 75 * 1301, 13)
    let matrices = try Self.matrices(kernels, Array(w[(2 * 75 * 1301)...]), 1, 75, 1301)
    for (first, rows) in [(26, 1), (175, 1), (30, 2), (33, 5), (40, 8), (41, 13), (100, 70)] {
      let c = try Self.run(
        GroupedProblem([rows]), Array(a[(first * 1301)...]), matrices, bias: Array(bias[150...]))
      let isEqual = Self.bits(c) == Array(all[(first * 75)..<((first + rows) * 75)])
      #expect(isEqual, "rows \(first) to \(first + rows)")
    }
  }

  /// The mode of the processor in which products run ends with them.
  @Test(arguments: BFloat16Kernels.available.map(\.name))
  func floatModeIsRestored(level: String) throws {
    let kernels = try #require(BFloat16Kernels.available.first { $0.name == level })
    _ = try Self.product(kernels, GroupedProblem([200]), 200, 40, .plain, threads: 1)
    // The factor is not known when this is compiled.
    let small = Float.leastNormalMagnitude * Float.random(in: 0.4...0.5)
    #expect(small.isSubnormal)
  }

  /// A processor whose instruction adds the first product first would not be trusted.
  @Test func otherOrderIsNoticed() {
    #expect(BFloat16Kernels.agreesWithReference(.baseline))
    var swapped = BFloat16Kernels.reference
    swapped.productTile = {
      rows, columns, inner, a, gather, words, first, bias, c, stride, scratch, bytes in
      let x = (0..<rows * inner).map { a[$0 ^ 1] }
      let w = (0..<columns * inner / 2).map { words[$0] << 16 | words[$0] >> 16 }
      Reference.bfloat16Product(
        rows: rows, columns: columns, inner: inner, a: x, gather: gather, weights: w,
        firstColumn: first, bias: bias, c: c, cStride: stride, scratch: scratch,
        scratchBytes: bytes)
    }
    #expect(!BFloat16Kernels.agreesWithReference(swapped))
  }

  /// What is stored in parts comes back in parts, rounded.
  @Test(arguments: [BFloat16Matrices.Use.products, .rows], [(3, 33, 7), (1, 64, 8), (2, 1, 1)])
  func storedValues(use: BFloat16Matrices.Use, shape: (Int, Int, Int)) throws {
    let matrices = try BFloat16Matrices(
      kernels: .reference, count: shape.0, outputs: shape.1, inputs: shape.2, use: use)
    let values = Numbers.any.values(matrices.elements, 4)
    var first = 0
    var numbers = SeededNumbers(2)
    while first < values.count {
      let count = min(values.count - first, 1 + numbers.below(20))
      values.withUnsafeBufferPointer {
        matrices.store(.init(rebasing: $0[first..<first + count]), from: first)
      }
      first += count
    }
    let expected = values.map { BFloat16.rounded($0).bitPattern }
    for (start, count) in [(0, values.count), (values.count / 2, values.count - values.count / 2)] {
      var copy = [Float](repeating: .nan, count: count)
      copy.withUnsafeMutableBufferPointer { matrices.copy(from: start, into: $0) }
      #expect(copy.map(\.bitPattern) == Array(expected[start..<start + count]))
    }
  }

  @Test func refusedSizes() throws {
    for (count, outputs, inputs) in [(1 << 40, 1 << 20, 1 << 10), (-1, 2, 2), (1, 1, Int.max)] {
      #expect(throws: AllocationError.self) {
        _ = try BFloat16Matrices(
          kernels: .reference, count: count, outputs: outputs, inputs: inputs, use: .products)
      }
    }
  }
}
