/// The look of a report: colours that differ in lightness, for every kind of colour vision, on light
/// and on dark ground.
enum ReportStyle {
  private static let light = [
    "--ground:#ffffff", "--panel:#f6f7f9", "--ink:#1b1f24", "--soft:#57606a", "--grid:#dfe3e8",
    "--line:#c4cad2", "--bar:#2f6fb2", "--mark:#c2570c",
  ]
  private static let dark = [
    "--ground:#12161c", "--panel:#1a2029", "--ink:#e6eaf0", "--soft:#a3adba", "--grid:#2b3340",
    "--line:#465061", "--bar:#6aa9e9", "--mark:#f2a35e",
  ]
  private static let lightSteps = [
    "#dfebf8", "#b7d1eb", "#8fb7de", "#679dd1", "#3f83c4", "#326daa", "#245691", "#174078",
    "#0a2a5e",
  ]
  private static let darkSteps = [
    "#182c47", "#224266", "#2c5886", "#356da5", "#3f83c4", "#689ed2", "#90b9e0", "#b9d4ee",
    "#e2effc",
  ]

  private static func steps(_ colours: [String]) -> [String] {
    colours.enumerated().map { "--q\($0.offset + 1):\($0.element)" }
  }

  private static func variables(_ values: [String]) -> String {
    ":root{" + values.joined(separator: ";") + "}"
  }

  static var sheet: String {
    var text = variables(light + steps(lightSteps) + ["--on-light:#1b1f24", "--on-dark:#ffffff"])
    text += "@media(prefers-color-scheme:dark){"
    text += variables(dark + steps(darkSteps) + ["--on-light:#ffffff", "--on-dark:#10151c"]) + "}"
    text += rules
    text += ".q0{fill:var(--panel);stroke:var(--line);stroke-width:1}.empty{fill:var(--panel)}"
    for step in 1...HeatMap.steps { text += ".q\(step){fill:var(--q\(step))}" }
    text += "svg .t0{fill:var(--soft)}"
    for step in 1...HeatMap.steps {
      text += "svg .t\(step){fill:var(--on-\(step < 5 ? "light" : "dark"))}"
    }
    return text
  }

  private static let rules = """
    *{box-sizing:border-box}
    html{color-scheme:light dark;-webkit-text-size-adjust:100%}
    body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
    main{max-width:1240px;margin:0 auto;padding:24px 20px 48px}
    h1{font-size:26px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
    h2{font-size:19px;margin:40px 0 4px}
    h3{font-size:15px;margin:20px 0 8px;font-weight:600}
    p{margin:0 0 12px;max-width:78ch;color:var(--soft)}
    .facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px;margin:18px 0;padding:0}
    .facts div{background:var(--panel);border-radius:8px;padding:10px 12px}
    .facts dt{color:var(--soft);font-size:13px}
    .facts dd{margin:0;font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}
    .scroll{overflow-x:auto;max-width:100%}
    table{margin-bottom:14px;border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums}
    th,td{padding:5px 9px;text-align:right;border-bottom:1px solid var(--grid)}
    td{white-space:nowrap}
    th{color:var(--soft);font-weight:600;vertical-align:bottom}
    th:first-child,td:first-child,.left{text-align:left}
    .note{margin:0 0 12px;color:var(--soft)}
    .note summary{font-size:15px;font-weight:400}
    .label{unicode-bidi:isolate}
    .panels{display:flex;flex-wrap:wrap;gap:18px 22px;align-items:flex-start}
    figure{margin:0;min-width:0;max-width:100%}
    figcaption{font-size:14px;font-weight:600;margin:0 0 4px}
    svg{display:block}
    svg text{fill:var(--soft);font:12px system-ui,sans-serif}
    .bar{fill:var(--bar)}
    .outline{fill:none;stroke:var(--line);stroke-width:1.5}
    .mark{stroke:var(--mark);stroke-width:2.5}
    .grid{stroke:var(--grid);stroke-width:1}
    .axis{stroke:var(--line);stroke-width:1}
    .key{display:inline-block;width:14px;height:10px;vertical-align:0;margin:0 4px 0 0;border-radius:2px}
    .keys>span{margin-right:16px;white-space:nowrap}
    .key.solid{background:var(--bar)}
    .key.hollow{border:1.5px solid var(--line)}
    .key.dash{height:3px;vertical-align:3px;background:var(--mark)}
    summary{cursor:pointer}
    .last{margin-top:40px}
    .last summary{font-size:19px;font-weight:700}
    pre{background:var(--panel);border-radius:8px;padding:12px;font-size:13px;white-space:pre-wrap;overflow-wrap:anywhere}
    footer{margin-top:40px;color:var(--soft);font-size:13px}
    @media(max-width:600px){main{padding:16px 12px 40px}h1{font-size:22px}.facts dd{font-size:17px}}
    @media print{.scroll{overflow:visible}}
    """
}
