import CDynaMoE
import DynaMoE

@_cdecl("dynamoe_schedule_counts")
public func scheduleCounts(
  _ name: UnsafePointer<CChar>?, _ layers: Int64, _ minimum: Int64, _ maximum: Int64,
  _ cycles: Double, _ total: Int64, _ counts: UnsafeMutablePointer<Int64>?, _ capacity: Int
) -> dynamoe_status {
  guarded { () throws(DynaMoEError) in
    let schedule = try engineSchedule("", name, minimum, maximum, cycles, total)
    guard 1...Int64(maximumLayers) ~= layers else {
      throw .argument("layers is \(layers), allowed: 1 to \(maximumLayers)")
    }
    let destination = try output(
      "counts", counts, "capacity", capacity,
      shape: Shape(formula: "layers", rows: Int(layers)))
    for (layer, count) in try schedule.counts(layers: Int(layers)).enumerated() {
      destination[layer] = Int64(count)
    }
  }
}

/// A schedule in C's words; `prefix` says in messages where the arguments stand.
func engineSchedule(
  _ prefix: String, _ name: UnsafePointer<CChar>?, _ minimum: Int64, _ maximum: Int64,
  _ cycles: Double, _ total: Int64
) throws(DynaMoEError) -> Schedule {
  let word = try text("\(prefix)name", name, limit: 64)
  guard let shape = Schedule.Shape(rawValue: word) else {
    let allowed = Schedule.Shape.allCases.map(\.rawValue).joined(separator: ", ")
    throw .argument("\(prefix)name is \"\(word)\", allowed: \(allowed)")
  }
  guard total >= 0 else {
    throw .argument("\(prefix)total is \(total), allowed: 0 for none, or at least layers")
  }
  return Schedule(
    shape, minimum: Int(minimum), maximum: Int(maximum), cycles: cycles,
    total: total == 0 ? nil : Int(total))
}
