import CDynaMoEPlatform

/// Rows that are used soon, for the kernels to ask for while they multiply.
struct RowsAhead {
  static let capacity = 8

  private let memory: UnsafeMutablePointer<dynamoe_rows>
  private(set) var count = 0

  init(_ memory: UnsafeMutablePointer<dynamoe_rows>) {
    self.memory = memory
  }

  var base: UnsafePointer<dynamoe_rows> { UnsafePointer(memory) }

  /// `rows` rows of `columns`, `stride` apart from `start` on; of those only rows `gather[0 ..< rows]` if that is given.
  mutating func add(
    _ start: UnsafePointer<Float>?, rows: Int, columns: Int, stride: Int,
    gather: UnsafePointer<Int32>? = nil
  ) {
    guard let start, count < Self.capacity else { return }
    memory[count] = dynamoe_rows(
      start: start, gather: gather, stride: stride, rows: rows, columns: columns)
    count += 1
  }

  /// The part `tile` of an array [rows, stride].
  mutating func add(_ array: UnsafePointer<Float>?, _ tile: TilePlan.Tile, stride: Int) {
    add(
      array.map { $0 + tile.row * stride + tile.column }, rows: tile.rows, columns: tile.columns,
      stride: stride)
  }
}
