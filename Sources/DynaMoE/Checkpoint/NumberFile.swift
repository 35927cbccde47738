/// The tensors of any safetensors file as plain arrays, for programs that take their data from one.
@_spi(Command) public struct NumberFile: Sendable {
  private let file: SafetensorsFile

  /// - Throws: ``DynaMoEError/file(_:)``, ``DynaMoEError/format(_:)``.
  public init(path: String) throws(DynaMoEError) { file = try SafetensorsFile(path: path) }

  /// In the order of the file.
  public var names: [String] { file.names }

  /// Nil for a tensor that is not there.
  public func shape(_ name: String) -> [Int]? { file.tensors[name]?.shape }

  /// Whether the tensor has an integer type.
  public func isInteger(_ name: String) -> Bool {
    switch file.tensors[name]?.type {
    case .u8, .i32, .i64: true
    default: false
    }
  }

  /// The values as numbers.
  ///
  /// - Throws: ``DynaMoEError/format(_:)`` for an absent tensor, and for types other than F32, F64,
  ///   U8, I32 and I64.
  public func floats(_ name: String) throws(DynaMoEError) -> [Float] {
    switch file.tensors[name]?.type {
    case .f64: try file.doubleArray(name).map { Float($0) }
    case .u8, .i32, .i64: try integers(name).map { Float($0) }
    case .f32, nil: try file.floatArray(name)
    case .some(let type): throw refusal(name, type)
    }
  }

  /// The values of an integer tensor.
  public func integers(_ name: String) throws(DynaMoEError) -> [Int] {
    switch file.tensors[name]?.type {
    case .u8: try file.byteArray(name).map { Int($0) }
    case .i32: try file.int32Array(name).map { Int($0) }
    case .i64, nil: try file.int64Array(name).map { Int($0) }
    case .some(let type): throw refusal(name, type)
    }
  }

  private func refusal(_ name: String, _ type: SafetensorsType) -> DynaMoEError {
    .format(
      "\(file.path): tensor \(quoted(name)) has dtype \(type.rawValue), allowed: F32, F64, U8, I32, I64"
    )
  }
}

/// Writes bytes as a whole: an interrupted call leaves the old file as it was.
@_spi(Command) public func writeFile(
  _ bytes: [UInt8], to path: String
) throws(DynaMoEError) {
  try replaceFile(at: path) { file throws(DynaMoEError) in
    var failure: DynaMoEError?
    bytes.withUnsafeBytes { bytes in
      do throws(DynaMoEError) { try file.write(bytes) } catch { failure = error }
    }
    if let failure { throw failure }
  }
}
