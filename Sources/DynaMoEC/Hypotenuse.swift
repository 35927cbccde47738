/// √(x² + y²) for the library itself, hidden from its users: √(x² + y²) in f64, where the squares of f32 are exact and
/// neither overflow nor vanish; infinity if x or y is infinite (ISO C, F.10.4.3).
///
/// Nothing calls it. The Swift runtime's wrapper, which the linker must keep, would take `hypotf` from libm, whose
/// symbol has a version of glibc 2.35 wherever it is linked with that or a newer one; all else needs 2.34.
@_cdecl("hypotf")
public func hypotenuse(_ x: Float, _ y: Float) -> Float {
  if x.isInfinite || y.isInfinite { return .infinity }
  return Float((Double(x) * Double(x) + Double(y) * Double(y)).squareRoot())
}
