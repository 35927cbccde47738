#if arch(x86_64)
  import DynaMoEKernelsV3

  /// The tuned kernels, compiled for one level of processors.
  enum LevelV3 {
    static let table = KernelTable(
      name: "v3", panelColumns: panelColumns, tileRows: tileRows, tileColumns: panelColumns,
      pack: pack, productTile: productTile, transposedTile: transposedTile,
      gradientTile: gradientTile, columnSums: columnSums,
      activation: activation, gated: gated, activationGradient: activationGradient,
      gatedGradient: gatedGradient, exponential: exponential,
      dot: dot, add: add, addScaled: addScaled, scale: scale, softmax: softmax,
      layerNorm: { layerNorm($0, $1, $2, $3, $4, NormEpsilon.layer) },
      layerNormGradient: layerNormGradient,
      rmsNorm: { rmsNorm($0, $1, $2, $3, NormEpsilon.rms) },
      rmsNormGradient: rmsNormGradient,
      isFinite: isFinite, largestMagnitude: largestMagnitude, sumOfSquares: sumOfSquares,
      adamw: adamw, sgd: sgd)
  }
#endif
