import CDynaMoEPlatform
import DynaMoEKernelsBaseline

#if arch(x86_64)
  import DynaMoEKernelsV3
  import DynaMoEKernelsV4
  import DynaMoEKernelsV4BFloat16
#endif

/// The products of one level in bfloat16; all levels give the same bits.
struct BFloat16Kernels: Sendable {
  typealias P = UnsafePointer<Float>
  typealias M = UnsafeMutablePointer<Float>
  typealias Index = UnsafePointer<Int32>
  typealias Words = UnsafePointer<UInt32>

  /// `v4bfloat16` is `v4` with AVX512_BF16.
  var name: String
  /// Rows of the register tile: blocks of rows are multiples of it.
  var tileRows: Int
  /// c[r, j] = bias[j] + Σ_k a[gather[r], k]·W[firstColumn + j, k] with a and W rounded. `weights` belong to one whole
  /// matrix, as `BFloat16Matrices` packs it; `bias` and `c` begin at the block. (rows, columns, inner, a, gather, weights,
  /// firstColumn, bias, c, cStride, scratch, scratchBytes)
  var productTile:
    @Sendable (
      Int, Int, Int, P, Index?, Words, Int, P?, M, Int, UnsafeMutableRawPointer, Int
    ) -> Void

  /// Columns of a panel of packed weights.
  static let panelColumns = 32

  #if arch(x86_64)
    static let hardware = BFloat16Kernels(
      name: "v4bfloat16", tileRows: DynaMoEKernelsV4BFloat16.pairTileRows,
      productTile: DynaMoEKernelsV4BFloat16.bfloat16ProductTile)
    static let v4 = BFloat16Kernels(
      name: "v4", tileRows: DynaMoEKernelsV4.pairTileRows,
      productTile: DynaMoEKernelsV4.bfloat16ProductTile)
    static let v3 = BFloat16Kernels(
      name: "v3", tileRows: DynaMoEKernelsV3.pairTileRows,
      productTile: DynaMoEKernelsV3.bfloat16ProductTile)
  #endif
  static let baseline = BFloat16Kernels(
    name: "baseline", tileRows: DynaMoEKernelsBaseline.pairTileRows,
    productTile: DynaMoEKernelsBaseline.bfloat16ProductTile)
  static let reference = BFloat16Kernels(
    name: "reference", tileRows: 8, productTile: Reference.bfloat16Product)

  /// What this processor can run, best first.
  static let available: [BFloat16Kernels] = {
    guard dynamoe_flushes_denormals() else { return [reference] }
    var kernels: [BFloat16Kernels] = []
    #if arch(x86_64)
      if dynamoe_cpu_has_x86_64_v4() {
        kernels.append(v4)
        if dynamoe_cpu_has_avx512bf16(), agreesWithReference(hardware) {
          kernels.insert(hardware, at: dynamoe_cpu_has_fast_avx512bf16() ? 0 : 1)
        }
      }
      if dynamoe_cpu_has_x86_64_v3() { kernels.append(v3) }
    #endif
    return kernels + [baseline, reference]
  }()

  /// The products that go with the backend `name`: the best of `v4`, those of the other levels, and of this processor
  /// for a backend that has none of its own.
  static func matching(_ name: String) -> BFloat16Kernels {
    if name != "v4", let own = available.first(where: { $0.name == name }) { return own }
    return available[0]
  }
}
