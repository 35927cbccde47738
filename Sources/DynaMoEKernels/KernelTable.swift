import CDynaMoEPlatform

/// The arithmetic of one level: every operation works through one of these tables, chosen at start.
///
/// The functions are single-threaded and know plain pointers only. `P` is read, `M` is written.
struct KernelTable: Sendable {
  typealias P = UnsafePointer<Float>
  typealias M = UnsafeMutablePointer<Float>
  typealias Index = UnsafePointer<Int32>
  /// Memory of `ScratchLease.scratchBytes` for the running worker.
  typealias Scratch = UnsafeMutableRawPointer
  /// Rows to ask for meanwhile, because they are used soon.
  typealias Ahead = UnsafePointer<dynamoe_rows>

  var name: String
  /// Columns of a packed panel; 0 if products read the weights as they are.
  var panelColumns: Int
  /// Rows of the register tile: blocks of rows are multiples of it.
  var tileRows: Int
  /// Columns at which a block may begin.
  var tileColumns: Int

  /// A block of values [outputs, stride] -> panels [panel][input][panelColumns], padded with zeros;
  /// `packed` is where the block's first panel and input begin. (values, stride, outputs, inputs,
  /// packed, panelStride)
  var pack: @Sendable (P, Int, Int, Int, M, Int) -> Void

  /// c[r, j] = bias[j] + Σ_k a[gather[r], k]·W[firstColumn + j, k], k ascending from the bias (or
  /// 0) on. `weights` belong to one whole matrix, packed or not; `bias` and `c` begin at the block.
  /// (rows, columns, inner, a, gather, weights, firstColumn, bias, c, cStride, ahead, aheadCount,
  /// scratch)
  var productTile:
    @Sendable (Int, Int, Int, P, Index?, P, Int, P?, M, Int, Ahead, Int, Scratch) -> Void

  /// c[r, j] = Σ_k a[r, k]·W[k, j], k ascending. `weights` [inner, weightStride] and `c` begin at
  /// the block. (rows, columns, inner, a, weights, weightStride, c, cStride, ahead, aheadCount,
  /// scratch)
  var transposedTile: @Sendable (Int, Int, Int, P, P, Int, M, Int, Ahead, Int, Scratch) -> Void

  /// c[o, i] = Σ_p a[p, o]·b[gather[p], i] and sums[o] += Σ_p a[p, o], p ascending. `a`, `b`, `c`,
  /// `sums` begin at the block. (rows, outputs, inputs, a, aStride, b, bStride, gather, c, cStride,
  /// sums, ahead, aheadCount, scratch)
  var gradientTile:
    @Sendable (
      Int, Int, Int, P, Int, P, Int, Index?, M, Int, M?, Ahead, Int, Scratch
    ) -> Void

  /// sums[j] (+)= Σ_t a[t, j]·b[t, j] (b nil: a[t, j]), t ascending. (rows, columns, a, b, stride,
  /// accumulate, sums)
  var columnSums: @Sendable (Int, Int, P, P?, Int, Bool, M) -> Void

  /// into = act(x). (kind, x, into, n)
  var activation: @Sendable (Int, P, M, Int) -> Void
  /// into = act(gate)·x. (kind, gate, x, into, n)
  var gated: @Sendable (Int, P, P, M, Int) -> Void
  /// into = c·act'(x), where into may be x. (kind, c, x, into, n)
  var activationGradient: @Sendable (Int, P, P, M, Int) -> Void
  /// gate = c·up·act'(gate) and up = c·act(gate), from the gate before. (kind, c, gate, up, n)
  var gatedGradient: @Sendable (Int, P, M, M, Int) -> Void

  /// y = exp(x), accurate for x in -87 ... 88; above 88 as at 88. (x, y, n)
  var exponential: @Sendable (P, M, Int) -> Void

  var dot: @Sendable (P, P, Int) -> Float
  /// y += x. (x, y, n)
  var add: @Sendable (P, M, Int) -> Void
  /// y += s·x. (x, s, y, n)
  var addScaled: @Sendable (P, Float, M, Int) -> Void
  /// y = s·x. (x, s, y, n)
  var scale: @Sendable (P, Float, M, Int) -> Void
  /// s = softmax(factor·z); returns the log of the sum of exponentials. (z, n, factor, s)
  var softmax: @Sendable (P, Int, Float, M) -> Float
  /// (x, n, weight, bias, y) -> (mean, rstd)
  var layerNorm: @Sendable (P, Int, P, P, M) -> (Float, Float)
  /// (dy, x, n, weight, mean, rstd, dx, normalised)
  var layerNormGradient: @Sendable (P, P, Int, P, Float, Float, M, M) -> Void
  /// (x, n, weight, y) -> rstd
  var rmsNorm: @Sendable (P, Int, P, M) -> Float
  /// (dy, x, n, weight, rstd, dx, normalised)
  var rmsNormGradient: @Sendable (P, P, Int, P, Float, M, M) -> Void

  var isFinite: @Sendable (P, Int) -> Bool
  /// Largest |x|; NaN counts as larger than infinity.
  var largestMagnitude: @Sendable (P, Int) -> Float
  /// Squares are summed in f64.
  var sumOfSquares: @Sendable (P, Int) -> Double
  /// (w, g, m, v, n, gradientScale, keep, beta1, beta2, stepSize, correction, eps):
  /// w ← keep·w; w -= stepSize·m/(√v·correction + eps)
  var adamw: @Sendable (M, P, M, M, Int, Float, Float, Double, Double, Float, Float, Float) -> Void
  /// (w, g, buffer, n, gradientScale, decay, momentum, lr, nesterov, first)
  var sgd: @Sendable (M, P, M?, Int, Float, Float, Float, Float, Bool, Bool) -> Void
}

/// Constants of the normalisations.
enum NormEpsilon {
  static let layer: Float = 1e-5
  static let rms: Float = 1e-6
}
