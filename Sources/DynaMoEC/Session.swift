import CDynaMoE
import DynaMoE

@_cdecl("dynamoe_session_create")
public func sessionCreate(
  _ model: OpaquePointer?, _ out: UnsafeMutablePointer<OpaquePointer?>?
) -> dynamoe_status {
  let status = guarded { () throws(DynaMoEError) in try required("out", out).pointee = nil }
  guard status == dynamoe_status(DYNAMOE_OK) else { return status }
  return guarded(model, Model.self) { (model: Model) throws(DynaMoEError) in
    try required("out", out).pointee = HandleTable.insert(model.session())
  }
}

@_cdecl("dynamoe_session_free")
public func sessionFree(_ session: OpaquePointer?) -> dynamoe_status {
  release(session, Session.self)
}

@_cdecl("dynamoe_session_threads_set")
public func sessionThreadsSet(_ session: OpaquePointer?, _ count: Int32) -> dynamoe_status {
  guarded(session, Session.self) { (session: Session) throws(DynaMoEError) in
    session.threads = try threadCount(count)
  }
}

@_cdecl("dynamoe_session_forward")
public func sessionForward(
  _ session: OpaquePointer?, _ x: UnsafePointer<Float>?, _ xCount: Int, _ rows: Int,
  _ logits: UnsafeMutablePointer<Float>?, _ logitsCount: Int
) -> dynamoe_status {
  guarded(session, Session.self) { (session: Session) throws(DynaMoEError) in
    let input = try features(session.model, x, xCount, rows)
    try forward(session, input, rows, logits, logitsCount)
  }
}

@_cdecl("dynamoe_session_forward_tokens")
public func sessionForwardTokens(
  _ session: OpaquePointer?, _ ids: UnsafePointer<Int32>?, _ rows: Int,
  _ logits: UnsafeMutablePointer<Float>?, _ logitsCount: Int
) -> dynamoe_status {
  guarded(session, Session.self) { (session: Session) throws(DynaMoEError) in
    let input = try tokens(session.model, ids, rows)
    try forward(session, input, rows, logits, logitsCount)
  }
}

@_cdecl("dynamoe_session_evaluate")
public func sessionEvaluate(
  _ session: OpaquePointer?, _ x: UnsafePointer<Float>?, _ xCount: Int, _ rows: Int,
  _ targets: UnsafePointer<dynamoe_targets>?,
  _ evaluation: UnsafeMutablePointer<dynamoe_evaluation>?,
  _ meanK: UnsafeMutablePointer<Double>?, _ meanKCount: Int
) -> dynamoe_status {
  guarded(session, Session.self) { (session: Session) throws(DynaMoEError) in
    let input = try features(session.model, x, xCount, rows)
    try evaluate(
      session.model, input, rows, targets, evaluation, meanK, meanKCount, session: session)
  }
}

@_cdecl("dynamoe_session_evaluate_tokens")
public func sessionEvaluateTokens(
  _ session: OpaquePointer?, _ ids: UnsafePointer<Int32>?, _ rows: Int,
  _ targets: UnsafePointer<dynamoe_targets>?,
  _ evaluation: UnsafeMutablePointer<dynamoe_evaluation>?,
  _ meanK: UnsafeMutablePointer<Double>?, _ meanKCount: Int
) -> dynamoe_status {
  guarded(session, Session.self) { (session: Session) throws(DynaMoEError) in
    let input = try tokens(session.model, ids, rows)
    try evaluate(
      session.model, input, rows, targets, evaluation, meanK, meanKCount, session: session)
  }
}

private func forward(
  _ session: Session, _ input: Input, _ rows: Int, _ logits: UnsafeMutablePointer<Float>?,
  _ logitsCount: Int
) throws(DynaMoEError) {
  let shape = Shape(formula: "rows * outputs", rows: rows, columns: session.outputs)
  try session.forward(
    input, into: output("logits", logits, "logits_count", logitsCount, shape: shape))
}
