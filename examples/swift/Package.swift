// swift-tools-version: 6.2
import PackageDescription

let engine: Target.Dependency = .product(name: "DynaMoE", package: "DynaMoE")

let package = Package(
  name: "Examples",
  dependencies: [.package(name: "DynaMoE", path: "../..")],
  targets: [
    .executableTarget(name: "Quickstart", dependencies: [engine, "Shared"]),
    .executableTarget(name: "SingleLayer", dependencies: [engine, "Shared"]),
    .executableTarget(name: "Serving", dependencies: [engine]),
    .target(name: "Shared"),
  ]
)
