import Testing

@testable import DynaMoE

@Suite struct CheckpointFuzzTests {
  private func isAccepted(_ bytes: [UInt8]) -> Bool {
    bytes.withUnsafeBytes { buffer in
      guard let file = try? SafetensorsFile(bytes: buffer, name: "test") else { return false }
      for name in file.names {
        _ = try? file.byteArray(name)
        _ = try? file.floatArray(name)
      }
      return true
    }
  }

  private func file(_ header: String, dataSize: Int) -> [UInt8] {
    withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + Array(header.utf8)
      + Array(repeating: 0, count: dataSize)
  }

  /// Two tensors with random places: accepted exactly when both fit their shapes and together cover
  /// the data.
  @Test func randomLayouts() {
    let generator = Philox(key: 3)
    var accepted = 0
    for round in 0..<8000 {
      let a = generator.block(UInt32(round), 0, 0, 0)
      let b = generator.block(UInt32(round), 1, 0, 0)
      let dataSize = Int(a[0] % 5)
      let shapes = [Int(a[1] % 3), Int(a[2] % 3)]
      let begins = [Int(b[0] % 3), Int(b[1] % 3)]
      let isRandom = a[3] % 2 == 0
      let ends = (0..<2).map { begins[$0] + (isRandom ? Int(b[2 + $0] % 4) : shapes[$0]) }
      let header = (0..<2).map {
        "\"t\($0)\":{\"dtype\":\"U8\",\"shape\":[\(shapes[$0])],\"data_offsets\":[\(begins[$0]),\(ends[$0])]}"
      }.joined(separator: ",")
      let fits = (0..<2).allSatisfy { ends[$0] - begins[$0] == shapes[$0] && ends[$0] <= dataSize }
      let covered = (0..<2).flatMap { Array(begins[$0]..<ends[$0]) }.sorted()
      // An empty tensor has no byte, but must still stand at the border of another or of the data.
      let borders = (0..<2).allSatisfy { tensor in
        shapes[tensor] > 0 || begins[tensor] == 0 || begins[tensor] == dataSize
          || begins[tensor] == begins[1 - tensor] || begins[tensor] == ends[1 - tensor]
      }
      let expected = fits && covered == Array(0..<dataSize) && borders
      #expect(
        isAccepted(file("{\(header)}", dataSize: dataSize)) == expected, "{\(header)}, \(dataSize)")
      accepted += expected ? 1 : 0
    }
    #expect(accepted > 100)
  }

  /// Changed bytes anywhere: an answer or an error, never a trap.
  @Test func changedBytes() {
    let whole = file(
      "{\"__metadata__\":{\"a\":\"b\"},\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
      dataSize: 8)
    #expect(isAccepted(whole))
    let generator = Philox(key: 4)
    var accepted = 0
    for round in 0..<5000 {
      let words = generator.block(UInt32(round), 0, 0, 0)
      var bytes = whole
      bytes[Int(words[0]) % bytes.count] = UInt8(truncatingIfNeeded: words[1])
      if words[2] % 2 == 0 {
        bytes[Int(words[3]) % bytes.count] ^= UInt8(truncatingIfNeeded: words[2] >> 8)
      }
      accepted += isAccepted(bytes) ? 1 : 0
    }
    #expect(accepted > 100 && accepted < 2500, "\(accepted)")
  }
}
