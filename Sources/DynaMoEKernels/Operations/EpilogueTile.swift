/// Tiles of a product, [tile rows, ScratchLease.tileStride], on their way to arrays [rows, stride]. Whole rows are written one
/// after the other; a product that wrote its register tiles there would wait for each of their lines.
extension KernelTable {
  /// Writes a tile to c, if there is one, and what the epilogue makes of it; the largest magnitude of that goes to `largest`.
  func finish(
    _ epilogue: Epilogue, _ tile: TilePlan.Tile, _ values: UnsafePointer<Float>,
    into c: UnsafeMutablePointer<Float>?, stride: Int, largest: LargestMagnitude?
  ) {
    let n = tile.columns
    var magnitude: Float = 0
    for row in 0..<tile.rows {
      let position = (tile.row + row) * stride + tile.column
      let source = values + row * ScratchLease.tileStride
      if let c { (c + position).update(from: source, count: n) }
      switch epilogue {
      case .none: break
      case .activation(let kind, let into):
        activation(kind.rawValue, source, into + position, n)
        if largest != nil { larger(&magnitude, into + position, n) }
      case .gated(let kind, let gate, let into):
        gated(kind.rawValue, gate + position, source, into + position, n)
        if largest != nil { larger(&magnitude, into + position, n) }
      }
    }
    largest?.add(magnitude)
  }

  /// A row that was just written is in the nearest cache.
  private func larger(_ magnitude: inout Float, _ x: UnsafePointer<Float>, _ n: Int) {
    let other = largestMagnitude(x, n)
    if other.bitPattern > magnitude.bitPattern { magnitude = other }
  }

  /// Writes or adds a tile to c.
  func finish(
    _ tile: TilePlan.Tile, _ values: UnsafePointer<Float>, into c: UnsafeMutablePointer<Float>,
    stride: Int, accumulate: Bool
  ) {
    for row in 0..<tile.rows {
      let target = c + (tile.row + row) * stride + tile.column
      let source = values + row * ScratchLease.tileStride
      if accumulate {
        add(source, target, tile.columns)
      } else {
        target.update(from: source, count: tile.columns)
      }
    }
  }

  /// Sends a tile of a gradient back through the activation; the largest magnitude of the result goes to `largest`.
  func finish(
    _ gradient: ActivationGradient, _ tile: TilePlan.Tile, _ values: UnsafePointer<Float>,
    stride: Int, largest: LargestMagnitude?
  ) {
    let n = tile.columns
    var magnitude: Float = 0
    for row in 0..<tile.rows {
      let position = (tile.row + row) * stride + tile.column
      let source = values + row * ScratchLease.tileStride
      switch gradient {
      case .plain(let kind, let x, let into):
        activationGradient(kind.rawValue, source, x + position, into + position, n)
        if largest != nil { larger(&magnitude, into + position, n) }
      case .gated(let kind, let gate, let up):
        gatedGradient(kind.rawValue, source, gate + position, up + position, n)
        guard largest != nil else { continue }
        larger(&magnitude, gate + position, n)
        larger(&magnitude, up + position, n)
      }
    }
    largest?.add(magnitude)
  }
}

extension Epilogue {
  /// What `finish` reads and writes, besides c.
  func add(_ tile: TilePlan.Tile, stride: Int, to ahead: inout RowsAhead) {
    switch self {
    case .none: break
    case .activation(_, let into):
      ahead.add(into, tile, stride: stride)
    case .gated(_, let gate, let into):
      ahead.add(gate, tile, stride: stride)
      ahead.add(into, tile, stride: stride)
    }
  }
}

extension ActivationGradient {
  /// What `finish` reads and writes.
  func add(_ tile: TilePlan.Tile, stride: Int, to ahead: inout RowsAhead) {
    switch self {
    case .plain(_, let x, let into):
      ahead.add(x, tile, stride: stride)
      if x != UnsafePointer(into) { ahead.add(into, tile, stride: stride) }
    case .gated(_, let gate, let up):
      ahead.add(gate, tile, stride: stride)
      ahead.add(up, tile, stride: stride)
    }
  }
}
