#if canImport(Glibc)
  import Glibc
#else
  import Musl
#endif

/// One layer of a report.
struct ReportLayer {
  let router: ResolvedRouter
  let experts: Int
  let hidden: Int
  let sharedExperts: Int
  /// Of the report's rows only.
  let statistics: RoutingStatistics
  let counts: ReportCounts.LayerCounts
  /// Forward, per row, at the measured and at the largest K.
  let flopsPerRow: Double
  let denseFlopsPerRow: Double

  /// The mean K that the router is told to reach.
  var targetActive: Double? {
    switch router.kind {
    case .threshold, .expertThreshold, .topP, .relu: router.targetActive
    case .topK: Double(router.k)
    case .percentile, .topAny, .dense: nil
    }
  }

  /// ln N
  var largestEntropy: Double { log(Double(max(2, experts))) }

  /// The smallest K of a column.
  func firstActive(ofColumn column: Int) -> Int {
    guard experts > ReportCounts.mostColumns else { return column }
    return (column * experts + ReportCounts.mostColumns - 1) / ReportCounts.mostColumns
  }

  /// Columns up to the largest K of any row and a little beyond.
  var usedColumns: Int {
    let most = statistics.kHistogram.lastIndex { $0 > 0 } ?? 0
    return min(counts.columns, max(9, counts.column(ofActive: most) + 2))
  }

  /// Where K lies among the columns.
  func position(ofActive k: Double) -> Double {
    experts > ReportCounts.mostColumns
      ? k * Double(ReportCounts.mostColumns) / Double(experts) : k
  }

  /// Pairs of a row of the group and an active expert.
  func pairs(_ grouping: Int, group: Int) -> Int {
    counts.expertRows[grouping][group * experts..<(group + 1) * experts].reduce(0, +)
  }

  var unusedExperts: [Int] {
    statistics.expertRows.indices.filter { statistics.expertRows[$0] == 0 }
  }
}

/// Everything that a report says.
struct ReportContent {
  let title: String
  let task: ModelConfiguration.Task
  let rows: Int
  let evaluation: Evaluation
  let configurationJSON: String
  /// Features per row or vocabulary, outputs and width.
  let inputs: Int
  let outputs: Int
  let width: Int
  let parameterCount: Int
  /// At the mean K of the report's rows.
  let activeParameterCount: Double
  let flopsPerRow: Double
  let precision: Precision
  let groupings: [RowGrouping]
  /// Rows of each group whose largest logit is the target's.
  let hits: [[Int]]
  let layers: [ReportLayer]
}

extension Model {
  /// What an evaluation that was not committed yet has gathered.
  func reportContent(
    _ evaluation: Evaluation, _ counts: ReportCounts, rows: Int, options: ReportOptions
  ) -> ReportContent {
    let means = evaluation.meanActive
    return ReportContent(
      title: options.title ?? "Routing report", task: configuration.task, rows: rows,
      evaluation: evaluation, configurationJSON: configurationJSON,
      inputs: configuration.inputs ?? configuration.vocabulary ?? 0, outputs: outputs,
      width: width, parameterCount: parameterCount,
      activeParameterCount: activeParameterCount(meanActive: means),
      flopsPerRow: flopsPerRow(meanActive: means), precision: precision,
      groupings: counts.groupings, hits: counts.hits,
      layers: layers.indices.map { index in
        let layer = layers[index]
        return ReportLayer(
          router: layer.router.settings, experts: layer.expertCount, hidden: layer.experts.hidden,
          sharedExperts: layer.shared?.count ?? 0,
          statistics: RoutingStatistics(
            layer.statistics.pendingCounters, participation: nil,
            coactivation: layer.expertCount <= ReportFigures.mostPairs),
          counts: counts.layers[index],
          flopsPerRow: layer.flopsPerRow(meanActive: means[index]),
          denseFlopsPerRow: layer.flopsPerRow(meanActive: Double(layer.expertCount)))
      })
  }
}
