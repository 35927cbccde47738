import Glibc

/// Four independent standard normals from one block, two per pair of words.
///
/// `r = √(-2 ln u)`, `r·cos 2πv` and `r·sin 2πv` with u and v at the middles of 2³² cells of (0,
/// 1), so that neither u = 0 nor u = 1 occurs and `abs(value) < 6.77`. Source: Box, Muller, "A note
/// on the generation of random normal deviates", Annals of Mathematical Statistics 29, 1958.
@inline(__always)
func standardNormals(_ block: SIMD4<UInt32>) -> SIMD4<Double> {
  let cell = 0x1p-32
  let radius0 = (-2 * log((Double(block[0]) + 0.5) * cell)).squareRoot()
  let radius1 = (-2 * log((Double(block[2]) + 0.5) * cell)).squareRoot()
  let angle0 = 2 * Double.pi * ((Double(block[1]) + 0.5) * cell)
  let angle1 = 2 * Double.pi * ((Double(block[3]) + 0.5) * cell)
  return SIMD4(
    radius0 * cos(angle0), radius0 * sin(angle0), radius1 * cos(angle1), radius1 * sin(angle1))
}
