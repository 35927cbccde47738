import CDynaMoEPlatform

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
    let plan = GradientPlan(
      self, groups, outputs: outputs, inputs: inputs, outputBlock: ScratchLease.tileRows)
    plan.run(a, bias: dBias, accumulate: accumulate) { block, next, sums, memory in
      let target = dW + block.offset(outputs, inputs)
      var ahead = memory.ahead
      plan.add(next, a, b, to: &ahead)
      ahead.add(
        target, rows: block.outputs.count, columns: block.inputs.count, stride: inputs)
      plan.multiply(block, a, b, sums, ahead, memory)
      for row in 0..<block.outputs.count {
        let source = memory.tile + row * ScratchLease.tileStride
        if accumulate {
          table.add(source, target + row * inputs, block.inputs.count)
        } else {
          (target + row * inputs).update(from: source, count: block.inputs.count)
        }
      }
    }
  }

  /// `gradientProduct` from 0 and a step of an optimizer with its result, which is kept nowhere: the
  /// weights, the optimizer's state and the packed copy pass the cache once.
  ///
  /// Same bits as the product, then the step.
  ///
  /// - Parameters:
  ///   - weights: what `step` changes, from its first element on.
  ///   - dBias: [count, outputs] or nil, overwritten; its parameter makes no step.
  public func gradientStep(
    _ groups: RowGroups, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
    _ weights: MatrixGroup, bias dBias: UnsafeMutablePointer<Float>?, _ step: ParameterStep
  ) {
    let (outputs, inputs) = (weights.outputs, weights.inputs)
    // Weights and state of half a tile are what else the cache has to hold.
    let plan = GradientPlan(
      self, groups, outputs: outputs, inputs: inputs, outputBlock: ScratchLease.tileRows / 2)
    plan.run(a, bias: dBias, accumulate: false) { block, next, sums, memory in
      let offset = block.offset(outputs, inputs)
      let (first, count) = (block.outputs.lowerBound, block.outputs.count)
      let (input, width) = (block.inputs.lowerBound, block.inputs.count)
      var ahead = memory.ahead
      plan.add(next, a, b, to: &ahead)
      step.forArrays { array in
        ahead.add(array + offset, rows: count, columns: width, stride: inputs)
      }
      weights.addPacked(
        block.group, output: first, outputs: count, input: input, inputs: width, to: &ahead)
      plan.multiply(block, a, b, sums, ahead, memory)
      let mode = dynamoe_float_mode_flush()
      for row in 0..<count {
        step.apply(
          table, offset + row * inputs, memory.tile + row * ScratchLease.tileStride, count: width)
      }
      dynamoe_float_mode_restore(mode)
      weights.packBlock(
        block.group, output: first, outputs: count, input: input, inputs: width)
    }
    weights.markPacked()
  }
}

/// Cuts gradients of matrices into tasks: blocks of outputs times blocks of inputs.
private struct GradientPlan {
  struct Block {
    var group: Int
    var outputs: Range<Int>
    var inputs: Range<Int>

    /// Place of the first element in [count, outputs, inputs].
    func offset(_ outputs: Int, _ inputs: Int) -> Int {
      (group * outputs + self.outputs.lowerBound) * inputs + self.inputs.lowerBound
    }
  }

  typealias P = UnsafePointer<Float>

  private let backend: Backend
  private let groups: RowGroups
  private let outputs: Int
  private let inputs: Int
  private var outputBlock: Int
  private var inputBlock = ScratchLease.tileColumns

