// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "Side",
  dependencies: [.package(name: "DynaMoE", path: "../..")],
  targets: [
    .executableTarget(name: "Side", dependencies: [.product(name: "DynaMoE", package: "DynaMoE")])
  ]
)
