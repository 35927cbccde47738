extension Backend {
  /// c[p, :] = a[gather(p), :] · W_gᵀ + bias_g for every row p of group g.
  ///
  /// Each element is summed over ascending inputs from the bias on, whatever the number of rows,
  /// groups and threads, so a row gets the same bits in any batch (not with `openblas`, which
  /// promises nothing of the kind).
  ///
  /// - Parameters:
  ///   - a: [*, inputs]; c: [rows, outputs]; bias: [count, outputs] or nil. c may not overlap the
  ///     others.
  ///   - epilogue: what is done to c while it is in cache.
  public func product(
    _ groups: RowGroups, _ a: UnsafePointer<Float>, _ w: MatrixGroup, bias: UnsafePointer<Float>?,
    into c: UnsafeMutablePointer<Float>, epilogue: Epilogue
  ) {
    guard groups.rows > 0, w.outputs > 0 else { return }
    w.makeReady()
    let (outputs, inputs) = (w.outputs, w.inputs)
    let plan = TilePlan(
      groups, columns: outputs, inner: inputs, tileRows: table.tileRows,
      tileColumns: max(table.panelColumns, table.tileColumns), rowLimit: 128, columnLimit: 256,
      threads: pool.threadCount)
    plan.run(pool) { tile, memory in
      let rowStart = groups.gather == nil ? a + tile.row * inputs : a
      table.productTile(
        tile.rows, tile.columns, inputs, rowStart, groups.gather.map { $0 + tile.row },
        w.weights(tile.group), tile.column, bias.map { $0 + tile.group * outputs + tile.column },
        c + tile.row * outputs + tile.column, outputs, memory.scratch)
      table.apply(epilogue, to: tile, of: c, stride: outputs)
    }
  }

  /// c[p, :] (+)= a[p, :] · W_g for every row p of group g; `gather` is ignored.
  ///
  /// The gradient with respect to the input of `product`. Summed over ascending outputs, from c on
  /// if it accumulates.
  ///
  /// - Parameters:
  ///   - a: [rows, outputs]; c: [rows, inputs], which may not overlap the others.
  public func transposedProduct(
    _ groups: RowGroups, _ a: UnsafePointer<Float>, _ w: MatrixGroup,
    into c: UnsafeMutablePointer<Float>, accumulate: Bool
  ) {
    forTransposedTiles(groups, w) { tile, memory in
      transposedTile(
        tile, a, w, accumulate, c + tile.row * w.inputs + tile.column, w.inputs, memory)
    }
  }

  /// The same gradient sent on through the activation that the input of `product` came from.
  public func transposedProduct(
    _ groups: RowGroups, _ a: UnsafePointer<Float>, _ w: MatrixGroup,
    through activation: ActivationGradient
  ) {
    forTransposedTiles(groups, w) { tile, memory in
      let (c, stride) = (memory.tile, ScratchLease.tileStride)
      transposedTile(tile, a, w, false, c, stride, memory)
      table.apply(activation, to: tile, from: c, stride, stride: w.inputs)
    }
  }

  private func forTransposedTiles(
    _ groups: RowGroups, _ w: MatrixGroup, _ body: (TilePlan.Tile, WorkerMemory) -> Void
  ) {
    guard groups.rows > 0, w.inputs > 0 else { return }
    let plan = TilePlan(
      groups, columns: w.inputs, inner: w.outputs, tileRows: table.tileRows,
      tileColumns: table.tileColumns, rowLimit: ScratchLease.tileRows,
      columnLimit: ScratchLease.tileColumns, threads: pool.threadCount)
    plan.run(pool, body)
  }

  private func transposedTile(
    _ tile: TilePlan.Tile, _ a: UnsafePointer<Float>, _ w: MatrixGroup, _ accumulate: Bool,
    _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ memory: WorkerMemory
  ) {
    table.transposedTile(
      tile.rows, tile.columns, w.outputs, a + tile.row * w.outputs,
      w.values + tile.group * w.outputs * w.inputs + tile.column, w.inputs, accumulate, c, cStride,
      memory.scratch)
  }
}
