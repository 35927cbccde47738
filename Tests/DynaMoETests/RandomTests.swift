import Testing

@testable import DynaMoE

@Suite struct RandomTests {
  /// The known answers that come with the generator (Salmon et al. 2011, Random123 kat_vectors).
  @Test func philoxKnownAnswers() {
    #expect(
      Philox(key: 0).block(0, 0, 0, 0)
        == SIMD4(0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8))
    #expect(
      Philox(key: .max).block(.max, .max, .max, .max)
        == SIMD4(0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD))
    #expect(
      Philox(key: 0x299F_31D0_A409_3822).block(0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344)
        == SIMD4(0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1))
  }

  /// FNV-1a of "", "a" and "foobar", from the algorithm's published test vectors.
  @Test func nameHashKnownAnswers() {
    #expect(Initialization.nameHash("") == 0xCBF2_9CE4_8422_2325)
    #expect(Initialization.nameHash("a") == 0xAF63_DC4C_8601_EC8C)
    #expect(Initialization.nameHash("foobar") == 0x8594_4171_F739_67E8)
  }

  private func uniform(_ count: Int, seed: UInt64 = 5, name: String = "w", bound: Float = 1)
    -> [Float]
  {
    [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
      let values = UnsafeMutableBufferPointer(rebasing: buffer[..<count])
      Initialization.uniform(seed: seed, name: name, bound: bound, into: values)
      initialized = count
    }
  }

  private func normal(_ count: Int, seed: UInt64 = 5, name: String = "w", scale: Float = 1)
    -> [Float]
  {
    [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
      let values = UnsafeMutableBufferPointer(rebasing: buffer[..<count])
      Initialization.normal(seed: seed, name: name, scale: scale, into: values)
      initialized = count
    }
  }

  private func noise(
    seed: UInt64 = 5, step: UInt64 = 3, layer: Int = 1, row: Int = 7, experts: Int = 8
  ) -> [Float] {
    [Float](unsafeUninitializedCapacity: experts) { buffer, initialized in
      if let values = buffer.baseAddress {
        RoutingNoise(seed: seed, step: step, layer: layer).fill(
          row: row, experts: experts, into: values)
      }
      initialized = experts
    }
  }

  /// Mean, variance, skewness and excess kurtosis.
  private func moments(_ values: [Float]) -> [Double] {
    let count = Double(values.count)
    let mean = values.reduce(0) { $0 + Double($1) } / count
    let central = [2, 3, 4].map { order in
      values.reduce(0.0) { sum, value in
        sum + (0..<order).reduce(1.0) { product, _ in product * (Double(value) - mean) }
      } / count
    }
    let variance = central[0]
    return [
      mean, variance, central[1] / (variance * variance.squareRoot()),
      central[2] / (variance * variance) - 3,
    ]
  }

  @Test func uniformMoments() {
    let moments = moments(uniform(200_000, bound: 2))
    #expect(abs(moments[0]) < 0.013, "mean")
    #expect(abs(moments[1] - 4.0 / 3) < 0.014, "variance")
    #expect(abs(moments[3] + 1.2) < 0.02, "kurtosis of a uniform")
  }

  /// The ends of the interval never occur, whatever the bound's rounding.
  @Test func uniformStaysInsideItsBounds() {
    for bound: Float in [1, 1.5, 1.999_999_9, 0.1, 1 / Float(3), 1 / Float(28), 3e-20] {
      let largest = Initialization.symmetric(.max, bound)
      #expect(largest < bound && largest > bound * 0.999_999_8)
      #expect(Initialization.symmetric(0, bound) == -largest)
      #expect(uniform(10_000, bound: bound).allSatisfy { abs($0) < bound })
    }
    #expect(uniform(5, bound: 0).allSatisfy { $0 == 0 })
  }

  @Test func normalMoments() {
    for moments in [
      moments(normal(200_000, scale: 1)), moments((0..<25_000).flatMap { noise(row: $0) }),
    ] {
      #expect(abs(moments[0]) < 0.01, "mean")
      #expect(abs(moments[1] - 1) < 0.014, "variance")
      #expect(abs(moments[2]) < 0.025, "skewness")
      #expect(abs(moments[3]) < 0.05, "kurtosis")
    }
    #expect(abs(moments(normal(100_000, scale: 0.02))[1].squareRoot() - 0.02) < 2e-4)
  }

  /// Both ends of the words give finite normals.
  @Test func normalsAreFinite() {
    for word: UInt32 in [0, 1, 1 << 31, .max] {
      let normals = standardNormals(SIMD4(repeating: word))
      for lane in 0..<4 { #expect(abs(normals[lane]) < 6.77) }
    }
  }

  /// A value depends on seed, name and index, not on how many there are.
  @Test func valuesDependOnSeedNameAndIndexOnly() {
    for draw in [
      { uniform($0, seed: $1, name: $2) }, { normal($0, seed: $1, name: $2) },
    ] as [(Int, UInt64, String) -> [Float]] {
      let long = draw(103, 5, "w")
      for count in [0, 1, 3, 4, 5, 64] { #expect(draw(count, 5, "w") == Array(long[..<count])) }
      #expect(draw(103, 6, "w") != long)
      #expect(draw(103, 5 | 1 << 40, "w") != long)
      #expect(draw(103, 5, "v") != long)
      #expect(Set(long).count > 100)
    }
  }

  @Test func noiseDependsOnEveryKey() {
    let base = noise(experts: 11)
    for experts in [0, 1, 2, 4, 7] { #expect(noise(experts: experts) == Array(base[..<experts])) }
    #expect(noise(seed: 6, experts: 11) != base)
    #expect(noise(step: 4, experts: 11) != base)
    #expect(noise(step: 3 | 1 << 40, experts: 11) != base)
    #expect(noise(layer: 2, experts: 11) != base)
    #expect(noise(row: 8, experts: 11) != base)
    #expect(noise(row: 7 | 1 << 40, experts: 11) != base)
    #expect(
      noise(seed: .max, step: .max, layer: .max, row: .max, experts: 3).allSatisfy { $0.isFinite })
    #expect(Set((0..<1000).flatMap { noise(row: $0) }).count > 7950, "values repeat")
  }

  /// Neighbouring rows, experts, steps and layers are uncorrelated.
  @Test func noiseIsUncorrelated() {
    func correlation(_ a: [Float], _ b: [Float]) -> Double {
      zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) } / Double(a.count)
    }
    let rows = (0..<20_000).map { noise(row: $0, experts: 4) }
    for shifted in [
      (1...20_000).map { noise(row: $0, experts: 4) },
      (0..<20_000).map { noise(step: 4, row: $0, experts: 4) },
      (0..<20_000).map { noise(layer: 2, row: $0, experts: 4) },
      rows.map { [$0[1], $0[2], $0[3], $0[0]] },
    ] {
      #expect(abs(correlation(rows.flatMap(\.self), shifted.flatMap(\.self))) < 0.018)
    }
  }

  /// The numbers are part of what a seed means: a saved experiment must be repeatable by later
  /// versions.
  @Test func valuesArePinned() {
    #expect(uniform(3, seed: 0, name: "input.weight") == [-0.7368249, -0.87824744, 0.49053198])
    #expect(normal(3, seed: 0, name: "embedding.weight") == [0.011672359, -1.9793789, -0.6721191])
    #expect(
      noise(seed: 0, step: 0, layer: 0, row: 0, experts: 3) == [-1.3071456, 0.6345312, 0.32617417])
  }
}
