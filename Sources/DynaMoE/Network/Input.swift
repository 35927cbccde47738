/// Rows for a network.
public enum Input {
  /// x [rows, inputs], row-major and finite, for a network with `inputs`.
  case features(UnsafeBufferPointer<Float>, rows: Int)
  /// ids [rows], 0 to vocabulary - 1, for a network with `vocabulary`.
  case tokens(UnsafeBufferPointer<Int32>)

  var rows: Int {
    switch self {
    case .features(_, let rows): rows
    case .tokens(let ids): ids.count
    }
  }
}

/// Checked rows: what the first map of a network reads.
enum RowSource {
  case features(UnsafePointer<Float>)
  case tokens(UnsafePointer<Int32>)

  /// From row `first` on.
  func advanced(_ first: Int, inputs: Int) -> RowSource {
    switch self {
    case .features(let x): .features(x + first * inputs)
    case .tokens(let ids): .tokens(ids + first)
    }
  }
}
