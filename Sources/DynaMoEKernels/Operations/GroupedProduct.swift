/// Rows of a matrix that a transposed product reads first, and is asked for before it begins.
private let firstRows = 256

/// Rows of a block of a product, at most; a multiple of the rows of all register tiles but one.
private let productRows = 132

extension Backend {
  /// c[p, :] = a[gather(p), :] · W_gᵀ + bias_g for every row p of group g.
  ///
  /// Each element is summed over ascending inputs from the bias on, whatever the number of rows,
  /// groups and threads, so a row gets the same bits in any batch (not with `openblas`, which
  /// promises nothing of the kind).
  ///
  /// - Parameters:
  ///   - a: [*, inputs]; c: [rows, outputs] or nil, if only what the epilogue makes of it is wanted;
  ///     bias: [count, outputs] or nil. c may not overlap the others.
  ///   - epilogue: what is done to c while it is in cache.
  ///   - largest: told the magnitudes that the epilogue writes.
  public func product(
    _ groups: RowGroups, _ a: UnsafePointer<Float>, _ w: MatrixGroup, bias: UnsafePointer<Float>?,
    into c: UnsafeMutablePointer<Float>?, epilogue: Epilogue, largest: LargestMagnitude? = nil
  ) {
    guard groups.rows > 0, w.outputs > 0 else { return }
    w.makeReady()
    let (outputs, inputs) = (w.outputs, w.inputs)
    let plan = TilePlan(
      groups, columns: outputs, inner: inputs, tileRows: table.tileRows,
      tileColumns: table.tileColumns, rowLimit: productRows,
      columnLimit: ScratchLease.tileColumns, threads: pool.threadCount)
    plan.run(pool) { tile, _, memory in
      var ahead = memory.ahead
      ahead.add(c, tile, stride: outputs)
      epilogue.add(tile, stride: outputs, to: &ahead)
      let rowStart = groups.gather == nil ? a + tile.row * inputs : a
      table.productTile(
        tile.rows, tile.columns, inputs, rowStart, groups.gather.map { $0 + tile.row },
        w.weights(tile.group), tile.column, bias.map { $0 + tile.group * outputs + tile.column },
        memory.tile, ScratchLease.tileStride, ahead.base, ahead.count, memory.scratch)
      table.finish(
        epilogue, tile, memory.tile, into: c, stride: outputs, largest: largest)
    }
  }

  /// c[p, :] (+)= a[p, :] · W_g for every row p of group g; `gather` is ignored.
  ///
  /// The gradient with respect to the input of `product`. Summed over ascending outputs.
  ///
  /// - Parameters:
  ///   - a: [rows, outputs]; c: [rows, inputs], which may not overlap the others.
  public func transposedProduct(
    _ groups: RowGroups, _ a: UnsafePointer<Float>, _ w: MatrixGroup,
    into c: UnsafeMutablePointer<Float>, accumulate: Bool
  ) {
    forTransposedTiles(groups, a, w) { tile, ahead in
      ahead.add(c, tile, stride: w.inputs)
    } finish: { tile, values in
      table.finish(tile, values, into: c, stride: w.inputs, accumulate: accumulate)
    }
  }

  /// The same gradient sent on through the activation that the input of `product` came from; `largest` is told the magnitudes
  /// that this writes.
  public func transposedProduct(
    _ groups: RowGroups, _ a: UnsafePointer<Float>, _ w: MatrixGroup,
    through activation: ActivationGradient, largest: LargestMagnitude? = nil
  ) {
    forTransposedTiles(groups, a, w) { tile, ahead in
      activation.add(tile, stride: w.inputs, to: &ahead)
    } finish: { tile, values in
      table.finish(activation, tile, values, stride: w.inputs, largest: largest)
    }
  }

  private func forTransposedTiles(
    _ groups: RowGroups, _ a: UnsafePointer<Float>, _ w: MatrixGroup,
    asking: (TilePlan.Tile, inout RowsAhead) -> Void,
    finish: (TilePlan.Tile, UnsafePointer<Float>) -> Void
  ) {
    guard groups.rows > 0, w.inputs > 0 else { return }
    let (outputs, inputs) = (w.outputs, w.inputs)
    let plan = TilePlan(
      groups, columns: inputs, inner: outputs, tileRows: table.tileRows,
      tileColumns: table.tileColumns, rowLimit: ScratchLease.tileRows,
      columnLimit: ScratchLease.tileColumns, threads: pool.threadCount)
    func weights(_ tile: TilePlan.Tile) -> UnsafePointer<Float> {
      w.values + tile.group * outputs * inputs + tile.column
    }
    plan.run(pool) { tile, next, memory in
      var ahead = memory.ahead
      asking(tile, &ahead)
      if let next, next.group != tile.group || next.column != tile.column {
        ahead.add(
          weights(next), rows: min(outputs, firstRows), columns: next.columns, stride: inputs)
      }
      table.transposedTile(
        tile.rows, tile.columns, outputs, a + tile.row * outputs, weights(tile), inputs,
        memory.tile, ScratchLease.tileStride, ahead.base, ahead.count, memory.scratch)
      finish(tile, memory.tile)
    }
  }
}
