extension Backend {
  /// dW_g[o, i] (+)= Σ_p a[p, o]·b[gather(p), i] and dBias_g[o] (+)= Σ_p a[p, o] over the rows p of
  /// group g, in order.
  ///
  /// The gradient with respect to the weights and bias of `product`. A group without rows gets 0,
  /// or stays as it is if the product accumulates.
  ///
  /// - Parameters:
  ///   - a: [rows, outputs]; b: [*, inputs]; dW: [count, outputs, inputs]; dBias: [count, outputs]
  ///     or nil.
  public func gradientProduct(
    _ groups: RowGroups, _ a: UnsafePointer<Float>, outputs: Int, _ b: UnsafePointer<Float>,
    inputs: Int, into dW: UnsafeMutablePointer<Float>, bias dBias: UnsafeMutablePointer<Float>?,
    accumulate: Bool
  ) {
    guard groups.count > 0, outputs > 0 else { return }
    let (outputBlock, inputBlock) = gradientBlocks(groups, outputs, inputs)
    let outputBlocks = (outputs - 1) / outputBlock + 1
    // Without inputs there still is a bias.
    let inputBlocks = inputs > 0 ? (inputs - 1) / inputBlock + 1 : 1
    let lease = ScratchLease.acquire(workers: pool.threadCount)
    defer { lease.release() }
    pool.run(groups.count * outputBlocks * inputBlocks, workers: lease.workers) { task, worker in
      let group = task / (outputBlocks * inputBlocks)
      let output = task / inputBlocks % outputBlocks * outputBlock
      let input = task % inputBlocks * inputBlock
      let (row, rows) = (groups.start(group), groups.size(group))
      let outputCount = min(outputBlock, outputs - output)
      if rows == 0 && accumulate { return }
      let aStart = a + row * outputs + output
      if let dBias, input == 0 {
        table.columnSums(
          rows, outputCount, aStart, nil, outputs, accumulate, dBias + group * outputs + output)
      }
      guard inputs > 0 else { return }
      let bStart = (groups.gather == nil ? b + row * inputs : b) + input
      table.gradientTile(
        rows, outputCount, min(inputBlock, inputs - input), aStart, outputs, bStart, inputs,
        groups.gather.map { $0 + row }, accumulate,
        dW + (group * outputs + output) * inputs + input, inputs, lease.block(worker))
    }
  }

  /// Blocks of outputs and inputs such that there are enough tasks for the threads.
  private func gradientBlocks(_ groups: RowGroups, _ outputs: Int, _ inputs: Int) -> (Int, Int) {
    var outputBlock = 128
    var inputBlock = 256
    let wanted = pool.threadCount > 1 ? 4 * pool.threadCount : 1
    func tasks() -> Int {
      groups.count * ((outputs - 1) / outputBlock + 1) * ((max(1, inputs) - 1) / inputBlock + 1)
    }
    while tasks() < wanted, outputBlock > 2 * table.tileRows || inputBlock > 2 * table.tileColumns {
      if outputBlock / table.tileRows > inputBlock / table.tileColumns {
        outputBlock = max(table.tileRows, outputBlock / 2 / table.tileRows * table.tileRows)
      } else {
        inputBlock = max(table.tileColumns, inputBlock / 2 / table.tileColumns * table.tileColumns)
      }
    }
    return (outputBlock, inputBlock)
  }
}
