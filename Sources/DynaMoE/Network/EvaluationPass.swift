import DynaMoEKernels

/// The forward that `copyLastRouting` speaks of.
enum LatestForward {
  case none
  case training(rows: Int)
  case evaluation(rows: Int)

  var rows: Int {
    switch self {
    case .none: 0
    case .training(let rows), .evaluation(let rows): rows
    }
  }
}

/// What evaluations need and leave: memory, routing, statistics. A network has one of its own, every
/// session another. Nothing else changes in an evaluation, which runs in chunks of rows.
final class EvaluationPass {
  /// Rows of a chunk: enough for the products, few enough for the memory of any number of rows to
  /// stay bounded.
  let chunkRows: Int

  /// h [chunk, D], overwritten by each block.
  var hidden = Buffer<Float>()
  var normalised = Buffer<Float>()
  var norm = NormPass()
  var active = Buffer<UInt8>()
  var weights = Buffer<Float>()
  /// Of the layer that is at work.
  let layer = LayerPass()
  /// Of each layer.
  let records: [RoutingRecord]
  let statistics: [LayerStatistics]
  /// Memory for the logits of a slice of rows: of a network that of its training.
  let batch: BatchPass
  var latest = LatestForward.none

  init(_ layers: [RoutedLayer], statistics: [LayerStatistics], batch: BatchPass) {
    chunkRows = layers.map(Self.chunkRows).max() ?? Self.fewestRows
    self.statistics = statistics
    self.batch = batch
    records = statistics.map { RoutingRecord(experts: $0.counters.experts) }
  }

  private static let fewestRows = 4096
  private static let mostRows = 16_384

  /// Each chunk reads the weights of all experts anew, which pays for some hundred rows of each.
  private static func chunkRows(_ layer: RoutedLayer) -> Int {
    let rows = 128 * Double(layer.expertCount) / max(1, layer.router.expectedActive)
    return Int(min(max(rows, Double(fewestRows)), Double(mostRows)))
  }

  func reserve(rows: Int, width: Int, experts: Int) throws(AllocationError) {
    try hidden.reserve(rows * width)
    try normalised.reserve(rows * width)
    try active.reserve(rows * experts)
    try weights.reserve(rows * experts)
  }

  /// Where the routing of `layer` goes: the record from `firstRow` on, or memory that is used again.
  func routing(
    layer: Int, firstRow: Int?
  ) -> (active: UnsafeMutablePointer<UInt8>, weights: UnsafeMutablePointer<Float>) {
    guard let firstRow else { return (active.base, weights.base) }
    let record = records[layer]
    let offset = firstRow * record.experts
    return (record.active + offset, record.weights + offset)
  }
}
