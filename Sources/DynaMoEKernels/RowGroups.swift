/// Rows 0 ..< `offsets[count]` fall into `count` groups; group g is the rows `offsets[g] ..<
/// offsets[g + 1]`.
///
/// The memory is borrowed: it has to outlive the call that the value is passed to.
public struct RowGroups {
  /// Number of groups; groups may be empty.
  public var count: Int
  /// [count + 1], from 0, never falling.
  public var offsets: UnsafePointer<Int32>
  /// Row p of the grouped order reads row `gather[p]` of the ungathered matrix; nil: row p.
  public var gather: UnsafePointer<Int32>?

  public init(count: Int, offsets: UnsafePointer<Int32>, gather: UnsafePointer<Int32>? = nil) {
    self.count = count
    self.offsets = offsets
    self.gather = gather
  }

  /// Rows of all groups.
  public var rows: Int { count > 0 ? Int(offsets[count]) : 0 }

  func start(_ group: Int) -> Int { Int(offsets[group]) }

  func size(_ group: Int) -> Int { Int(offsets[group + 1]) - Int(offsets[group]) }
}
