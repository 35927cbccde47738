import Glibc

/// Products by OpenBLAS, loaded at run time; one thread each, because the tiles are what runs in
/// parallel. A program that loaded OpenBLAS before keeps its own number of threads.
struct OpenBLAS: Sendable {
  private typealias Sgemm =
    @convention(c) (
      Int32, Int32, Int32, Int32, Int32, Int32, Float, UnsafePointer<Float>, Int32,
      UnsafePointer<Float>, Int32, Float, UnsafeMutablePointer<Float>, Int32
    ) -> Void

  private static let rowMajor: Int32 = 101
  private static let plain: Int32 = 111
  private static let transposed: Int32 = 112

  private let sgemm: Sgemm

  private static let loaded: Result<OpenBLAS, BackendError> = {
    let belongsToHost = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD) != nil
    guard let library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL) else {
      let reason = dlerror().map { String(cString: $0) } ?? "unknown reason"
      return .failure(
        BackendError("kernels \"openblas\" need libopenblas.so.0 (install libopenblas0): \(reason)")
      )
    }
    guard let sgemm = dlsym(library, "cblas_sgemm"),
      let threads = dlsym(library, "openblas_set_num_threads")
    else {
      return .failure(
        BackendError("libopenblas.so.0 lacks cblas_sgemm or openblas_set_num_threads"))
    }
    if !belongsToHost {
      unsafeBitCast(threads, to: (@convention(c) (Int32) -> Void).self)(1)
    }
    return .success(OpenBLAS(sgemm: unsafeBitCast(sgemm, to: Sgemm.self)))
  }()

  /// The table of `others` with the products replaced; rows longer than BLAS can count are left to
  /// the plain loops.
  static func table(others: KernelTable) throws(BackendError) -> KernelTable {
    let blas = try loaded.get()
    var table = others
    table.name = "openblas"
    table.panelColumns = 0
    table.tileRows = 64
    table.tileColumns = 64
    table.pack = { _, _, _, _, _, _ in }
    table.productTile = {
      rows, columns, inner, a, gather, weights, first, bias, c, stride, ahead, aheadCount, scratch
      in
      guard fits(inner, stride) else {
        return Reference.product(
          rows: rows, columns: columns, inner: inner, a: a, gather: gather, weights: weights,
          firstColumn: first, bias: bias, c: c, cStride: stride, ahead: ahead,
          aheadCount: aheadCount, scratch: scratch)
      }
      for r in 0..<rows {
        if let bias {
          (c + r * stride).update(from: bias, count: columns)
        } else {
          (c + r * stride).update(repeating: 0, count: columns)
        }
      }
      blas.addProduct(rows, columns, inner, a, gather, weights + first * inner, c, stride, scratch)
    }
    table.transposedTile = {
      rows, columns, inner, a, weights, weightStride, c, stride, ahead, aheadCount, scratch in
      guard fits(inner, weightStride, stride) else {
        return Reference.transposedProduct(
          rows: rows, columns: columns, inner: inner, a: a, weights: weights,
          weightStride: weightStride, c: c, cStride: stride, ahead: ahead, aheadCount: aheadCount,
          scratch: scratch)
      }
      blas.sgemm(
        rowMajor, plain, plain, Int32(rows), Int32(columns), Int32(inner), 1, a, leading(inner),
        weights, leading(weightStride), 0, c, leading(stride))
    }
    table.gradientTile = {
      rows, outputs, inputs, a, aStride, b, bStride, gather, c, stride, sums, ahead, aheadCount,
      scratch in
      guard fits(aStride, bStride, stride) else {
        return Reference.gradientProduct(
          rows: rows, outputs: outputs, inputs: inputs, a: a, aStride: aStride, b: b,
          bStride: bStride, gather: gather, c: c, cStride: stride, sums: sums, ahead: ahead,
          aheadCount: aheadCount, scratch: scratch)
      }
      if let sums { others.columnSums(rows, outputs, a, nil, aStride, true, sums) }
      blas.gradient(
        rows, outputs, inputs, a, aStride, b, bStride, gather, c, stride, scratch)
    }
    return table
  }

  private static func fits(_ a: Int, _ b: Int, _ c: Int = 0) -> Bool {
    max(a, b, c) <= Int(Int32.max)
  }

  /// BLAS wants leading dimensions of at least 1.
  private static func leading(_ stride: Int) -> Int32 { Int32(max(1, stride)) }

  /// c += a[gather] · Wᵀ; gathered rows are copied, in as many columns as the scratch memory holds.
  private func addProduct(
    _ rows: Int, _ columns: Int, _ inner: Int, _ a: UnsafePointer<Float>,
    _ gather: UnsafePointer<Int32>?, _ weights: UnsafePointer<Float>,
    _ c: UnsafeMutablePointer<Float>, _ stride: Int, _ scratch: UnsafeMutableRawPointer
  ) {
    let copy = scratch.bindMemory(to: Float.self, capacity: ScratchLease.scratchBytes / 4)
    let block = gather == nil ? max(1, inner) : ScratchLease.scratchBytes / 4 / rows
    var k = 0
    while k < inner {
      let depth = min(block, inner - k)
      var source = a + k
      var sourceStride = inner
      if let gather {
        for r in 0..<rows {
          (copy + r * depth).update(from: a + Int(gather[r]) * inner + k, count: depth)
        }
        source = UnsafePointer(copy)
        sourceStride = depth
      }
      sgemm(
        Self.rowMajor, Self.plain, Self.transposed, Int32(rows), Int32(columns), Int32(depth), 1,
        source, Self.leading(sourceStride), weights + k, Self.leading(inner), 1, c,
        Self.leading(stride))
      k += depth
    }
  }

  /// c = aᵀ · b[gather], in blocks of rows.
  private func gradient(
    _ rows: Int, _ outputs: Int, _ inputs: Int, _ a: UnsafePointer<Float>, _ aStride: Int,
    _ b: UnsafePointer<Float>, _ bStride: Int, _ gather: UnsafePointer<Int32>?,
    _ c: UnsafeMutablePointer<Float>, _ stride: Int, _ scratch: UnsafeMutableRawPointer
  ) {
    let copy = scratch.bindMemory(to: Float.self, capacity: ScratchLease.scratchBytes / 4)
    let block = ScratchLease.scratchBytes / 4 / inputs
    var p = 0
    repeat {
      let depth = min(block, rows - p)
      var source = b + p * bStride
      var sourceStride = bStride
      if let gather {
        for q in 0..<depth {
          (copy + q * inputs).update(from: b + Int(gather[p + q]) * bStride, count: inputs)
        }
        source = UnsafePointer(copy)
        sourceStride = inputs
      }
      sgemm(
        Self.rowMajor, Self.transposed, Self.plain, Int32(outputs), Int32(inputs), Int32(depth), 1,
        a + p * aStride, Self.leading(aStride), source, Self.leading(sourceStride),
        p > 0 ? 1 : 0, c, Self.leading(stride))
      p += depth
    } while p < rows
  }
}
