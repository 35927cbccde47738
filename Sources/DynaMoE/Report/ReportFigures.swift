/// The figures of a report. N experts, K active experts of a row, L layers.
enum ReportFigures {
  /// Experts at most drawn one by one; of more, neighbours share a column.
  static let mostColumns = 512
  /// The most experts whose pairs are drawn.
  static let mostPairs = 128

  // MARK: - Layers

  /// Bars: experts, mean K and the K aimed at of each layer.
  static func layers(_ layers: [ReportLayer]) -> Drawing {
    let step = Double(max(16, min(64, 640 / layers.count)))
    let left = 52.0
    let height = 200.0
    let top = 12.0
    let width = Int(left + step * Double(layers.count)) + 14
    let most = layers.map(\.experts).max() ?? 1
    let maximum = niceMaximum(Double(most))
    var drawing = Drawing(
      width: max(width, 250), height: Int(top + height) + 44,
      label: "Experts and mean number of active experts of \(layers.count) layers")
    func y(_ value: Double) -> Double { top + height * (1 - value / maximum) }
    axis(&drawing, left: left, right: left + step * Double(layers.count), maximum: maximum, y) {
      significant($0)
    }
    drawing.upwards("experts", x: 13, y: top + height / 2)
    let every = max(1, Int((22 / step).rounded(.up)))
    for (index, layer) in layers.enumerated() {
      let x = left + step * (Double(index) + 0.15)
      let bar = step * 0.7
      let mean = layer.statistics.meanActive
      drawing.rectangle(
        x: x, y: y(Double(layer.experts)), width: bar,
        height: top + height - y(Double(layer.experts)), style: "outline",
        hint: "layer \(index): \(layer.experts) experts")
      drawing.rectangle(
        x: x, y: y(mean), width: bar, height: top + height - y(mean), style: "bar",
        hint: "layer \(index): mean K \(fixed(mean, 3)) of \(layer.experts)")
      if let target = layer.targetActive {
        drawing.line(
          x1: x - step * 0.08, y1: y(target), x2: x + bar + step * 0.08, y2: y(target),
          style: "mark")
      }
      if index % every == 0 {
        drawing.text(String(index), x: x + bar / 2, y: top + height + 16, .middle)
      }
    }
    drawing.text(
      "layer", x: left + step * Double(layers.count) / 2, y: top + height + 35, .middle)
    return drawing
  }

  /// Bars: share of rows by K.
  static func histogram(_ layer: ReportLayer, index: Int) -> Drawing {
    var shares = [Double](repeating: 0, count: layer.counts.columns)
    for (k, rows) in layer.statistics.kHistogram.enumerated() {
      shares[layer.counts.column(ofActive: k)] +=
        Double(rows) / Double(max(1, layer.statistics.rows))
    }
    shares.removeLast(shares.count - layer.usedColumns)
    let left = 52.0
    let top = 12.0
    let height = 130.0
    let width = 260.0
    let step = width / Double(shares.count)
    let maximum = niceMaximum(shares.max() ?? 1)
    var drawing = Drawing(
      width: Int(left + width) + 14, height: Int(top + height) + 44,
      label: "Share of rows by number of active experts in layer \(index)")
    func y(_ value: Double) -> Double { top + height * (1 - value / maximum) }
    axis(&drawing, left: left, right: left + width, maximum: maximum, y) {
      significant(100 * $0)
    }
    drawing.upwards("rows / %", x: 13, y: top + height / 2)
    let widest = String(layer.firstActive(ofColumn: shares.count - 1)).count
    let every = max(1, Int((Double(7 * widest + 10) / step).rounded(.up)))
    for (column, share) in shares.enumerated() {
      let x = left + step * Double(column)
      let k = layer.firstActive(ofColumn: column)
      drawing.rectangle(
        x: x + step * 0.1, y: y(share), width: step * 0.8, height: top + height - y(share),
        style: "bar", hint: "K = \(k): \(percent(share, 2)) of the rows")
      if column % every == 0 {
        drawing.text(String(k), x: x + step / 2, y: top + height + 16, .middle)
      }
    }
    let mean = left + step * (layer.position(ofActive: layer.statistics.meanActive) + 0.5)
    drawing.line(x1: mean, y1: top, x2: mean, y2: top + height, style: "mark")
    drawing.text(
      "active experts K", x: left + width / 2, y: top + height + 35, .middle)
    return drawing
  }

