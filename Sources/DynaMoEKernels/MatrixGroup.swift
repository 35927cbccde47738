import CDynaMoEPlatform
import Glibc

/// `count` matrices [outputs, inputs], row-major one behind the other as in `torch.nn.Linear`, with
/// whatever packed copy the backend multiplies with.
///
/// The values are borrowed and have to outlive the group. Products by several threads at once are
/// fine; values may change only while none runs, and have to be followed by `invalidate`.
public final class MatrixGroup: @unchecked Sendable {
  public let count: Int
  public let outputs: Int
  public let inputs: Int
  let values: UnsafePointer<Float>

  private let backend: Backend
  private let packed: Buffer<Float>
  /// Panels of one matrix; 0 if the backend does not pack.
  private let panels: Int
  private let state: UnsafeMutablePointer<UInt32>

  private static let stale: UInt32 = 0
  private static let packing: UInt32 = 1
  private static let ready: UInt32 = 2

  /// - Throws: `AllocationError` if the packed copy does not fit into memory, a size is negative,
  ///   or their product
  ///   overflows.
  public init(
    backend: Backend, values: UnsafePointer<Float>, count: Int, outputs: Int, inputs: Int
  ) throws(AllocationError) {
    _ = try checkedProduct(count, outputs, inputs, MemoryLayout<Float>.stride)
    let width = backend.table.panelColumns
    let panels = width == 0 || outputs == 0 ? 0 : (outputs - 1) / width + 1
    packed = try Buffer(uninitialized: checkedProduct(count, panels, width, inputs))
    self.backend = backend
    self.values = values
    self.count = count
    self.outputs = outputs
    self.inputs = inputs
    self.panels = panels
    state = UnsafeMutablePointer<UInt32>.allocate(capacity: 1)
    state.initialize(to: Self.stale)
  }

  deinit {
    state.deallocate()
  }

  /// Says that the values changed: the packed copy is made anew at the next product. Cheap.
  public func invalidate() {
    dynamoe_store32(state, Self.stale)
  }

  /// Weights of matrix `index` as `productTile` wants them, once `makeReady` was called.
  func weights(_ index: Int) -> UnsafePointer<Float> {
    panels == 0
      ? values + index * outputs * inputs
      : UnsafePointer(packed.base) + index * panels * backend.table.panelColumns * inputs
  }

  /// Packs a block of matrix `index` again whose values changed; `output` begins a panel.
  func packBlock(_ index: Int, output: Int, outputs count: Int, input: Int, inputs width: Int) {
    guard panels > 0 else { return }
    let columns = backend.table.panelColumns
    let panel = (index * panels + output / columns) * columns * inputs
    backend.table.pack(
      values + (index * outputs + output) * inputs + input, inputs, count, width,
      packed.base + panel + input * columns, columns * inputs)
  }

  /// Adds where `packBlock` will write.
  func addPacked(
    _ index: Int, output: Int, outputs count: Int, input: Int, inputs width: Int,
    to ahead: inout RowsAhead
  ) {
    guard panels > 0 else { return }
    let columns = backend.table.panelColumns
    let panel = (index * panels + output / columns) * columns * inputs
    ahead.add(
      packed.base + panel + input * columns, rows: (count + columns - 1) / columns,
      columns: width * columns, stride: columns * inputs)
  }

  /// Says that every block was packed since the values changed.
  func markPacked() {
    dynamoe_store32(state, Self.ready)
  }

  /// Packs if the values changed since the last time; one of several threads packs and the others
  /// wait for it.
  func makeReady() {
    guard panels > 0 else { return }
    while dynamoe_load32(state) != Self.ready {
      if dynamoe_exchange32(state, Self.stale, Self.packing) {
        pack()
        dynamoe_store32(state, Self.ready)
      } else {
        sched_yield()
      }
    }
  }

  private func pack() {
    let width = backend.table.panelColumns
    // About 64 KB a task.
    let step = min(panels, max(1, 16_384 / max(1, width * inputs)))
    let steps = (panels - 1) / step + 1
    backend.pool.run(count * steps) { task, _ in
      let output = task % steps * step * width
      self.packBlock(
        task / steps, output: output, outputs: min(step * width, self.outputs - output), input: 0,
        inputs: self.inputs)
    }
  }
}
