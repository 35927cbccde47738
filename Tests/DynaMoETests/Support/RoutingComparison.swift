import Testing

@testable import DynaMoE

/// Compares the engine's latest routing of a layer with the reference's: gate weights always, the
/// selection for every row in which no decision was near to turning out otherwise.
///
/// Returns the number of rows whose selection was compared.
@discardableResult
func expectRouting(
  _ engine: (active: [Bool], weights: [Float]), _ reference: ReferenceRouting, layer: Int,
  sourceLocation: SourceLocation = #_sourceLocation
) -> Int {
  let count = reference.z.columns
  var compared = 0
  for t in 0..<reference.z.rows where reference.margin[t] > 1e-5 {
    compared += 1
    let range = t * count..<(t + 1) * count
    #expect(
      Array(engine.active[range]) == Array(reference.ownActive[range]),
      "selection of row \(t) in layer \(layer)", sourceLocation: sourceLocation)
  }
  let wrong = mismatch("weights of layer \(layer)", engine.weights, reference.weights.values)
  #expect(wrong == nil, sourceLocation: sourceLocation)
  return compared
}
