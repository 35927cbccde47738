import Foundation
import Testing

@testable import DynaMoE

/// A folder of its own, removed with everything in it.
private final class TemporaryFolder {
  let path: String

  init() throws {
    var template = Array((NSTemporaryDirectory() + "dynamoe-tests-XXXXXX").utf8CString)
    path = try #require(mkdtemp(&template).map { String(cString: $0) })
  }

  deinit {
    for name in names { unlink("\(path)/\(name)") }
    rmdir(path)
  }

  /// Everything in the folder, sorted.
  var names: [String] {
    GoldenCases.entries(of: path)?.filter { $0 != "." && $0 != ".." } ?? []
  }

  func write(_ bytes: [UInt8], to name: String) -> String {
    let file = "\(path)/\(name)"
    let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    _ = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
    close(descriptor)
    return file
  }
}

/// The bytes of a file with this header and data.
private func safetensors(_ header: String, data: [UInt8] = []) -> [UInt8] {
  withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + Array(header.utf8)
    + data
}

private func read(_ bytes: [UInt8], name: String = "test") throws(DynaMoEError) -> SafetensorsFile {
  var result: Result<SafetensorsFile, DynaMoEError>?
  bytes.withUnsafeBytes { buffer in
    do throws(DynaMoEError) {
      result = .success(try SafetensorsFile(bytes: buffer, name: name))
    } catch {
      result = .failure(error)
    }
  }
  guard let result else { throw .failed("no result") }
  return try result.get()
}

/// The message of the `format` error that reading gives.
private func refusal(_ bytes: [UInt8]) -> String {
  do throws(DynaMoEError) {
    _ = try read(bytes)
    return "accepted"
  } catch {
    if case .format(let message) = error { return message }
    return "not a format error: \(error)"
  }
}

@Suite struct CheckpointTests {
  private func writeExample(to path: String, first: [Float] = [1, -2.5, .leastNonzeroMagnitude])
    throws
  {
    let second: [Float] = [3, 4, 5, 6]
    try first.withUnsafeBufferPointer { first in
      try second.withUnsafeBufferPointer { second in
        try writeSafetensors(
          path: path, metadata: ["config": "{\"a\": \"\u{1}é\\\"}", "empty": ""],
          tensors: [
            ("b", [3], first), ("a.\"quoted\"", [2, 2], second),
            ("none", [0, 7], UnsafeBufferPointer(start: nil, count: 0)),
            ("scalar", [], UnsafeBufferPointer(rebasing: second[0..<1])),
          ])
      }
    }
  }

