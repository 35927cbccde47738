/// Rows × columns of shares as colours: nine steps between 0 and the largest, and a look of its own
/// for exactly 0.
struct HeatMap {
  static let steps = 9

  /// Names of the rows, from the top.
  var rowLabels: [String]
  var rowTitle: String
  var columnTitle: String
  /// [rows · columns]; NaN: nothing there, as beyond the experts of a layer.
  var values: [Double]
  var columns: Int
  /// What the number under column c is; every so many columns get one.
  var columnLabel: (Int) -> String = { String($0) }
  /// The value that the darkest colour stands for.
  var largest: Double
  var label: String
  /// The words at a cell, for small maps.
  var hint: (Int, Int) -> String
  /// Whether the value is written into its cell, in per cent, when there is room.
  var showsValues = false
  /// What is written into cells with room in place of per cent.
  var cellText: (Double) -> String = { fixed(100 * $0, 0) }

  /// Cells above this number are drawn without words of their own, to keep the file small.
  private static let mostHints = 1500

  var rows: Int { rowLabels.count }

  private var cell: (width: Int, height: Int) {
    let width: Int =
      switch columns {
      case ...12: showsValues ? 34 : 20
      case ...17: showsValues ? 30 : 16
      case ...33: 14
      case ...65: 10
      case ...130: 6
      default: 3
      }
    return (width, max(columns > 17 || !showsValues ? min(width, 16) : 20, rows > 40 ? 4 : 14))
  }

  func step(of value: Double) -> Int {
    guard value > 0 else { return 0 }
    return min(Self.steps, max(1, Int((value / largest * Double(Self.steps)).rounded(.up))))
  }

  func drawing() -> Drawing {
    let (cellWidth, cellHeight) = square ? (squareCell, squareCell) : cell
    let labelWidth = 16 + 7 * (rowLabels.map(\.count).max() ?? 1)
    let left = labelWidth + 22
    let top = 8
    let gridWidth = columns * cellWidth
    let gridHeight = rows * cellHeight
    var drawing = Drawing(
      width: max(left + gridWidth + 14, left + 140 + 7 * legendTitle.count),
      height: top + gridHeight + 82, label: label)
    cells(&drawing, left, top, cellWidth, cellHeight)
    let every = max(1, (11 + cellHeight) / max(cellHeight, 1) - (cellHeight >= 11 ? 1 : 0))
    for row in 0..<rows where row % every == 0 {
      drawing.text(
        rowLabels[row], x: Double(left - 6),
        y: Double(top + row * cellHeight) + Double(cellHeight) / 2 + 4, .end, style: "label")
    }
    drawing.upwards(rowTitle, x: 12, y: Double(top) + Double(gridHeight) / 2)
    let widest = (0..<max(columns, 1)).map { columnLabel($0).count }.max() ?? 1
    let spacing = max(1, (7 * widest + 8 + cellWidth - 1) / cellWidth)
    for column in stride(from: 0, to: columns, by: spacing) {
      drawing.text(
        columnLabel(column), x: Double(left + column * cellWidth) + Double(cellWidth) / 2,
        y: Double(top + gridHeight + 15), .middle)
    }
    drawing.text(
      columnTitle, x: Double(left) + Double(gridWidth) / 2, y: Double(top + gridHeight + 33),
      gridWidth < 60 ? .start : .middle)
    legend(&drawing, left: left, top: top + gridHeight + 46)
    return drawing
  }

  /// Whether cells are squares, as of a symmetric matrix.
  var square = false
  private var squareCell: Int {
    columns < 5 ? 100 / max(columns, 1) : min(20, max(3, 220 / columns))
  }

  private func cells(
    _ drawing: inout Drawing, _ left: Int, _ top: Int, _ width: Int, _ height: Int
  ) {
    guard rows * columns <= Self.mostHints else {
      paths(&drawing, left, top, width, height)
      return
    }
    for row in 0..<rows {
      for column in 0..<columns {
        let value = values[row * columns + column]
        guard !value.isNaN else { continue }
        let step = step(of: value)
        drawing.rectangle(
          x: Double(left + column * width) + 0.5, y: Double(top + row * height) + 0.5,
          width: Double(width) - 1, height: Double(height) - 1, style: "q\(step)",
          hint: hint(row, column))
        if showsValues && width >= 28 && height >= 14 {
          drawing.text(
            cellText(value), x: Double(left + column * width) + Double(width) / 2,
            y: Double(top + row * height) + Double(height) / 2 + 4, .middle, style: "t\(step)")
        }
      }
    }
  }

  /// One path per colour; neighbours in a row are one rectangle.
  private func paths(
    _ drawing: inout Drawing, _ left: Int, _ top: Int, _ width: Int, _ height: Int
  ) {
    var commands = [String](repeating: "", count: Self.steps + 1)
    for row in 0..<rows {
      var column = 0
      while column < columns {
        let value = values[row * columns + column]
        guard !value.isNaN else {
          column += 1
          continue
        }
        let step = step(of: value)
        var end = column + 1
        while end < columns, !values[row * columns + end].isNaN,
          self.step(of: values[row * columns + end]) == step
        {
          end += 1
        }
        let run = (end - column) * width
        commands[step] +=
          "M\(left + column * width) \(top + row * height)h\(run)v\(height)h-\(run)z"
        column = end
      }
    }
    for (step, path) in commands.enumerated() where !path.isEmpty {
      drawing.path(path, style: step == 0 ? "empty" : "q\(step)")
    }
  }

  /// What the colours mean.
  private func legend(_ drawing: inout Drawing, left: Int, top: Int) {
    let box = 12
    drawing.rectangle(
      x: Double(left) + 0.5, y: Double(top) + 0.5, width: Double(box) - 1, height: 11, style: "q0",
      hint: "exactly 0")
    drawing.text("0", x: Double(left) + 6, y: Double(top + 26), .middle)
    for step in 1...Self.steps {
      drawing.rectangle(
        x: Double(left + 6 + step * box), y: Double(top), width: Double(box), height: 12,
        style: "q\(step)")
    }
    drawing.text(">0", x: Double(left + 8 + box), y: Double(top + 26), .start)
    drawing.text(
      legendMaximum, x: Double(left + 6 + (Self.steps + 1) * box), y: Double(top + 26), .end)
    drawing.text(
      legendTitle, x: Double(left + 14 + (Self.steps + 1) * box), y: Double(top + 11), .start)
  }

  /// How the legend writes `largest`, and what the colours stand for.
  var legendMaximum = ""
  var legendTitle = ""
}
