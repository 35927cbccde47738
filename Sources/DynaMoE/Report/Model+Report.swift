import DynaMoEKernels

/// What a report says besides what is computed.
public struct ReportOptions: Equatable, Sendable {
  /// Nil: "Routing report".
  public var title: String?
  /// One per output of a model with classes; nil: those of ``Model/names``, or the numbers. Of
  /// a language model also the names of its tokens.
  public var classNames: [String]?

  /// What is nil has its default.
  public init(title: String? = nil, classNames: [String]? = nil) {
    self.title = title
    self.classNames = classNames
  }

  /// From an object with the keys `title`, a string, and `class_names`, a list of strings; null
  /// counts as absent.
  ///
  /// - Throws: ``DynaMoEError/argument(_:)``.
  public init(json: String) throws(DynaMoEError) {
    let value: JSONValue
    do throws(JSONError) {
      value = try JSONParser.parse(json)
    } catch {
      throw .argument("options is not valid JSON: \(error.description)")
    }
    let reader = try ObjectReader(value, path: "options", keys: ["title", "class_names"])
    switch reader["title"] {
    case nil, .null: break
    case .string(let text): title = text
    case .some(let other):
      throw .argument("options.title must be a string; got \(other.summary)")
    }
    switch reader["class_names"] {
    case nil, .null: break
    case .some(let names): classNames = try names.strings("options.class_names")
    }
  }
}

extension JSONValue {
  func strings(_ path: String) throws(DynaMoEError) -> [String] {
    let names = try list(path) { (value, path) throws(DynaMoEError) -> String in
      guard case .string(let name) = value else {
        throw .argument("\(path) must be a string; got \(value.summary)")
      }
      return name
    }
    guard let names else { throw .argument("\(path) must be a list of strings; got \(summary)") }
    return names
  }
}

extension Model {
  /// Evaluates the rows and writes how they were routed as one HTML file, which opens in a browser
  /// without network.
  ///
  /// It has the model in numbers and, of these rows alone: loss and accuracy, experts and mean K by
  /// layer, histograms of K, the load of the experts, which classes (token ids: which tokens;
  /// regression of one output: which ranges of the target) use which experts, co-activation, and K
  /// against the entropy of the scores. The same model, rows and options give the same bytes.
  ///
  /// The file is written beside `path` and renamed: an interrupted call leaves the old file whole.
  /// Changes nothing but the statistics, which count the rows as ``evaluate(_:_:)`` does.
  ///
  /// - Returns: what ``evaluate(_:_:)`` returns.
  /// - Throws: ``DynaMoEError/argument(_:)``, also without rows; ``DynaMoEError/memory(_:)``;
  ///   ``DynaMoEError/failed(_:)`` when a logit or the loss is not finite;
  ///   ``DynaMoEError/file(_:)``. Then the statistics are as before.
  @discardableResult
  public func writeReport(
    _ input: Input, _ targets: Targets, options: ReportOptions = ReportOptions(), to path: String
  ) throws(DynaMoEError) -> Evaluation {
    let rows = input.rows
    guard rows > 0 else { throw .argument("rows is 0, allowed in a report: at least 1") }
    _ = try checkInput(input)
    try checkTargets(targets, rows: rows)
    try SystemFile.checkPath(path)
    let counts = ReportCounts(
      experts: layers.map(\.expertCount), groupings: try groupings(input, targets, options))
    return try evaluate(input, targets, evaluation, counting: counts) {
      evaluation throws(DynaMoEError) in
      let html = Array(
        ReportPage.html(
          reportContent(evaluation, counts, rows: rows, options: options)
        ).utf8)
      try writeFile(html, to: path)
    }
  }

  private func groupings(
    _ input: Input, _ targets: Targets, _ options: ReportOptions
  ) throws(DynaMoEError) -> [RowGrouping] {
    let names = options.classNames ?? names.classes
    try check(DataNames(classes: names))
    let columns = max(outputs, configuration.vocabulary ?? 0)
    try AvailableMemory.check(
      input.rows * 16 + columns * 32 + layers.reduce(0) { $0 + $1.expertCount * 1024 },
      for: "a report on \(input.rows) rows")
    var groupings: [RowGrouping] = []
    if case .tokens(let ids) = input, let vocabulary = configuration.vocabulary {
      let isLanguageModel = configuration.task == .languageModel
      groupings.append(
        RowGrouping(kind: .tokens, numbers: ids, count: vocabulary) {
          isLanguageModel ? names?[$0] ?? String($0) : String($0)
        })
    }
    switch targets {
    case .classes(let classes):
      groupings.append(
        RowGrouping(kind: .classes, numbers: classes, count: outputs) {
          names?[$0] ?? String($0)
        })
    case .values(let values):
      if outputs == 1 { groupings.append(RowGrouping(values: values)) }
    }
    return groupings
  }
}