  @Test func writtenIsRead() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/model.safetensors"
    try writeExample(to: path)
    let file = try SafetensorsFile(path: path)
    #expect(file.metadata == ["config": "{\"a\": \"\u{1}é\\\"}", "empty": ""])
    #expect(Set(file.names) == ["b", "a.\"quoted\"", "none", "scalar"])
    #expect(try file.floatArray("b") == [1, -2.5, .leastNonzeroMagnitude])
    #expect(try file.floatArray("a.\"quoted\"") == [3, 4, 5, 6])
    #expect(try file.floatArray("none").isEmpty)
    #expect(try file.floatArray("scalar") == [3])
    #expect(file.tensors["a.\"quoted\""]?.shape == [2, 2])
    #expect(file.tensors["none"]?.shape == [0, 7])
    let borrowed = try file.floats("b", shape: [3])
    withExtendedLifetime(file) {
      #expect(Array(borrowed) == [1, -2.5, .leastNonzeroMagnitude])
    }
    var copy = [Float](repeating: 0, count: 4)
    try copy.withUnsafeMutableBufferPointer {
      try file.copyFloats("a.\"quoted\"", shape: [2, 2], into: $0)
    }
    #expect(copy == [3, 4, 5, 6])
    #expect(folder.names == ["model.safetensors"])
  }

  @Test func headerIsPaddedAndBytesAreReproducible() throws {
    let folder = try TemporaryFolder()
    try writeExample(to: "\(folder.path)/one")
    try writeExample(to: "\(folder.path)/two")
    let one = try #require(GoldenCases.bytes(at: "\(folder.path)/one"))
    #expect(one == GoldenCases.bytes(at: "\(folder.path)/two"))
    #expect(one[0] % 8 == 0 && one.count == 8 + Int(one[0]) + Int(one[1]) * 256 + 8 * 4)
  }

  @Test func wrongAccessIsRefused() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/model.safetensors"
    try writeExample(to: path)
    let file = try SafetensorsFile(path: path)
    func message(_ body: () throws(DynaMoEError) -> Void) -> String {
      do throws(DynaMoEError) {
        try body()
        return "accepted"
      } catch { return error.description }
    }
    #expect(
      message { () throws(DynaMoEError) in _ = try file.floats("c") }.hasSuffix(
        "tensor \"c\" is missing"))
    #expect(
      message { () throws(DynaMoEError) in _ = try file.int32Array("b") }.hasSuffix(
        "must have dtype I32; got F32"))
    #expect(
      message { () throws(DynaMoEError) in _ = try file.floats("b", shape: [1, 3]) }
        .hasSuffix("must have shape [1, 3]; got [3]"))
    #expect(message { () throws(DynaMoEError) in _ = try file.floats("c") }.hasPrefix(path))
    var small: [Float] = [0]
    #expect(throws: DynaMoEError.self) {
      try small.withUnsafeMutableBufferPointer { try file.copyFloats("b", into: $0) }
    }
  }

  @Test func everyTruncationIsRefused() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/model.safetensors"
    try writeExample(to: path)
    let bytes = try #require(GoldenCases.bytes(at: path))
    _ = try read(bytes)
    for length in 0..<bytes.count {
      let message = refusal(Array(bytes[..<length]))
      #expect(message.hasPrefix("test: "), "length \(length): \(message)")
    }
    #expect(refusal(bytes + [0]) == "test: the last 1 bytes of the data belong to no tensor")
    let cut = folder.write(Array(bytes.dropLast()), to: "cut")
    #expect {
      _ = try SafetensorsFile(path: cut)
    } throws: { error in
      guard case .format(let message)? = error as? DynaMoEError else { return false }
      return message.hasPrefix(cut) && message.contains("truncated or damaged")
    }
  }

  @Test(arguments: [
    ("{}", 1, "the last 1 bytes of the data belong to no tensor"),
    ("[]", 0, "its header does not start with '{'"),
    (" {}", 0, "its header does not start with '{'"),
    ("{\"a\":1}", 0, "tensor \"a\" must be an object; got 1"),
    ("{\"a\":{}}", 0, "must have a dtype of"),
    ("{\"a\":{\"dtype\":\"F31\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "got \"F31\""),
    (
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4,
      "shape must be a list of integers of at least 0; got 1.0"
    ),
    ("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "got -1"),
    (
      "{\"a\":{\"dtype\":\"F32\",\"shape\":3,\"data_offsets\":[0,4]}}", 4,
      "shape must be a list of integers; got 3"
    ),
    (
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":0}}", 4,
      "unknown key \"x\""
    ),
    ("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "[begin, end]"),
    ("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "[begin, end]"),
    (
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4,
      "ends at byte 8 of the data, the file has only 4"
    ),
    (
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
      "F32 of shape [2] does not fit its 4 bytes"
    ),
    (
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,9223372036854775807],\"data_offsets\":[0,4]}}",
      4, "does not fit"
    ),
    (
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905],\"data_offsets\":[0,4]}}", 4,
      "does not fit"
    ),
    (
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,99999999999999999999]}}", 4,
      "got 99999999999999999999"
    ),
    (
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[3,7]}}",
      7, "overlaps"
    ),
    (
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
      4, "overlaps"
    ),
    (
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[5,7]}}",
      7, "bytes 4 to 5 of the data belong to no tensor"
    ),
    (
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2,
      "bytes 0 to 1 of the data belong to no tensor"
    ),
    (
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
      0, "occurs twice"
    ),
    ("{\"__metadata__\":{\"a\":1}}", 0, "__metadata__ \"a\" must be a string; got 1"),
    ("{\"__metadata__\":[]}", 0, "__metadata__ must be an object of strings; got an empty list"),
    ("{\"a\":", 0, "the header is not valid JSON"),
  ])
  func damagedHeaders(header: String, dataSize: Int, expected: String) {
    let message = refusal(safetensors(header, data: Array(repeating: 0, count: dataSize)))
    #expect(message.hasPrefix("test: ") && message.contains(expected), "\(message)")
  }

  @Test func foreignFiles() throws {
    #expect(
      refusal(Array("PK\u{3}\u{4} this is an archive".utf8)).contains("its header would have"))
    #expect(refusal([1, 0, 0, 0, 0, 0, 0, 0]).contains("the header has 1 bytes, the file only 0"))
    #expect(refusal([0, 0, 0, 0, 0, 0, 0, 0]).contains("does not start with '{'"))
    #expect(refusal([0, 0, 0, 0, 0, 0, 0, 0x80]).contains("at most 100000000"))
    #expect(refusal([0x01, 0xE1, 0xF5, 0x05, 0, 0, 0, 0, 1]).contains("at most 100000000"))
    #expect(refusal([]).contains("it has 0 bytes"))
    let empty = try read(safetensors("{}      "))
    #expect(empty.names.isEmpty)
  }

  /// A file whose data does not start aligned is read by copying only.
  @Test func unalignedData() throws {
    let header =
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]},\"c\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[5,13]},\"d\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[13,21]},\"e\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[21,25]}}"
    let file = try read(
      safetensors(
        header,
        data: [7, 0, 0, 0x80, 0x3F, 0, 0, 0, 0, 0, 0, 0, 0x40, 0xFE]
          + Array(repeating: 0xFF, count: 7) + [5, 0, 0, 0]))
    #expect(try file.byteArray("a") == [7])
    #expect(try file.floatArray("b") == [1])
    #expect(try file.doubleArray("c") == [2])
    #expect(try file.int64Array("d") == [-2])
    #expect(try file.int32Array("e") == [5])
    #expect(throws: DynaMoEError.self) { _ = try file.floats("b") }
  }

  @Test func refusedFiles() throws {
    let folder = try TemporaryFolder()
    func message(_ body: () throws(DynaMoEError) -> Void) -> String {
      do throws(DynaMoEError) {
        try body()
        return "accepted"
      } catch {
        if case .file(let message) = error { return message }
        return "not a file error: \(error)"
      }
    }
    func read(_ path: String) -> String {
      message { () throws(DynaMoEError) in _ = try SafetensorsFile(path: path) }
    }
    func write(_ path: String) -> String {
      message { () throws(DynaMoEError) in
        try writeSafetensors(path: path, metadata: [:], tensors: [])
      }
    }
    #expect(
      read("\(folder.path)/none") == "cannot open \(folder.path)/none: No such file or directory")
    #expect(read(folder.path) == "cannot read \(folder.path): Is a directory")
    #expect(write(folder.path) == "cannot write \(folder.path): Is a directory")
    #expect(
      write("\(folder.path)/none/model")
        == "cannot open \(folder.path)/none/model: No such file or directory")
    #expect(read("/dev/null") == "cannot read /dev/null: not a regular file")
    #expect(write("/dev/null") == "cannot write /dev/null: not a regular file")
    let pipe = "\(folder.path)/pipe"
    #expect(mkfifo(pipe, 0o600) == 0)
    #expect(read(pipe) == "cannot read \(pipe): not a regular file")
    #expect(throws: DynaMoEError.argument("path must not be empty")) {
      _ = try SafetensorsFile(path: "")
    }
    #expect(throws: DynaMoEError.self) { _ = try SafetensorsFile(path: "\(folder.path)\0x") }
    if geteuid() != 0 {
      let secret = folder.write([], to: "secret")
      chmod(secret, 0)
      #expect(read(secret).hasSuffix("Permission denied"))
    }
    #expect(folder.names.filter { $0.hasSuffix(".tmp") }.isEmpty)
  }

  /// A failure in the middle of the data: the old file is whole and no other file is left.
  @Test func failedWriteLeavesTheOldFile() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/model.safetensors"
    try writeExample(to: path)
    let before = GoldenCases.bytes(at: path)
    let size = 1 << 16
    let memory = try #require(mmap(nil, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
    defer { munmap(memory, size) }
    let unreadable = UnsafeBufferPointer(
      start: UnsafePointer(memory.assumingMemoryBound(to: Float.self)), count: size / 4)
    let readable = [Float](repeating: 1, count: 1000)
    #expect {
      try readable.withUnsafeBufferPointer { readable in
        try writeSafetensors(
          path: path, metadata: [:],
          tensors: [("a", [1000], readable), ("b", [size / 4], unreadable)])
      }
    } throws: { error in
      error as? DynaMoEError == .file("cannot write \(path): Bad address")
    }
    #expect(GoldenCases.bytes(at: path) == before)
    #expect(folder.names == ["model.safetensors"])
  }

  @Test func badTensorsAreRefusedBeforeAnythingIsWritten() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/model.safetensors"
    let values: [Float] = [1, 2]
    for tensors in [
      [("a", [3])], [("a", [-2])], [("a", [2]), ("a", [2])], [("__metadata__", [2])],
      [("a", [Int.max, Int.max])],
    ] as [[(String, [Int])]] {
      #expect(throws: DynaMoEError.self, "\(tensors)") {
        try values.withUnsafeBufferPointer { values in
          try writeSafetensors(
            path: path, metadata: [:],
            tensors: tensors.map { (name: $0.0, shape: $0.1, values: values) })
        }
      }
    }
    #expect(folder.names.isEmpty)
  }

  @Test func permissionsAndLinksAreKept() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/model.safetensors"
    let link = "\(folder.path)/link"
    try writeExample(to: path)
    chmod(path, 0o640)
    #expect(symlink(path, link) == 0)
    try writeExample(to: link, first: [7, 8, 9])
    var status = stat()
    #expect(lstat(link, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
    #expect(lstat(path, &status) == 0 && status.st_mode & 0o777 == 0o640)
    #expect(try SafetensorsFile(path: path).floatArray("b") == [7, 8, 9])
    #expect(folder.names == ["link", "model.safetensors"])
  }

  @Test func goldenFilesAreRead() throws {
    for name in GoldenCases.names(endingIn: ".safetensors") {
      let file = try SafetensorsFile(path: "\(GoldenCases.folder)/\(name)")
      #expect(file.metadata["config"] != nil, "\(name)")
      for (tensor, entry) in file.tensors where entry.type == .f32 {
        #expect(try file.floats(tensor).count == entry.shape.reduce(1, *), "\(name): \(tensor)")
      }
    }
  }
}
