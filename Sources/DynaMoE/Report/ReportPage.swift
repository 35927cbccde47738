/// A report as one HTML file that needs nothing else: no scripts, no fonts, no network.
struct ReportPage {
  /// Layers at most that get figures of their own; the tables and maps have all.
  private static let mostPanels = 64

  private let content: ReportContent
  private var page = Markup()

  init(_ content: ReportContent) { self.content = content }

  /// The bytes of the file.
  static func html(_ content: ReportContent) -> String {
    var page = ReportPage(content)
    page.write()
    return page.page.html
  }

  private var panels: Range<Int> { 0..<min(Self.mostPanels, content.layers.count) }

  private mutating func write() {
    page.literal("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
    page.literal(
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        + "<meta name=\"color-scheme\" content=\"light dark\">\n")
    page.element("title", content.title)
    page.literal("\n<style>\(ReportStyle.sheet)</style>\n</head>\n<body>\n<main>\n")
    header()
    layerTable()
    layerFigure()
    histograms()
    load()
    for place in content.groupings.indices { groups(place) }
    pairs()
    entropy()
    configuration()
    page.literal("<footer>")
    page.text("DynaMoE \(Runtime.version)")
    page.literal("</footer>\n</main>\n</body>\n</html>\n")
  }

  // MARK: - Parts

  private mutating func heading(_ title: String, _ explanation: String) {
    page.literal("<section>\n")
    page.element("h2", title)
    page.literal("\n")
    page.element("p", explanation)
    page.literal("\n")
  }

  private mutating func figure(_ caption: String, _ drawing: Drawing) {
    page.literal("<figure>")
    page.element("figcaption", caption)
    page.literal("<div class=\"scroll\">")
    page.append(drawing.markup)
    page.literal("</div></figure>\n")
  }

  private mutating func eachLayer(_ drawing: (ReportLayer, Int) -> Drawing) {
    page.literal("<div class=\"panels\">\n")
    for index in panels {
      let layer = content.layers[index]
      figure("Layer \(index), \(layer.experts) experts", drawing(layer, index))
    }
    page.literal("</div>\n")
    if panels.count < content.layers.count {
      page.element(
        "p", "The first \(panels.count) of \(content.layers.count) layers are drawn.")
    }
    page.literal("</section>\n")
  }

  private mutating func header() {
    page.element("h1", content.title)
    let rows = content.inputs
    let input =
      content.task == .languageModel ? "vocabulary \(grouped(rows))" : "inputs \(grouped(rows))"
    page.literal("\n")
    page.element(
      "p",
      "\(content.task.rawValue), \(input), outputs \(grouped(content.outputs)), width \(content.width), "
        + "\(content.layers.count) \(content.layers.count == 1 ? "layer" : "layers"), "
        + "evaluated on \(grouped(content.rows)) rows"
        + (content.precision == .float32 ? "." : " in \(content.precision.rawValue)."))
    let evaluation = content.evaluation
    var facts: [(String, String)] = []
    if let accuracy = evaluation.accuracy { facts.append(("accuracy", percent(accuracy))) }
    if let r2 = evaluation.r2 { facts.append(("R²", fixed(r2, 3))) }
    facts.append(("loss", fixed(evaluation.loss, 4)))
    if let perplexity = evaluation.perplexity {
      facts.append(("perplexity", significant(perplexity)))
    }
    if content.task != .regression, evaluation.countedRows != content.rows {
      facts.append(("rows with a target", grouped(evaluation.countedRows)))
    }
    let experts = content.layers.reduce(0) { $0 + $1.experts }
    let active = evaluation.meanActive.reduce(0, +)
    facts.append(("experts", grouped(experts)))
    facts.append(("active experts per row", fixed(active, 2)))
    facts.append(("parameters", grouped(content.parameterCount)))
    facts.append(
      (
        "active parameters",
        "\(grouped(Int(content.activeParameterCount.rounded()))) (\(percent(content.activeParameterCount / Double(max(1, content.parameterCount)), 0)))"
      ))
    facts.append(("flops per row", grouped(Int(content.flopsPerRow.rounded()))))
    page.literal("\n<dl class=\"facts\">\n")
    for (name, value) in facts {
      page.literal("<div>")
      page.element("dt", name)
      page.element("dd", value)
      page.literal("</div>\n")
    }
    page.literal("</dl>\n")
  }

  private mutating func table(_ titles: [String], _ rows: [[String]]) {
    page.literal("<div class=\"scroll\"><table>\n<thead><tr>")
    for title in titles { page.element("th", "scope=\"col\"", title) }
    page.literal("</tr></thead>\n<tbody>\n")
    for row in rows {
      page.literal("<tr>")
      for (index, cell) in row.enumerated() {
        page.element("td", index == 0 ? "class=\"label\"" : "", cell)
      }
      page.literal("</tr>\n")
    }
    page.literal("</tbody></table></div>\n")
  }

  private mutating func layerTable() {
    heading(
      "Layers",
      "K is the number of active experts of a row. Entropy: of the router's scores, mean over rows, "
        + "in nats; in brackets the largest possible, ln N. Limited: rows whose K the fewest or most "
        + "allowed changed. Load imbalance: rows of the busiest expert over the mean; load variation: "
        + "standard deviation over mean. Flops: forward, per row, and as a share of all experts active."
    )
    table(
      [
        "layer", "router", "experts", "hidden", "K aimed at", "mean K", "std. dev. of K", "entropy",
        "limited", "load imbalance", "load variation", "unused", "flops per row",
      ],
      content.layers.enumerated().map { index, layer in
        let statistics = layer.statistics
        let shared = layer.sharedExperts > 0 ? " + \(layer.sharedExperts) shared" : ""
        return [
          String(index), layer.router.kind.rawValue, "\(layer.experts)\(shared)",
          grouped(layer.hidden), layer.targetActive.map { significant($0) } ?? "–",
          fixed(statistics.meanActive, 3), fixed(statistics.varianceActive.squareRoot(), 3),
          "\(fixed(statistics.entropy, 3)) (\(fixed(layer.experts > 1 ? layer.largestEntropy : 0, 3)))",
          percent(statistics.limitedShare), fixed(statistics.loadImbalance, 2),
          fixed(statistics.loadVariation, 2), grouped(statistics.unused),
          "\(grouped(Int(layer.flopsPerRow.rounded()))) (\(percent(layer.flopsPerRow / layer.denseFlopsPerRow, 0)))",
        ]
      })
    unused()
    page.literal("</section>\n")
  }

  /// Which experts no row used.
  private mutating func unused() {
    let layers = content.layers.indices.filter { !content.layers[$0].unusedExperts.isEmpty }
    guard !layers.isEmpty else {
      page.element("p", "Every expert was used by at least one row.")
      return
    }
    let total = layers.reduce(0) { $0 + content.layers[$1].unusedExperts.count }
    page.literal("<details class=\"note\">")
    page.element("summary", "Experts that no row used: \(grouped(total))")
    for index in layers {
      let unused = content.layers[index].unusedExperts.map(String.init)
      page.element("p", "Layer \(index): \(unused.joined(separator: ", ")).")
    }
    page.literal("</details>\n")
  }

  private mutating func layerFigure() {
    page.literal("<section>\n")
    page.element("h2", "Experts and mean K by layer")
    page.literal("<p class=\"keys\">")
    key("hollow", "experts")
    key("solid", "mean K of these rows")
    if content.layers.contains(where: { $0.targetActive != nil }) { key("dash", "K aimed at") }
    page.literal("</p>\n")
    figure("All layers", ReportFigures.layers(content.layers))
    page.literal("</section>\n")
  }

  private mutating func key(_ style: String, _ text: String) {
    page.literal("<span><span class=\"key \(style)\"></span>")
    page.text(text)
    page.literal("</span>")
  }

  private mutating func histograms() {
    heading(
      "How many experts the rows use",
      "Share of the rows by their number of active experts K. The upright line is the mean.")
    eachLayer { ReportFigures.histogram($0, index: $1) }
  }

  private mutating func load() {
    let most = content.layers.map(\.experts).max() ?? 1
    let bins = Bins(most, atMost: ReportFigures.mostColumns)
    heading(
      "Expert load",
      "Share of the rows that use each expert, in per cent. A frame without colour: an expert that no row uses."
        + (bins.size > 1 ? " A column is the mean of \(bins.size) neighbouring experts." : ""))
    figure("Layers × experts", ReportFigures.load(content.layers))
    page.literal("</section>\n")
  }

  private mutating func pairs() {
    guard content.layers.allSatisfy({ $0.experts <= ReportFigures.mostPairs }) else {
      heading(
        "Co-activation",
        "Not drawn: a layer has more than \(ReportFigures.mostPairs) experts.")
      page.literal("</section>\n")
      return
    }
    heading(
      "Co-activation",
      "Of the rows that use the expert of a line, the share that also uses the expert of a column.")
    eachLayer { ReportFigures.pairs($0, index: $1) }
  }

  private mutating func entropy() {
    heading(
      "K against entropy",
      "Share of the rows by number of active experts and entropy of the router's scores. With a router "
        + "that adapts, uncertain rows, which have a high entropy, use more experts.")
    eachLayer { ReportFigures.entropy($0, index: $1) }
  }

  private mutating func groups(_ place: Int) {
    let grouping = content.groupings[place]
    let (title, explanation) = grouping.kind.words
    heading(
      title,
      explanation
        + (grouping.omitted > 0
          ? " Shown are the \(grouping.labels.count) with the most rows; \(grouped(grouping.omitted)) more are not."
          : ""))
    let hasHits = grouping.kind == .classes
    let experts = content.layers.enumerated().map { "K in layer \($0.offset)" }
    let columns = [grouping.kind.noun, "rows"] + (hasHits ? ["accuracy"] : [])
    table(
      columns + (content.layers.count <= 16 ? experts : []),
      grouping.labels.indices.map { group in
        let rows = grouping.rows[group]
        var line = [shortened(grouping.labels[group], to: 40), grouped(rows)]
        if hasHits {
          line.append(
            rows > 0 ? percent(Double(content.hits[place][group]) / Double(rows)) : "–")
        }
        guard content.layers.count <= 16 else { return line }
        return line
          + content.layers.map { layer in
            rows > 0 ? fixed(Double(layer.pairs(place, group: group)) / Double(rows), 2) : "–"
          }
      })
    figure(
      "Mean K by \(grouping.kind.noun) and layer",
      ReportFigures.activeByGroup(grouping, at: place, content.layers))
    page.element(
      "h3", "Share of the rows of each \(grouping.kind.noun) that use each expert")
    eachLayer { ReportFigures.groups(grouping, at: place, $0, index: $1) }
  }

  private mutating func configuration() {
    page.literal("<details class=\"last\"><summary>Configuration</summary>\n<pre>")
    page.text(content.configurationJSON)
    page.literal("</pre></details>\n")
  }
}

extension RowGrouping.Kind {
  /// Title and explanation of a group's part of the report.
  fileprivate var words: (title: String, explanation: String) {
    switch self {
    case .classes:
      (
        "Classes and experts",
        "Rows by the class of their target: how many experts they use, and which."
      )
    case .tokens:
      (
        "Tokens and experts",
        "Rows by their token: how many experts they use, and which."
      )
    case .ranges:
      (
        "Targets and experts",
        "Rows by the range of their target, in up to \(RowGrouping.rangeCount) parts of about as many rows: how many experts they use, and which."
      )
    }
  }
}
