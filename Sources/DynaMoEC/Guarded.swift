import CDynaMoE
import DynaMoE

/// Runs the body of an entry: what it throws becomes a status and this thread's message.
func guarded(_ body: () throws(DynaMoEError) -> Void) -> dynamoe_status {
  do {
    try body()
    return dynamoe_status(DYNAMOE_OK)
  } catch {
    return fail(status(of: error), error.description)
  }
}

/// The same for an entry that works on a handle, which is checked and kept busy meanwhile.
func guarded<Object: Exported>(
  _ handle: OpaquePointer?, _: Object.Type,
  _ body: (Object) throws(DynaMoEError) -> Void
) -> dynamoe_status {
  guarded(handle, Object.self) { (object, _: HandleEntry) throws(DynaMoEError) in
    try body(object)
  }
}

/// The same for an entry that also needs what the handle owns.
func guarded<Object: Exported>(
  _ handle: OpaquePointer?, _: Object.Type,
  _ body: (Object, HandleEntry) throws(DynaMoEError) -> Void
) -> dynamoe_status {
  switch HandleTable.enter(handle, Object.kind) {
  case .refused(let refusal):
    return fail(refusal.status, refusal.message(Object.kind))
  case .entered(let entry):
    defer { HandleTable.leave(entry) }
    guard let object = entry.object as? Object else {
      return fail(
        HandleRefusal.foreign.status, HandleRefusal.foreign.message(Object.kind))
    }
    return guarded { () throws(DynaMoEError) in try body(object, entry) }
  }
}

/// Stores the message for this thread and returns the status.
func fail(_ status: Int, _ message: String) -> dynamoe_status {
  ThreadTexts.current?.error.store(message)
  return dynamoe_status(status)
}

/// The one place where errors of the engine become codes.
private func status(of error: DynaMoEError) -> Int {
  switch error {
  case .argument: DYNAMOE_ERROR_ARGUMENT
  case .state: DYNAMOE_ERROR_STATE
  case .memory: DYNAMOE_ERROR_MEMORY
  case .file: DYNAMOE_ERROR_FILE
  case .format: DYNAMOE_ERROR_FORMAT
  case .busy: DYNAMOE_ERROR_BUSY
  case .failed: DYNAMOE_ERROR_FAILED
  case .backend: DYNAMOE_ERROR_BACKEND
  }
}
