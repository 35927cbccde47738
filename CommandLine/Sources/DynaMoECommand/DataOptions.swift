import ArgumentParser
import Glibc

/// How rows are read.
struct DataOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The rows: CSV, IDX images, or safetensors with x and y; - for CSV on standard input.",
      valueName: "path"))
  var data: String
  @Option(
    help: ArgumentHelp(
      "CSV: the column of the target, by name or number from 1; default: the last. Regressions of several outputs repeat it.",
      valueName: "column"))
  var label: [String] = []
  @Option(
    help: ArgumentHelp("CSV: a column that is no feature; may be repeated.", valueName: "column"))
  var ignore: [String] = []
  @Flag(
    inversion: .prefixedNo,
    help: "CSV: whether the first line has names; default: when none of its fields is a number.")
  var header: Bool?
  @Option(help: ArgumentHelp("CSV: the character between fields, or tab.", valueName: "character"))
  var delimiter = ","
  @Option(
    help: ArgumentHelp(
      "IDX: the file of the labels; default: beside it, labels for images and idx1 for idx3.",
      valueName: "path"))
  var labels: String?

  func validate() throws {
    if (try? delimiterByte()) == nil {
      throw ValidationError(
        "--delimiter is \"\(delimiter)\", allowed: one ASCII character, or tab.")
    }
  }

  func delimiterByte() throws -> UInt8 {
    if delimiter == "tab" { return UInt8(ascii: "\t") }
    guard delimiter.utf8.count == 1, let byte = delimiter.utf8.first,
      byte != UInt8(ascii: "\""), byte != 10, byte != 13
    else { throw CommandFailure("the delimiter is no single character") }
    return byte
  }

  /// Reads the file `path`, or the one that the options name.
  func read(_ request: TableRequest) throws -> Table {
    try read(request, path: data) { _ in labels }
  }

  /// Reads the rows of `--validation`, whose labels are never those of `--data`.
  func readValidation(
    _ request: TableRequest, path: String, labels validationLabels: String?
  ) throws -> Table {
    try read(request, path: path) { path in
      guard labels == nil || validationLabels != nil else {
        throw CommandFailure(
          "\(path): --labels has the labels of \(data) alone: name the file of these with --validation-labels"
        )
      }
      return validationLabels
    }
  }

  /// - Parameter labels: the file of the labels of the IDX file of that name.
  private func read(
    _ request: TableRequest, path: String, labels: (String) throws -> String?
  ) throws -> Table {
    if path.hasSuffix(".safetensors") { return try safetensorsTable(path: path, request: request) }
    let bytes = try readFile(path)
    if IDX.recognises(bytes) {
      return try idxTable(path: path, bytes: bytes, labels: labels(path), request: request)
    }
    if bytes.starts(with: [0x1F, 0x8B]) {
      throw CommandFailure("\(path): compressed with gzip, allowed: the file as gunzip gives it")
    }
    return try CSVTable(
      path: path == "-" ? "standard input" : path, options: self, request: request
    )
    .read(bytes)
  }
}

func fileExists(_ path: String) -> Bool { access(path, F_OK) == 0 }

/// The whole file; - is standard input.
func readFile(_ path: String) throws -> [UInt8] {
  func refusal(_ verb: String) -> CommandFailure {
    CommandFailure("cannot \(verb) \(path): \(String(cString: strerror(errno)))")
  }
  let descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw refusal("open") }
  defer { if path != "-" { close(descriptor) } }
  var status = stat()
  guard fstat(descriptor, &status) == 0 else { throw refusal("read") }
  var bytes: [UInt8] = []
  if status.st_mode & S_IFMT == S_IFREG { bytes.reserveCapacity(Int(status.st_size)) }
  var piece = [UInt8](repeating: 0, count: 1 << 18)
  while true {
    let count = piece.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
    if count < 0 {
      if errno == EINTR { continue }
      throw refusal("read")
    }
    if count == 0 { return bytes }
    bytes += piece[..<count]
  }
}
