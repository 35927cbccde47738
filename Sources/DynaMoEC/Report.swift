import CDynaMoE
import DynaMoE

@_cdecl("dynamoe_model_report")
public func modelReport(
  _ model: OpaquePointer?, _ x: UnsafePointer<Float>?, _ xCount: Int, _ rows: Int,
  _ targets: UnsafePointer<dynamoe_targets>?, _ options: UnsafePointer<CChar>?,
  _ optionsLength: Int, _ path: UnsafePointer<CChar>?
) -> dynamoe_status {
  guarded(model, Model.self) { (model: Model) throws(DynaMoEError) in
    let input = try features(model, x, xCount, rows)
    try report(model, input, rows, targets, options, optionsLength, path)
  }
}

@_cdecl("dynamoe_model_report_tokens")
public func modelReportTokens(
  _ model: OpaquePointer?, _ ids: UnsafePointer<Int32>?, _ rows: Int,
  _ targets: UnsafePointer<dynamoe_targets>?, _ options: UnsafePointer<CChar>?,
  _ optionsLength: Int, _ path: UnsafePointer<CChar>?
) -> dynamoe_status {
  guarded(model, Model.self) { (model: Model) throws(DynaMoEError) in
    let input = try tokens(model, ids, rows)
    try report(model, input, rows, targets, options, optionsLength, path)
  }
}

private func report(
  _ model: Model, _ input: Input, _ rows: Int, _ targets: UnsafePointer<dynamoe_targets>?,
  _ options: UnsafePointer<CChar>?, _ optionsLength: Int, _ path: UnsafePointer<CChar>?
) throws(DynaMoEError) {
  let path = try filePath(path)
  let targets = try engineTargets(model, targets, rows: rows)
  var chosen = ReportOptions()
  if options != nil || optionsLength != 0 {
    chosen = try ReportOptions(
      json: text("options", options, length: optionsLength, lengthName: "options_length"))
  }
  try model.writeReport(input, targets, options: chosen, to: path)
}
