/// Arithmetic on bfloat16: the upper half of an f32, rounded to the nearest, halves to even.
///
/// What is defined here, and what `vdpbf16ps` and `vcvtneps2bf16` of AVX512_BF16 do (AMD64 Architecture Programmer's
/// Manual, volume 4; Intel SDM, volume 2): a number below the normal range counts as 0 of its sign wherever it comes
/// in or goes out; every operation rounds to the nearest, halves to even; a pair of products is added to a sum by two
/// fused multiply-adds, the second element of the pair first.
///
/// A pair is a word of 32 bits, its first element in the low half.
#ifndef DYNAMOE_BFLOAT16_H
#define DYNAMOE_BFLOAT16_H

#include <stdint.h>

#include "dynamoe_vector.h"

typedef double dynamoe_double4 __attribute__((ext_vector_type(4)));
typedef unsigned dynamoe_bits8 __attribute__((ext_vector_type(8)));

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#define DYNAMOE_INLINE static inline __attribute__((always_inline))

/// Whether products can be made here as on a processor that has the instructions.
DYNAMOE_INLINE _Bool dynamoe_flushes_denormals(void) {
#if defined(__SSE2__)
  return 1;
#else
  return 0;
#endif
}

/// Makes the calling thread count numbers below the normal range as 0, as results and as operands. Returns the mode
/// that was in force, for `dynamoe_float_mode_restore`.
DYNAMOE_INLINE unsigned dynamoe_float_mode_flush(void) {
#if defined(__SSE2__)
  unsigned mode = _mm_getcsr();
  /* Exceptions masked, to the nearest, results and operands flushed. */
  _mm_setcsr(0x1f80 | 0x8000 | 0x0040);
  return mode;
#else
  return 0;
#endif
}

DYNAMOE_INLINE void dynamoe_float_mode_restore(unsigned mode) {
#if defined(__SSE2__)
  _mm_setcsr(mode);
#endif
}

/// x rounded to bfloat16, as f32. NaN stays NaN.
DYNAMOE_INLINE dynamoe_float16 dynamoe_rounded_bfloat16(dynamoe_float16 x) {
  const dynamoe_bits16 bits = (dynamoe_bits16)x;
  const dynamoe_bits16 magnitude = bits & 0x7fffffffu;
  const dynamoe_bits16 rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  dynamoe_bits16 result = magnitude > 0x7f800000u ? (bits | 0x00400000u) : rounded;
  result = magnitude < 0x00800000u ? (bits & 0x80000000u) : result;
  return (dynamoe_float16)(result & 0xffff0000u);
}

/// The elements of each pair the other way round.
DYNAMOE_INLINE dynamoe_float16 dynamoe_swapped_pairs(dynamoe_float16 x) {
  return __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
}

/// a·b + c of bfloat16 a and b and f32 c, rounded once, by way of f64: the product has 16 bits and the sum is exact
/// unless one of its terms is below 2⁻²⁸ of the other, and then it is as far from the middle of two f32.
DYNAMOE_INLINE dynamoe_float4 dynamoe_multiply_add_bfloat4(float a, dynamoe_float4 b, dynamoe_float4 c) {
  const dynamoe_double4 product = (dynamoe_double4)((double)a) * __builtin_convertvector(b, dynamoe_double4);
  return __builtin_convertvector(product + __builtin_convertvector(c, dynamoe_double4), dynamoe_float4);
}

#if defined(__AVX512BF16__)

/// 16 numbers rounded to 8 pairs.
DYNAMOE_INLINE dynamoe_bits8 dynamoe_rounded_pairs(dynamoe_float16 x) {
  return (dynamoe_bits8)_mm512_cvtneps_pbh((__m512)x);
}

/// sums + the products of the pairs in a and b.
DYNAMOE_INLINE dynamoe_float16 dynamoe_add_pair_products(dynamoe_float16 sums, dynamoe_bits16 a, dynamoe_bits16 b) {
  return (dynamoe_float16)_mm512_dpbf16_ps((__m512)sums, (__m512bh)a, (__m512bh)b);
}

#endif

#undef DYNAMOE_INLINE

#endif
