// swift-tools-version: 6.2
import PackageDescription

let include = "\(Context.packageDirectory)/Include"

/// What is built for: the machine that builds, unless a cross build names another architecture, because a manifest does not see
/// the target. Other processors than x86-64 have the kernels `baseline`, `reference` and `openblas`.
#if arch(x86_64)
  let host = "x86_64"
#else
  let host = "other"
#endif
let isX86 = (Context.environment["DYNAMOE_ARCHITECTURE"] ?? host) == "x86_64"

/// Kernel targets are optimised in debug builds too: unoptimised SIMD code is hundreds of times slower.
func kernelTarget(_ name: String, architecture: [String], define: String) -> Target {
  .target(
    name: name,
    dependencies: ["CDynaMoEPlatform"],
    swiftSettings: [
      .define(define),
      .unsafeFlags(["-O"] + architecture.flatMap { ["-Xcc", $0] }),
    ])
}

let x86Kernels =
  isX86
  ? [
    kernelTarget("DynaMoEKernelsV3", architecture: ["-march=x86-64-v3"], define: "LEVEL_V3"),
    kernelTarget("DynaMoEKernelsV4", architecture: ["-march=x86-64-v4"], define: "LEVEL_V4"),
    kernelTarget(
      "DynaMoEKernelsV4BFloat16", architecture: ["-march=x86-64-v4", "-mavx512bf16"],
      define: "LEVEL_BFLOAT16"),
  ] : []

let package = Package(
  name: "DynaMoE",
  products: [
    .library(name: "DynaMoE", targets: ["DynaMoE"]),
    .library(name: "dynamoe", type: .dynamic, targets: ["DynaMoEC"]),
  ],
  targets: [
    .target(name: "CDynaMoEPlatform"),
    kernelTarget("DynaMoEKernelsBaseline", architecture: [], define: "LEVEL_BASELINE"),
    .target(
      name: "DynaMoEKernels",
      dependencies: ["CDynaMoEPlatform", "DynaMoEKernelsBaseline"]
        + x86Kernels.map { .target(name: $0.name) },
      swiftSettings: [.unsafeFlags(["-O"])]),
    .target(name: "DynaMoE", dependencies: ["DynaMoEKernels", "CDynaMoEPlatform"]),
    .systemLibrary(name: "CDynaMoE", path: "Include"),
    .target(
      name: "DynaMoEC",
      dependencies: ["DynaMoE", "CDynaMoE"],
      linkerSettings: [
        // lld, because gold leaves names that the version script hides in the dynamic symbol table. nodelete, because
        // dlclose must not take the code away from under the worker threads.
        .unsafeFlags([
          "-use-ld=lld",
          "-Xlinker", "--version-script=\(include)/exports.map",
          "-Xlinker", "-soname=libdynamoe.so.0",
          "-Xlinker", "-z", "-Xlinker", "nodelete",
        ])
      ]),
    .testTarget(
      name: "DynaMoEKernelsTests",
      dependencies: ["DynaMoEKernels", "DynaMoEKernelsBaseline", "CDynaMoEPlatform"]),
    .testTarget(name: "DynaMoETests", dependencies: ["DynaMoE", "DynaMoEKernels"]),
  ] + x86Kernels
)
