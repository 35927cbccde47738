import Glibc

/// The golden cases: in the folder that DYNAMOE_FIXTURES names, else in `../shared/fixtures` beside
/// the checkout.
enum GoldenCases {
  static let folder: String = {
    if let folder = getenv("DYNAMOE_FIXTURES") { return String(cString: folder) }
    let file = #filePath
    let checkout = file.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
    return (checkout.dropLast() + ["shared", "fixtures"]).joined(separator: "/")
  }()

  /// Names of the files that end in `suffix`, sorted; says so when there are none.
  static func names(endingIn suffix: String) -> [String] {
    guard let names = entries(of: folder) else {
      print("no golden cases in \(folder): set DYNAMOE_FIXTURES")
      return []
    }
    return names.filter { $0.hasSuffix(suffix) }
  }

  /// The bytes of a golden file, nil when it is absent, which is said.
  static func bytes(of name: String) -> [UInt8]? {
    if let bytes = bytes(at: "\(folder)/\(name)") { return bytes }
    print("no golden case \(folder)/\(name): set DYNAMOE_FIXTURES")
    return nil
  }

  /// Names in a folder, sorted, nil when it cannot be read.
  static func entries(of folder: String) -> [String]? {
    guard let directory = opendir(folder) else { return nil }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      names.append(name)
    }
    return names.sorted()
  }

  /// The bytes of any file, nil when it cannot be read.
  static func bytes(at path: String) -> [UInt8]? {
    guard let file = fopen(path, "rb") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = fread(&chunk, 1, chunk.count, file)
      if count == 0 { return bytes }
      bytes.append(contentsOf: chunk[0..<count])
    }
  }
}
