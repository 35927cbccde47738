/// `count` matrices [outputs, inputs] in bfloat16, the only copy there is: packed as products read them.
///
/// Products and reads by several threads at once are fine; values may change only while none runs.
public final class BFloat16Matrices: @unchecked Sendable {
  /// What the matrices are for.
  public enum Use: Sendable {
    /// Products, and now and then a row.
    case products
    /// Rows only, as those of an embedding.
    case rows
  }

  public let count: Int
  public let outputs: Int
  public let inputs: Int
  let kernels: BFloat16Kernels
  /// Outputs side by side: a panel is [pairs of inputs][panelColumns][2].
  private let panelColumns: Int
  private let panels: Int
  /// [count][panels][pairs][panelColumns][2]; what the matrices do not fill is 0.
  private let packed: Buffer<UInt16>

  /// All values 0.
  ///
  /// - Throws: `AllocationError` if the matrices do not fit into memory, a size is negative, or their product overflows.
  public convenience init(
    backend: Backend, count: Int, outputs: Int, inputs: Int, use: Use = .products
  ) throws(AllocationError) {
    try self.init(
      kernels: .matching(backend.name), count: count, outputs: outputs, inputs: inputs, use: use)
  }

  init(
    kernels: BFloat16Kernels, count: Int, outputs: Int, inputs: Int, use: Use
  ) throws(AllocationError) {
    _ = try checkedProduct(count, outputs, inputs, MemoryLayout<Float>.stride)
    panelColumns = use == .products ? BFloat16Kernels.panelColumns : 1
    panels = outputs == 0 ? 0 : (outputs - 1) / panelColumns + 1
    let pairs = inputs / 2 + inputs % 2
    packed = try Buffer(zeroed: checkedProduct(count, panels, panelColumns, pairs, 2))
    self.kernels = kernels
    self.count = count
    self.outputs = outputs
    self.inputs = inputs
  }

  /// Elements of all matrices.
  public var elements: Int { count * outputs * inputs }

  /// The first value that is not finite once it is rounded.
  public static func firstNotFinite(_ values: UnsafeBufferPointer<Float>) -> Int? {
    values.firstIndex { !BFloat16.rounded($0).isFinite }
  }

  // MARK: - Values

  /// Rounds `values` to the elements from `first` on, of all matrices in row-major order.
  public func store(_ values: UnsafeBufferPointer<Float>, from first: Int) {
    forRows(first, values.count) { target, column, range in
      for i in range {
        target[self.place(column + i - range.lowerBound)] = BFloat16.bits(values[i])
      }
    }
  }

  /// Copies the elements from `first` on to `values`, as f32.
  public func copy(from first: Int, into values: UnsafeMutableBufferPointer<Float>) {
    forRows(first, values.count) { source, column, range in
      for i in range {
        values[i] = BFloat16.value(source[self.place(column + i - range.lowerBound)])
      }
    }
  }

  /// Where input `k` lies behind the beginning of a row.
  private func place(_ k: Int) -> Int { (k & ~1) * panelColumns + (k & 1) }

  /// Calls `body` for every part of a row among the elements `first ..< first + count`: the beginning of the row, the
  /// first input of the part, and where the part lies in 0 ..< `count`.
  private func forRows(
    _ first: Int, _ count: Int, _ body: (UnsafeMutablePointer<UInt16>, Int, Range<Int>) -> Void
  ) {
    var done = 0
    while done < count {
      let (row, column) = (first + done).quotientAndRemainder(dividingBy: inputs)
      let part = min(inputs - column, count - done)
      body(self.row(row), column, done..<done + part)
      done += part
    }
  }

  /// The beginning of a row of all matrices, one behind the other.
  private func row(_ row: Int) -> UnsafeMutablePointer<UInt16> {
    let (matrix, output) = row.quotientAndRemainder(dividingBy: outputs)
    let (panel, column) = output.quotientAndRemainder(dividingBy: panelColumns)
    let pairs = (inputs + 1) / 2
    return packed.base + 2 * (((matrix * panels + panel) * pairs) * panelColumns + column)
  }

  // MARK: - Products

  /// The words of matrix `index` as `productTile` wants them; for `products` only.
  func words(_ index: Int) -> UnsafePointer<UInt32> {
    let pairs = (inputs + 1) / 2
    return UnsafeRawPointer(packed.base + 2 * index * panels * pairs * panelColumns)
      .assumingMemoryBound(to: UInt32.self)
  }
}

extension Backend {
  /// c[p, :] = a[gather(p), :] · W_gᵀ + bias_g for every row p of group g, with a and W rounded to bfloat16 and sums in
  /// f32: every pair of inputs adds two products to a sum, the second input first, each rounded once.
  ///
  /// The same bits at every level, for any number of threads and in any batch. Numbers below the normal range count as 0,
  /// as operands and as sums.
  ///
  /// - Parameters: as of `product` with matrices in f32.
  public func product(
    _ groups: RowGroups, _ a: UnsafePointer<Float>, _ w: BFloat16Matrices,
    bias: UnsafePointer<Float>?, into c: UnsafeMutablePointer<Float>?, epilogue: Epilogue
  ) {
    guard groups.rows > 0, w.outputs > 0 else { return }
    let (outputs, inputs, kernels) = (w.outputs, w.inputs, w.kernels)
    let plan = TilePlan(
      groups, columns: outputs, inner: inputs, tileRows: kernels.tileRows,
      tileColumns: BFloat16Kernels.panelColumns, rowLimit: 128, columnLimit: 256,
      threads: pool.threadCount)
    plan.run(pool) { tile, _, memory in
      let rowStart = groups.gather == nil ? a + tile.row * inputs : a
      kernels.productTile(
        tile.rows, tile.columns, inputs, rowStart, groups.gather.map { $0 + tile.row },
        w.words(tile.group), tile.column, bias.map { $0 + tile.group * outputs + tile.column },
        memory.tile, ScratchLease.tileStride, memory.scratch, ScratchLease.scratchBytes)
      table.finish(epilogue, tile, memory.tile, into: c, stride: outputs, largest: nil)
    }
  }
}