  /// Blocks such that there are enough tasks for the threads; those of outputs begin with a panel.
  init(_ backend: Backend, _ groups: RowGroups, outputs: Int, inputs: Int, outputBlock: Int) {
    self.backend = backend
    self.groups = groups
    self.outputs = outputs
    self.inputs = inputs
    self.outputBlock = outputBlock
    let table = backend.table
    let unit = max(table.panelColumns, table.tileRows)
    let threads = backend.pool.threadCount
    let wanted = threads > 1 ? 4 * threads : 1
    while tasks < wanted, self.outputBlock > 2 * unit || inputBlock > 2 * table.tileColumns {
      if self.outputBlock / unit > inputBlock / table.tileColumns {
        self.outputBlock = max(unit, self.outputBlock / 2 / unit * unit)
      } else {
        inputBlock = max(table.tileColumns, inputBlock / 2 / table.tileColumns * table.tileColumns)
      }
    }
  }

  private var outputBlocks: Int { (outputs - 1) / outputBlock + 1 }
  /// Without inputs there still is a bias.
  private var inputBlocks: Int { inputs > 0 ? (inputs - 1) / inputBlock + 1 : 1 }
  private var tasks: Int { groups.count * outputBlocks * inputBlocks }

  private func block(_ task: Int) -> Block {
    let output = task / inputBlocks % outputBlocks * outputBlock
    let input = task % inputBlocks * inputBlock
    return Block(
      group: task / (outputBlocks * inputBlocks),
      outputs: output..<min(output + outputBlock, outputs),
      inputs: input..<min(input + inputBlock, inputs))
  }

  /// Calls `body` for every block, in parallel, with the block that the same thread probably gets next, and the place of its
  /// sums if it has to write any.
  func run(
    _ a: P, bias: UnsafeMutablePointer<Float>?, accumulate: Bool,
    _ body: (Block, Block?, UnsafeMutablePointer<Float>?, WorkerMemory) -> Void
  ) {
    guard groups.count > 0, outputs > 0 else { return }
    let lease = ScratchLease.acquire(workers: backend.pool.threadCount)
    defer { lease.release() }
    let tasks = tasks
    backend.pool.run(tasks, workers: lease.workers) { task, worker in
      let block = block(task)
      let rows = groups.size(block.group)
      if rows == 0 && accumulate { return }
      let sums =
        block.inputs.lowerBound == 0
        ? bias.map { $0 + block.group * outputs + block.outputs.lowerBound } : nil
      if let sums, !accumulate { sums.update(repeating: 0, count: block.outputs.count) }
      if inputs > 0 {
        body(block, task + 1 < tasks ? self.block(task + 1) : nil, sums, lease.memory(worker))
      } else if let sums {
        backend.table.columnSums(
          rows, block.outputs.count,
          a + groups.start(block.group) * outputs + block.outputs.lowerBound, nil, outputs, true,
          sums)
      }
    }
  }

  /// c [block outputs, ScratchLease.tileStride] of the block, in `memory.tile`.
  func multiply(
    _ block: Block, _ a: P, _ b: P, _ sums: UnsafeMutablePointer<Float>?, _ ahead: RowsAhead,
    _ memory: WorkerMemory
  ) {
    let row = groups.start(block.group)
    backend.table.gradientTile(
      groups.size(block.group), block.outputs.count, block.inputs.count,
      a + row * outputs + block.outputs.lowerBound, outputs,
      (groups.gather == nil ? b + row * inputs : b) + block.inputs.lowerBound, inputs,
      groups.gather.map { $0 + row }, memory.tile, ScratchLease.tileStride, sums, ahead.base,
      ahead.count, memory.scratch)
  }

  /// Adds the first rows that `block` reads.
  func add(_ block: Block?, _ a: P, _ b: P, to ahead: inout RowsAhead) {
    guard let block else { return }
    let row = groups.start(block.group)
    let rows = min(groups.size(block.group), Self.firstRows)
    ahead.add(
      a + row * outputs + block.outputs.lowerBound, rows: rows, columns: block.outputs.count,
      stride: outputs)
    ahead.add(
      (groups.gather == nil ? b + row * inputs : b) + block.inputs.lowerBound, rows: rows,
      columns: block.inputs.count, stride: inputs, gather: groups.gather.map { $0 + row })
  }

  /// Rows of the next block that are asked for.
  private static let firstRows = 128
}
