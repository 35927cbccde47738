// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "Quickstart",
  dependencies: [.package(name: "DynaMoE", path: "../..")],
  targets: [
    .executableTarget(
      name: "Quickstart", dependencies: [.product(name: "DynaMoE", package: "DynaMoE")])
  ]
)
