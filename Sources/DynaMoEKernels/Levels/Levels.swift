import CDynaMoEPlatform

/// The tuned kernels that this processor can run.
enum Levels {
  /// Best first; the last, `baseline`, runs everywhere.
  static let available: [KernelTable] = {
    var tables: [KernelTable] = []
    #if arch(x86_64)
      if dynamoe_cpu_has_x86_64_v4() { tables.append(LevelV4.table) }
      if dynamoe_cpu_has_x86_64_v3() { tables.append(LevelV3.table) }
    #endif
    return tables + [LevelBaseline.table]
  }()
}
