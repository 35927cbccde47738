import Foundation
import Testing

@testable import DynaMoE

/// How near a float32 gradient must be to the double-precision one, far below one per cent.
///
/// The engine's rounding error is around 1e-6 of a tensor's norm.
enum GradientTolerance {
  /// ‖difference‖ ≤ relativeNorm · ‖expected‖ + absolute
  static let relativeNorm = 1e-3
  /// |difference| ≤ relative · |expected| + ofLargest · max|expected| + absolute
  static let relative = 2e-3
  static let ofLargest = 2e-4
  static let absolute = 1e-6
}

/// What is wrong with `found`; nil if it agrees with `expected`.
func gradientMismatch(_ name: String, _ found: [Float], _ expected: [Double]) -> String? {
  guard found.count == expected.count else {
    return "\(name): \(found.count) elements instead of \(expected.count)"
  }
  let largest = expected.reduce(0) { max($0, abs($1)) }
  var square = 0.0
  var expectedSquare = 0.0
  for (i, (found, expected)) in zip(found, expected).enumerated() {
    let difference = abs(Double(found) - expected)
    let allowed =
      GradientTolerance.relative * abs(expected) + GradientTolerance.ofLargest * largest
      + GradientTolerance.absolute
    guard difference <= allowed else { return "\(name)[\(i)]: \(found) instead of \(expected)" }
    square += difference * difference
    expectedSquare += expected * expected
  }
  let norm = expectedSquare.squareRoot()
  let allowed = GradientTolerance.relativeNorm * norm + GradientTolerance.absolute
  return square.squareRoot() <= allowed
    ? nil : "\(name): off by \(square.squareRoot() / max(norm, 1e-300)) of its norm \(norm)"
}

/// What is wrong with `found` against a result computed in double precision; nil if it agrees.
func mismatch(
  _ name: String, _ found: [Float], _ expected: [Double], absolute: Double = 1e-5,
  relative: Double = 1e-4
) -> String? {
  guard found.count == expected.count else {
    return "\(name): \(found.count) elements instead of \(expected.count)"
  }
  for (i, (found, expected)) in zip(found, expected).enumerated() {
    guard abs(Double(found) - expected) <= absolute + relative * abs(expected) else {
      return "\(name)[\(i)]: \(found) instead of \(expected)"
    }
  }
  return nil
}

/// Central differences of `function` by each element of `values`.
func centralDifferences(
  _ values: [Double], step: Double = 1e-6, _ function: ([Double]) -> Double
) -> [Double] {
  var point = values
  return values.indices.map { i in
    point[i] = values[i] + step
    let above = function(point)
    point[i] = values[i] - step
    let below = function(point)
    point[i] = values[i]
    return (above - below) / (2 * step)
  }
}

/// The gradients of a scalar of the reference run, by every parameter and by the features.
struct ReferenceGradients {
  var parameters: [String: [Double]] = [:]
  var input: [Double] = []

  init(
    _ network: ReferenceNetwork, _ input: ReferenceInput, withInput: Bool,
    _ objective: (ReferenceRun) -> Double
  ) {
    var varied = network
    for (name, values) in network.parameters {
      parameters[name] = centralDifferences(values) { point in
        varied.parameters[name] = point
        return objective(varied.forward(input, training: true))
      }
      varied.parameters[name] = values
    }
    if withInput, case .features(let x) = input {
      self.input = centralDifferences(x.values) { point in
        objective(network.forward(.features(Matrix(x.rows, x.columns, point)), training: true))
      }
    }
  }
}

extension ReferenceNetwork {
  /// The reference with the engine's present parameters and buffers.
  init(_ description: NetworkDescription, like model: Model) {
    self.init(
      description: description, parameters: model.allParameters.mapValues(\.doubles),
      buffers: model.allBuffers.mapValues(\.doubles))
  }

  /// Holds the engine's latest selections, and the given noise, from here on. For `top_any` also
  /// the point around which its straight-through weights are linear.
  mutating func freeze(
    _ model: Model, _ input: ReferenceInput, noise: [[Double]]? = nil
  ) throws {
    frozen = try description.experts.indices.map {
      FrozenRouting(active: try model.lastRouting($0).active, noise: noise?[$0])
    }
    let run = forward(input, training: true)
    for l in frozen.indices { frozen[l].straightThroughOrigin = run.layers[l].routing.excess }
  }
}
