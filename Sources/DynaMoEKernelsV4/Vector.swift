// The vectors of these kernels. This folder is compiled three times: for x86-64 (LEVEL_BASELINE),
// x86-64-v3 (LEVEL_V3) and x86-64-v4 (LEVEL_V4). Rows are walked in vectors of 16 at every level,
// which makes the order of all sums, and so the bits of v3 and v4, the same; only the register tile
// of the products differs.

import CDynaMoEPlatform

public typealias P = UnsafePointer<Float>
public typealias M = UnsafeMutablePointer<Float>
public typealias Index = UnsafePointer<Int32>
typealias Vector = SIMD16<Float>

#if LEVEL_V4
  typealias Lanes = SIMD16<Float>
#elseif LEVEL_V3
  typealias Lanes = SIMD8<Float>
#else
  typealias Lanes = SIMD4<Float>
#endif

let vectorCount = 16

/// acc + a·b, rounded once where the processor can.
@inline(__always)
func multiplyAdd(_ a: SIMD4<Float>, _ b: SIMD4<Float>, _ acc: SIMD4<Float>) -> SIMD4<Float> {
  dynamoe_multiply_add_float4(a, b, acc)
}

@inline(__always)
func multiplyAdd(_ a: SIMD8<Float>, _ b: SIMD8<Float>, _ acc: SIMD8<Float>) -> SIMD8<Float> {
  dynamoe_multiply_add_float8(a, b, acc)
}

@inline(__always)
func multiplyAdd(_ a: Vector, _ b: Vector, _ acc: Vector) -> Vector {
  dynamoe_multiply_add_float16(a, b, acc)
}

@inline(__always)
func multiplyAdd(_ a: SIMD8<Double>, _ b: SIMD8<Double>, _ acc: SIMD8<Double>) -> SIMD8<Double> {
  dynamoe_multiply_add_double8(a, b, acc)
}

@inline(__always)
func load(_ p: P) -> Vector {
  UnsafeRawPointer(p).loadUnaligned(as: Vector.self)
}

@inline(__always)
func load(_ p: M) -> Vector {
  UnsafeRawPointer(p).loadUnaligned(as: Vector.self)
}

@inline(__always)
func store(_ v: Vector, _ p: M) {
  UnsafeMutableRawPointer(p).storeBytes(of: v, as: Vector.self)
}

@inline(__always)
func loadLanes(_ p: P) -> Lanes {
  UnsafeRawPointer(p).loadUnaligned(as: Lanes.self)
}

@inline(__always)
func storeLanes(_ v: Lanes, _ p: M) {
  UnsafeMutableRawPointer(p).storeBytes(of: v, as: Lanes.self)
}

/// The first `count` < 16 elements, the others `filler`.
@inline(__always)
func loadPart(_ p: P, _ count: Int, filler: Float = 0) -> Vector {
  dynamoe_load_part(p, count, Vector(repeating: filler))
}

@inline(__always)
func storePart(_ v: Vector, _ p: M, _ count: Int) {
  dynamoe_store_part(v, p, count)
}

/// Sum of the lanes, in one fixed order.
@inline(__always)
func sum(_ v: Vector) -> Float {
  let eight = v.lowHalf + v.highHalf
  let four = eight.lowHalf + eight.highHalf
  let two = four.lowHalf + four.highHalf
  return two.x + two.y
}

/// y[i] = f(x[i]); the rest of a row goes through the same vector function, so that the place of an
/// element does not matter.
@inline(__always)
func map(_ x: P, _ y: M, _ n: Int, _ f: (Vector) -> Vector) {
  var i = 0
  while i + vectorCount <= n {
    store(f(load(x + i)), y + i)
    i += vectorCount
  }
  if i < n { storePart(f(loadPart(x + i, n - i)), y + i, n - i) }
}

/// y[i] = f(x[i], z[i]).
@inline(__always)
func map(_ x: P, _ z: P, _ y: M, _ n: Int, _ f: (Vector, Vector) -> Vector) {
  var i = 0
  while i + vectorCount <= n {
    store(f(load(x + i), load(z + i)), y + i)
    i += vectorCount
  }
  if i < n {
    storePart(f(loadPart(x + i, n - i), loadPart(z + i, n - i)), y + i, n - i)
  }
}

/// Sum of f over the row, f(x, z, sum so far): four sums of vectors side by side, then one, in an
/// order that depends on n alone. Behind the end x counts as `filler` and z as 0.
@inline(__always)
func reduce(
  _ x: P, _ z: P, _ n: Int, filler: Float = 0, _ f: (Vector, Vector, Vector) -> Vector
) -> Float {
  var (s0, s1, s2, s3) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
  var i = 0
  while i + 4 * vectorCount <= n {
    s0 = f(load(x + i), load(z + i), s0)
    s1 = f(load(x + i + 16), load(z + i + 16), s1)
    s2 = f(load(x + i + 32), load(z + i + 32), s2)
    s3 = f(load(x + i + 48), load(z + i + 48), s3)
    i += 4 * vectorCount
  }
  while i + vectorCount <= n {
    s0 = f(load(x + i), load(z + i), s0)
    i += vectorCount
  }
  if i < n { s1 = f(loadPart(x + i, n - i, filler: filler), loadPart(z + i, n - i), s1) }
  return sum((s0 + s1) + (s2 + s3))
}
