// swift-tools-version: 6.2
import PackageDescription

let include = "\(Context.packageDirectory)/Include"

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

let package = Package(
  name: "DynaMoE",
  products: [
    .library(name: "DynaMoE", targets: ["DynaMoE"]),
    .library(name: "dynamoe", type: .dynamic, targets: ["DynaMoEC"]),
  ],
  targets: [
    .target(name: "CDynaMoEPlatform"),
    kernelTarget("DynaMoEKernelsBaseline", architecture: [], define: "LEVEL_BASELINE"),
    kernelTarget("DynaMoEKernelsV3", architecture: ["-march=x86-64-v3"], define: "LEVEL_V3"),
    kernelTarget("DynaMoEKernelsV4", architecture: ["-march=x86-64-v4"], define: "LEVEL_V4"),
    kernelTarget(
      "DynaMoEKernelsV4BFloat16", architecture: ["-march=x86-64-v4", "-mavx512bf16"],
      define: "LEVEL_BFLOAT16"),
    .target(
      name: "DynaMoEKernels",
      dependencies: [
        "CDynaMoEPlatform", "DynaMoEKernelsBaseline", "DynaMoEKernelsV3", "DynaMoEKernelsV4",
        "DynaMoEKernelsV4BFloat16",
      ],
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
      name: "DynaMoEKernelsTests", dependencies: ["DynaMoEKernels", "CDynaMoEPlatform"]),
    .testTarget(name: "DynaMoETests", dependencies: ["DynaMoE", "DynaMoEKernels"]),
  ]
)
