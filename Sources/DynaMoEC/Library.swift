import CDynaMoE
import DynaMoE
import Glibc

@_cdecl("dynamoe_version")
public func version() -> UnsafePointer<CChar>? {
  versionText.map { UnsafePointer($0) } ?? staticText("")
}

@_cdecl("dynamoe_abi_version")
public func abiVersion() -> UInt32 {
  UInt32(DYNAMOE_ABI_VERSION)
}

@_cdecl("dynamoe_status_name")
public func statusName(_ status: dynamoe_status) -> UnsafePointer<CChar>? {
  let name: StaticString =
    switch Int(status) {
    case DYNAMOE_OK: "DYNAMOE_OK"
    case DYNAMOE_ERROR_ARGUMENT: "DYNAMOE_ERROR_ARGUMENT"
    case DYNAMOE_ERROR_STATE: "DYNAMOE_ERROR_STATE"
    case DYNAMOE_ERROR_HANDLE: "DYNAMOE_ERROR_HANDLE"
    case DYNAMOE_ERROR_MEMORY: "DYNAMOE_ERROR_MEMORY"
    case DYNAMOE_ERROR_FILE: "DYNAMOE_ERROR_FILE"
    case DYNAMOE_ERROR_FORMAT: "DYNAMOE_ERROR_FORMAT"
    case DYNAMOE_ERROR_BUSY: "DYNAMOE_ERROR_BUSY"
    case DYNAMOE_ERROR_FAILED: "DYNAMOE_ERROR_FAILED"
    case DYNAMOE_ERROR_BACKEND: "DYNAMOE_ERROR_BACKEND"
    default: "unknown status"
    }
  return staticText(name)
}

@_cdecl("dynamoe_build_info")
public func buildInfo() -> UnsafePointer<CChar>? {
  guard let texts = ThreadTexts.current else { return staticText("{}") }
  let features = Runtime.cpuFeatures.map { "\"\($0)\"" }.joined(separator: ", ")
  texts.buildInfo.store(
    "{\"version\": \"\(Runtime.version)\", \"abi\": \(DYNAMOE_ABI_VERSION), "
      + "\(kernelsEntries()), \"threads\": \(Runtime.threadCount), "
      + "\"processor_features\": [\(features)]}")
  return texts.buildInfo.pointer
}

/// The kernels in use, or why there are none.
private func kernelsEntries() -> String {
  do throws(DynaMoEError) {
    return "\"kernels\": \"\(try Runtime.kernels)\""
  } catch {
    var reason = ""
    for scalar in error.description.unicodeScalars {
      switch scalar {
      case "\"", "\\": reason += "\\\(scalar)"
      case "\u{0}"..<" ":
        let digits = String(scalar.value, radix: 16)
        reason += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: reason.unicodeScalars.append(scalar)
      }
    }
    return "\"kernels\": null, \"kernels_error\": \"\(reason)\""
  }
}

@_cdecl("dynamoe_threads_set")
public func threadsSet(_ count: Int32) -> dynamoe_status {
  guarded { () throws(DynaMoEError) in
    Runtime.threadCount = try threadCount(count)
  }
}

/// Threads as the engine counts them.
func threadCount(_ count: Int32) throws(DynaMoEError) -> Int {
  guard 1...256 ~= count else {
    throw .argument("count is \(count), allowed: 1 to 256 threads")
  }
  return Int(count)
}

@_cdecl("dynamoe_threads_get")
public func threadsGet() -> Int32 {
  Int32(truncatingIfNeeded: Runtime.threadCount)
}

nonisolated(unsafe) private let versionText: UnsafeMutablePointer<CChar>? = strdup(Runtime.version)
