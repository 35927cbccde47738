import Glibc
import Testing

@testable import DynaMoEKernels

@Suite struct BackendTests {
  @Test func names() throws {
    for name in Backend.names where available(name) {
      #expect(try Backend.select(name).name == name)
    }
    #expect(try Backend.select(nil).name == Backend.select(nil).name)
    #if arch(x86_64)
      #expect(Backend.cpuFeatures.contains("sse2"))
    #endif
  }

  /// The kernels of a processor without tuned ones.
  @Test func portableDefault() throws {
    #expect(Backend.preferred(isTuned: true).name == Backend.names.first { available($0) })
    let portable = Backend.preferred(isTuned: false).name
    #expect(portable == (available("openblas") ? "openblas" : availableLevels[0]))
  }

  @Test(arguments: ["", "V4", "avx512", "mkl", "v5"])
  func unknownName(_ name: String) {
    do throws(BackendError) {
      _ = try Backend.select(name)
      Issue.record("\"\(name)\" was accepted")
    } catch {
      #expect(error.description.contains("\"\(name)\""))
      #expect(error.description.contains("baseline, reference, openblas"))
    }
  }

  @Test func refusedMemory() throws {
    #expect(throws: AllocationError(bytes: .max)) { _ = try Buffer<Float>(zeroed: .max) }
    #expect(throws: AllocationError(bytes: .max)) { _ = try Buffer<Float>(uninitialized: -1) }
    #expect(throws: AllocationError(bytes: 1 << 50)) {
      _ = try Buffer<UInt8>(uninitialized: 1 << 50)
    }
    var buffer = try Buffer<Float>(zeroed: 100_000)
    #expect((0..<100_000).allSatisfy { buffer.base[$0] == 0 })
    #expect(UInt(bitPattern: buffer.base) % 64 == 0)
    buffer.base[0] = 5
    do throws(AllocationError) {
      try buffer.reserve(1 << 60)
      Issue.record("an impossible size was accepted")
    } catch {
      #expect(buffer.capacity == 100_000 && buffer.base[0] == 5)
    }
    try buffer.reserve(5)
    #expect(buffer.capacity == 100_000)
    try buffer.reserve(200_000)
    #expect(buffer.capacity == 200_000)
    #expect(Buffer<Float>().capacity == 0)
  }

  @Test func zeroedMemoryIsZero() throws {
    // Freed and taken again, so that it is not fresh from the system.
    for count in [1, 10, 5000, 70_000, 300_001] {
      for _ in 0..<3 {
        let buffer = try Buffer<UInt8>(zeroed: count)
        #expect((0..<count).allSatisfy { buffer.base[$0] == 0 })
        memset(buffer.base, 255, count)
      }
    }
  }

  @Test func refusedMatrices() throws {
    let backend = try Backend.select("baseline")
    let one: [Float] = [1]
    for (count, outputs, inputs) in [
      (1 << 40, 1 << 20, 1 << 10), (-1, 2, 2), (1, 1 << 30, 1 << 20),
    ] {
      #expect(throws: AllocationError.self) {
        _ = try MatrixGroup(
          backend: backend, values: one, count: count, outputs: outputs, inputs: inputs)
      }
    }
  }

  @Test(arguments: availableLevels + ["reference"])
  func changedWeights(level: String) throws {
    let backend = try Backend.select(level)
    var w: [Float] = [1, 2, 3]
    let offsets: [Int32] = [0, 1]
    var c: Float = 0
    try w.withUnsafeMutableBufferPointer { w in
      try offsets.withUnsafeBufferPointer { offsets in
        let groups = RowGroups(count: 1, offsets: offsets.baseAddress!)
        let matrix = try MatrixGroup(
          backend: backend, values: w.baseAddress!, count: 1, outputs: 1, inputs: 3)
        backend.product(groups, [1, 1, 1], matrix, bias: nil, into: &c, epilogue: .none)
        #expect(c == 6)
        w[0] = 10
        matrix.invalidate()
        backend.product(groups, [1, 1, 1], matrix, bias: nil, into: &c, epilogue: .none)
        #expect(c == 15)
      }
    }
  }
}