  private static func axis(
    _ drawing: inout Drawing, left: Double, right: Double, maximum: Double,
    _ y: (Double) -> Double, _ text: (Double) -> String
  ) {
    for tick in 0...4 {
      let value = maximum * Double(tick) / 4
      drawing.line(
        x1: left, y1: y(value), x2: right, y2: y(value), style: tick == 0 ? "axis" : "grid")
      drawing.text(text(value), x: left - 6, y: y(value) + 4, .end)
    }
  }

  // MARK: - Heat maps

  /// Layers × experts: the share of the rows that use each expert.
  static func load(_ layers: [ReportLayer]) -> Drawing {
    let most = layers.map(\.experts).max() ?? 1
    let binned = Bins(most, atMost: mostColumns)
    var values: [Double] = []
    for layer in layers {
      let rows = Double(max(1, layer.statistics.rows))
      let shares = layer.statistics.expertRows.map { Double($0) / rows }
      values += binned.means(shares)
    }
    let largest = values.lazy.filter { !$0.isNaN }.max() ?? 1
    var map = HeatMap(
      rowLabels: layers.indices.map(String.init), rowTitle: "layer", columnTitle: "expert",
      values: values, columns: binned.count, columnLabel: { String(binned.first($0)) },
      largest: largest > 0 ? largest : 1,
      label: "Share of rows that use each expert, by layer",
      hint: { layer, expert in
        "layer \(layer), expert \(binned.first(expert)): \(percent(values[layer * binned.count + expert], 2)) of the rows"
      })
    map.showsValues = true
    map.legendMaximum = percent(largest)
    map.legendTitle = "rows"
    return map.drawing()
  }

  /// Experts × experts: of the rows that use one, the share that also uses the other.
  static func pairs(_ layer: ReportLayer, index: Int) -> Drawing {
    let n = layer.experts
    let together = layer.statistics.coactivation
    var values = [Double](repeating: .nan, count: n * n)
    for a in 0..<n {
      for b in 0..<n where a != b {
        let rows = together[a * n + a]
        values[a * n + b] = rows > 0 ? Double(together[a * n + b]) / Double(rows) : 0
      }
    }
    var map = HeatMap(
      rowLabels: (0..<n).map(String.init), rowTitle: "rows of expert",
      columnTitle: "that also use expert", values: values, columns: n, largest: 1,
      label: "Co-activation of the \(n) experts of layer \(index)",
      hint: { a, b in
        "of the rows of expert \(a), \(percent(values[a * n + b])) also use expert \(b)"
      })
    map.square = true
    map.legendMaximum = "100 %"
    map.legendTitle = "rows"
    return map.drawing()
  }

  /// Groups × experts: the share of each group's rows that use each expert.
  static func groups(
    _ grouping: RowGrouping, at place: Int, _ layer: ReportLayer, index: Int
  ) -> Drawing {
    let n = layer.experts
    let binned = Bins(n, atMost: mostColumns)
    var values: [Double] = []
    for (group, rows) in grouping.rows.enumerated() {
      let counts = layer.counts.expertRows[place][group * n..<(group + 1) * n]
      values += binned.means(counts.map { rows > 0 ? Double($0) / Double(rows) : .nan })
    }
    var map = HeatMap(
      rowLabels: grouping.labels.map { shortened($0, to: 18) }, rowTitle: grouping.kind.noun,
      columnTitle: "expert", values: values, columns: binned.count,
      columnLabel: { String(binned.first($0)) }, largest: 1,
      label:
        "Share of the rows of each \(grouping.kind.noun) that use each expert of layer \(index)",
      hint: { group, expert in
        "\(grouping.labels[group]), expert \(binned.first(expert)): \(percent(values[group * binned.count + expert]))"
      })
    map.legendMaximum = "100 %"
    map.legendTitle = "rows of the \(grouping.kind.noun)"
    return map.drawing()
  }

