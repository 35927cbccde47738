import CDynaMoEPlatform

/// Threaded operations on whole arrays.
extension Backend {
  /// Elements of a task; also the fixed blocks of sums, which makes these independent of the number
  /// of threads.
  static var arrayBlock: Int { 1 << 15 }

  /// Whether no element is NaN or infinite; true if there are none.
  public func isFinite(_ x: UnsafePointer<Float>, _ n: Int) -> Bool {
    guard n > Self.arrayBlock else { return n <= 0 || table.isFinite(x, n) }
    let lease = ScratchLease.acquire(workers: 1)
    defer { lease.release() }
    let found = UnsafeMutableRawPointer(lease.table).bindMemory(to: UInt32.self, capacity: 1)
    found.pointee = 0
    pool.forRanges(n, grain: Self.arrayBlock) { range in
      if dynamoe_load32(found) == 0, !table.isFinite(x + range.lowerBound, range.count) {
        dynamoe_store32(found, 1)
      }
    }
    return dynamoe_load32(found) == 0
  }

  /// Largest |x|, 0 if there are none; infinite when one is NaN.
  public func largestMagnitude(_ x: UnsafePointer<Float>, _ n: Int) -> Float {
    let largest = n > 0 ? largestMagnitudeOrNaN(x, n) : 0
    return largest.isNaN ? .infinity : largest
  }

  private func largestMagnitudeOrNaN(_ x: UnsafePointer<Float>, _ n: Int) -> Float {
    guard n > Self.arrayBlock else { return table.largestMagnitude(x, n) }
    let lease = ScratchLease.acquire(workers: 1)
    defer { lease.release() }
    let parts = UnsafeMutableRawPointer(lease.table).bindMemory(
      to: Float.self, capacity: ScratchLease.tableCount)
    let grain = max(Self.arrayBlock, (n - 1) / ScratchLease.tableCount + 1)
    pool.forRanges(n, grain: grain) { range in
      parts[range.lowerBound / grain] = table.largestMagnitude(x + range.lowerBound, range.count)
    }
    return table.largestMagnitude(parts, (n - 1) / grain + 1)
  }

  /// Σ x[i]², in f64 over fixed blocks.
  public func sumOfSquares(_ x: UnsafePointer<Float>, _ n: Int) -> Double {
    guard n > Self.arrayBlock else { return n > 0 ? table.sumOfSquares(x, n) : 0 }
    let lease = ScratchLease.acquire(workers: 1)
    defer { lease.release() }
    let parts = UnsafeMutableRawPointer(lease.table).bindMemory(
      to: Double.self, capacity: ScratchLease.tableCount)
    var sum = 0.0
    var start = 0
    while start < n {
      let count = min(n - start, ScratchLease.tableCount * Self.arrayBlock)
      let base = x + start
      pool.forRanges(count, grain: Self.arrayBlock) { range in
        parts[range.lowerBound / Self.arrayBlock] = table.sumOfSquares(
          base + range.lowerBound, range.count)
      }
      for part in 0...((count - 1) / Self.arrayBlock) { sum += parts[part] }
      start += count
    }
    return sum
  }

  /// x *= s.
  public func scale(_ x: UnsafeMutablePointer<Float>, by s: Float, count: Int) {
    pool.forRanges(count, grain: Self.arrayBlock) { range in
      table.scale(x + range.lowerBound, s, x + range.lowerBound, range.count)
    }
  }

  /// x = v everywhere.
  public func fill(_ x: UnsafeMutablePointer<Float>, with v: Float, count: Int) {
    pool.forRanges(count, grain: Self.arrayBlock) { range in
      (x + range.lowerBound).update(repeating: v, count: range.count)
    }
  }

  /// sums[j] += Σ_t a[t, j]·b[t, j] (b nil: Σ_t a[t, j]), t in order.
  ///
  /// - Parameters:
  ///   - a: [rows, columns], as b; sums: [columns].
  public func addColumnSums(
    _ a: UnsafePointer<Float>, times b: UnsafePointer<Float>?, rows: Int, columns: Int,
    to sums: UnsafeMutablePointer<Float>
  ) {
    guard rows > 0, columns > 0 else { return }
    let grain = rows * columns <= Self.arrayBlock ? columns : 64
    pool.forRanges(columns, grain: grain) { range in
      let start = range.lowerBound
      table.columnSums(
        rows, range.count, a + start, b.map { $0 + start }, columns, true, sums + start)
    }
  }

  /// One step of an optimizer on `count` elements from the first on.
  ///
  /// Numbers below the normal range count as 0: the moments of parameters without gradients end there, and would take many
  /// times as long.
  public func step(_ step: ParameterStep, _ gradient: UnsafePointer<Float>, count: Int) {
    pool.forRanges(count, grain: Self.arrayBlock) { range in
      let mode = dynamoe_float_mode_flush()
      step.apply(table, range.lowerBound, gradient + range.lowerBound, count: range.count)
      dynamoe_float_mode_restore(mode)
    }
  }
}
