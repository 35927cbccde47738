// swift-tools-version: 6.2
import PackageDescription

// A package of its own, so that whoever depends on the engine does not fetch the argument parser.
let package = Package(
  name: "DynaMoECommand",
  products: [.executable(name: "dynamoe-cli", targets: ["DynaMoECommand"])],
  dependencies: [
    .package(name: "DynaMoE", path: ".."),
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
  ],
  targets: [
    .executableTarget(
      name: "DynaMoECommand",
      dependencies: [
        .product(name: "DynaMoE", package: "DynaMoE"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ])
  ]
)
