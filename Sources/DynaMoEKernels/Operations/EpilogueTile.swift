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
      }
      position += stride
    }
  }

  /// Sends one tile of a gradient, c [tile rows, cStride], back through the activation of arrays
  /// [rows, stride].
  func apply(
    _ gradient: ActivationGradient, to tile: TilePlan.Tile, from c: UnsafePointer<Float>,
    _ cStride: Int, stride: Int
  ) {
    let n = tile.columns
    for row in 0..<tile.rows {
      let position = (tile.row + row) * stride + tile.column
      switch gradient {
      case .plain(let kind, let x):
        activationGradient(kind.rawValue, c + row * cStride, x + position, n)
      case .gated(let kind, let gate, let up):
        gatedGradient(kind.rawValue, c + row * cStride, gate + position, up + position, n)
      }
    }
  }
}
