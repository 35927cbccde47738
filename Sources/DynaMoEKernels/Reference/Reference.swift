import CDynaMoEPlatform

/// The obvious loops: what every tuned kernel is tested against, and the level `reference`.
enum Reference {
  typealias P = UnsafePointer<Float>
  typealias M = UnsafeMutablePointer<Float>
  typealias Index = UnsafePointer<Int32>
  typealias Ahead = UnsafePointer<dynamoe_rows>

  static let table = KernelTable(
    name: "reference", panelColumns: 0, tileRows: 8, tileColumns: 16,
    pack: { _, _, _, _, _, _ in },
    productTile: product, transposedTile: transposedProduct, gradientTile: gradientProduct,
    columnSums: columnSums,
    activation: activation, gated: gated, activationGradient: activationGradient,
    gatedGradient: gatedGradient, exponential: exponential,
    dot: dot, add: add, addScaled: addScaled, scale: scale,
    softmax: softmax,
    layerNorm: layerNorm, layerNormGradient: layerNormGradient,
    rmsNorm: rmsNorm, rmsNormGradient: rmsNormGradient,
    isFinite: isFinite, largestMagnitude: largestMagnitude, sumOfSquares: sumOfSquares,
    adamw: adamw, sgd: sgd)
}