  /// Groups × layers: mean K.
  static func activeByGroup(
    _ grouping: RowGrouping, at place: Int, _ layers: [ReportLayer]
  ) -> Drawing {
    var values: [Double] = []
    for (group, rows) in grouping.rows.enumerated() {
      for layer in layers {
        values.append(
          rows > 0 ? Double(layer.pairs(place, group: group)) / Double(rows) : .nan)
      }
    }
    let largest = values.lazy.filter { !$0.isNaN }.max() ?? 1
    var map = HeatMap(
      rowLabels: grouping.labels.map { shortened($0, to: 18) }, rowTitle: grouping.kind.noun,
      columnTitle: "layer", values: values, columns: layers.count,
      largest: largest > 0 ? largest : 1,
      label: "Mean number of active experts by \(grouping.kind.noun) and layer",
      hint: { group, layer in
        "\(grouping.labels[group]), layer \(layer): mean K \(fixed(values[group * layers.count + layer], 2))"
      })
    map.showsValues = true
    map.cellText = { fixed($0, $0 < 9.95 ? 1 : 0) }
    map.legendMaximum = fixed(largest, 2)
    map.legendTitle = "mean K"
    return map.drawing()
  }

  /// Entropy × K: share of rows.
  static func entropy(_ layer: ReportLayer, index: Int) -> Drawing {
    let bins = ReportCounts.entropyBins
    let columns = layer.usedColumns
    let rows = Double(max(1, layer.statistics.rows))
    var values: [Double] = []
    for bin in (0..<bins).reversed() {
      for column in 0..<columns {
        values.append(Double(layer.counts.rowsByEntropy[column * bins + bin]) / rows)
      }
    }
    let largest = values.max() ?? 1
    func edge(_ bin: Int) -> String {
      fixed(Double(bin) / Double(bins) * layer.largestEntropy, 2)
    }
    var map = HeatMap(
      rowLabels: (0..<bins).reversed().map(edge), rowTitle: "entropy / nats",
      columnTitle: "active experts K", values: values, columns: columns,
      columnLabel: { String(layer.firstActive(ofColumn: $0)) },
      largest: largest > 0 ? largest : 1,
      label: "Share of rows by routing entropy and number of active experts in layer \(index)",
      hint: { row, column in
        let bin = bins - 1 - row
        return
          "K = \(layer.firstActive(ofColumn: column)), entropy \(edge(bin)) to \(edge(bin + 1)): \(percent(values[row * columns + column], 2)) of the rows"
      })
    map.legendMaximum = percent(largest)
    map.legendTitle = "rows"
    return map.drawing()
  }
}

/// Experts that share a column where there are too many for one each.
struct Bins {
  let experts: Int
  let size: Int
  var count: Int { (experts + size - 1) / size }

  init(_ experts: Int, atMost most: Int) {
    self.experts = experts
    size = (experts + most - 1) / most
  }

  func first(_ column: Int) -> Int { column * size }

  /// The mean of each column's values, NaN beyond their end.
  func means(_ values: [Double]) -> [Double] {
    (0..<count).map { column in
      let part = values.dropFirst(column * size).prefix(size)
      return part.isEmpty ? .nan : part.reduce(0, +) / Double(part.count)
    }
  }
}

extension RowGrouping.Kind {
  /// One group in words.
  var noun: String {
    switch self {
    case .classes: "class"
    case .tokens: "token"
    case .ranges: "range"
    }
  }
}
