import CDynaMoE
import DynaMoE

@_cdecl("dynamoe_preset_json")
public func presetJSON(
  _ name: UnsafePointer<CChar>?, _ overrides: UnsafePointer<CChar>?, _ overridesLength: Int,
  _ text: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ length: UnsafeMutablePointer<Int>?
) -> dynamoe_status {
  guarded { () throws(DynaMoEError) in
    let preset = try Preset(name: DynaMoEC.text("name", name, limit: 64))
    var configuration = ModelConfiguration.preset(preset)
    if overrides != nil || overridesLength != 0 {
      let json = try DynaMoEC.text(
        "overrides", overrides, length: overridesLength, lengthName: "overrides_length")
      configuration = try .preset(preset, overrides: json)
    }
    try writeText(configuration.json, text, capacity, length)
  }
}

@_cdecl("dynamoe_presets_json")
public func presetsJSON(
  _ text: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ length: UnsafeMutablePointer<Int>?
) -> dynamoe_status {
  guarded { () throws(DynaMoEError) in
    try writeText(Preset.catalogue, text, capacity, length)
  }
}
