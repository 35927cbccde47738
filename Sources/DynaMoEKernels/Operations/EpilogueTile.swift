extension KernelTable {
  /// Applies the epilogue to one tile of c [rows, stride].
  func apply(
    _ epilogue: Epilogue, to tile: TilePlan.Tile, of c: UnsafeMutablePointer<Float>, stride: Int
  ) {
    let n = tile.columns
    var position = tile.row * stride + tile.column
    for _ in 0..<tile.rows {
      switch epilogue {
      case .none:
        return
      case .activation(let kind, let into):
        activation(kind.rawValue, c + position, into + position, n)
      case .gated(let kind, let gate, let into):
        gated(kind.rawValue, gate + position, c + position, into + position, n)
      case .activationGradient(let kind, let preactivation):
        activationGradient(kind.rawValue, preactivation + position, c + position, n)
      case .gatedGradient(let kind, let gate, let up, let gateGradient):
        gatedGradient(
          kind.rawValue, gate + position, up + position, c + position, gateGradient + position, n)
      }
      position += stride
    }
  }
}
