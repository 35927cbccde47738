import CDynaMoEPlatform
import Glibc

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

  /// One step of AdamW on contiguous elements, in f32 as `torch.optim.AdamW`:
  ///
  ///     g ← gradientScale·g;  w ← w - lr·decay·w
  ///     m = β₁m + (1-β₁)g;  v = β₂v + (1-β₂)g²
  ///     w ← w - lr/(1-β₁ᵗ) · m/(√v/√(1-β₂ᵗ) + eps)
  public func adamw(
    _ w: UnsafeMutablePointer<Float>, _ g: UnsafePointer<Float>, _ m: UnsafeMutablePointer<Float>,
    _ v: UnsafeMutablePointer<Float>, count: Int, _ s: AdamWStep
  ) {
    let step = Double(max(1, s.step))
    let keep = Float(1 - s.lr * s.decay)
    let stepSize = Float(s.lr / (1 - pow(s.beta1, step)))
    let correction = Float((1 - pow(s.beta2, step)).squareRoot())
    pool.forRanges(count, grain: Self.arrayBlock) { range in
      let i = range.lowerBound
      table.adamw(
        w + i, g + i, m + i, v + i, range.count, s.gradientScale, keep, s.beta1, s.beta2, stepSize,
        correction, Float(s.eps))
    }
  }

  /// One step of SGD on contiguous elements, in f32 as `torch.optim.SGD`:
  ///
  ///     g ← gradientScale·g + decay·w;  buffer = momentum·buffer + g  (first step: buffer = g)
  ///     w ← w - lr·(nesterov: g + momentum·buffer, else buffer; without buffer: g)
  public func sgd(
    _ w: UnsafeMutablePointer<Float>, _ g: UnsafePointer<Float>,
    momentum buffer: UnsafeMutablePointer<Float>?, count: Int, _ s: SGDStep
  ) {
    pool.forRanges(count, grain: Self.arrayBlock) { range in
      let i = range.lowerBound
      table.sgd(
        w + i, g + i, buffer.map { $0 + i }, range.count, s.gradientScale, Float(s.decay),
        Float(s.momentum), Float(s.lr), s.nesterov, s.first)
    }
  }
}
