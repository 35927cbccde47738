/// Vector instructions that Swift spells as loops over elements, from which the optimiser does not
/// always find back.
///
/// The types are those that Swift imports as SIMD4, SIMD8 and SIMD16. `multiply_add` rounds once
/// where the target has such an instruction and twice where it has not, because the library call
/// would be hundreds of times slower.
#ifndef DYNAMOE_VECTOR_H
#define DYNAMOE_VECTOR_H

typedef float dynamoe_float4 __attribute__((ext_vector_type(4)));
typedef float dynamoe_float8 __attribute__((ext_vector_type(8)));
typedef float dynamoe_float16 __attribute__((ext_vector_type(16)));
typedef double dynamoe_double8 __attribute__((ext_vector_type(8)));
typedef unsigned dynamoe_bits16 __attribute__((ext_vector_type(16)));

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define DYNAMOE_INLINE static inline __attribute__((always_inline))

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define DYNAMOE_MULTIPLY_ADD(a, b, c) __builtin_elementwise_fma(a, b, c)
#else
#define DYNAMOE_MULTIPLY_ADD(a, b, c) (c) + (a) * (b)
#endif

#define DYNAMOE_VECTOR(type, count)                                                              \
  /* a·b + c */                                                                                  \
  DYNAMOE_INLINE type dynamoe_multiply_add##count(type a, type b, type c) {                       \
    return DYNAMOE_MULTIPLY_ADD(a, b, c);                                                        \
  }

DYNAMOE_VECTOR(dynamoe_float4, _float4)
DYNAMOE_VECTOR(dynamoe_float8, _float8)
DYNAMOE_VECTOR(dynamoe_float16, _float16)
DYNAMOE_VECTOR(dynamoe_double8, _double8)

#undef DYNAMOE_VECTOR
#undef DYNAMOE_MULTIPLY_ADD

DYNAMOE_INLINE dynamoe_float16 dynamoe_square_root(dynamoe_float16 x) {
  return __builtin_elementwise_sqrt(x);
}

/// a where a < b, else b.
DYNAMOE_INLINE dynamoe_float16 dynamoe_smaller(dynamoe_float16 a, dynamoe_float16 b) {
  return a < b ? a : b;
}

/// a where a > b, else b.
DYNAMOE_INLINE dynamoe_float16 dynamoe_larger(dynamoe_float16 a, dynamoe_float16 b) {
  return a > b ? a : b;
}

/// yes where x < y, else no.
DYNAMOE_INLINE dynamoe_float16 dynamoe_where_less(
    dynamoe_float16 x, dynamoe_float16 y, dynamoe_float16 yes, dynamoe_float16 no) {
  return x < y ? yes : no;
}

/// The larger of |x| and a magnitude, compared by their bits: NaN counts as the largest.
DYNAMOE_INLINE dynamoe_bits16 dynamoe_larger_magnitude(dynamoe_float16 x, dynamoe_bits16 largest) {
  dynamoe_bits16 magnitude = (dynamoe_bits16)x & 0x7fffffff;
  return magnitude > largest ? magnitude : largest;
}

DYNAMOE_INLINE dynamoe_double8 dynamoe_lower_doubles(dynamoe_float16 x) {
  return __builtin_convertvector(x.lo, dynamoe_double8);
}

DYNAMOE_INLINE dynamoe_double8 dynamoe_upper_doubles(dynamoe_float16 x) {
  return __builtin_convertvector(x.hi, dynamoe_double8);
}

/// p·2ⁿ, n in the low bits of `shifted` (see the exponential).
DYNAMOE_INLINE dynamoe_float16 dynamoe_scale_by_power(dynamoe_float16 p, dynamoe_float16 shifted) {
  /* Casts between vectors keep the bits. */
  return (dynamoe_float16)((dynamoe_bits16)p + ((dynamoe_bits16)shifted << 23));
}

/// The first `count` < 16 elements, the others from `filler`; nothing behind them is read.
DYNAMOE_INLINE dynamoe_float16 dynamoe_load_part(
    const float *_Nonnull p, long count, dynamoe_float16 filler) {
#if defined(__AVX512F__)
  return (dynamoe_float16)_mm512_mask_loadu_ps((__m512)filler, (__mmask16)((1u << count) - 1), p);
#else
  for (long i = 0; i < count; i++) {
    filler[i] = p[i];
  }
  return filler;
#endif
}

/// Writes the first `count` < 16 elements.
DYNAMOE_INLINE void dynamoe_store_part(dynamoe_float16 v, float *_Nonnull p, long count) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), (__m512)v);
#else
  for (long i = 0; i < count; i++) {
    p[i] = v[i];
  }
#endif
}

/// Asks for the line of memory that `p` is in, which is read soon or very soon, or written soon; any
/// address will do.
DYNAMOE_INLINE void dynamoe_prefetch(const void *_Nonnull p) { __builtin_prefetch(p, 0, 2); }
DYNAMOE_INLINE void dynamoe_prefetch_near(const void *_Nonnull p) { __builtin_prefetch(p, 0, 3); }

/// Rows of floats that are used soon: row r begins at start + (gather ? gather[r] : r)·stride.
typedef struct {
  const float *_Nonnull start;
  const int32_t *_Nullable gather;
  long stride;
  long rows;
  long columns;
} dynamoe_rows;

typedef dynamoe_float8 dynamoe_unaligned8 __attribute__((aligned(4)));

#define DYNAMOE_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define DYNAMOE_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)

/// target[j][i] = source[i][j] for i, j in 0 ... 7: three times the rows i and i + 4 are
/// interleaved.
DYNAMOE_INLINE void dynamoe_transpose8(
    const float *_Nonnull source, long source_stride, float *_Nonnull target, long target_stride) {
#define DYNAMOE_ROW(i) *(const dynamoe_unaligned8 *)(source + (i) * source_stride)
  dynamoe_float8 a0 = DYNAMOE_ROW(0), a1 = DYNAMOE_ROW(1), a2 = DYNAMOE_ROW(2), a3 = DYNAMOE_ROW(3);
  dynamoe_float8 a4 = DYNAMOE_ROW(4), a5 = DYNAMOE_ROW(5), a6 = DYNAMOE_ROW(6), a7 = DYNAMOE_ROW(7);
#undef DYNAMOE_ROW
#define DYNAMOE_STAGE(b, a)                                                          \
  dynamoe_float8 b##0 = DYNAMOE_LOW(a##0, a##4), b##1 = DYNAMOE_HIGH(a##0, a##4);    \
  dynamoe_float8 b##2 = DYNAMOE_LOW(a##1, a##5), b##3 = DYNAMOE_HIGH(a##1, a##5);    \
  dynamoe_float8 b##4 = DYNAMOE_LOW(a##2, a##6), b##5 = DYNAMOE_HIGH(a##2, a##6);    \
  dynamoe_float8 b##6 = DYNAMOE_LOW(a##3, a##7), b##7 = DYNAMOE_HIGH(a##3, a##7);
  DYNAMOE_STAGE(b, a)
  DYNAMOE_STAGE(c, b)
  DYNAMOE_STAGE(d, c)
#undef DYNAMOE_STAGE
  *(dynamoe_unaligned8 *)(target + 0 * target_stride) = d0;
  *(dynamoe_unaligned8 *)(target + 1 * target_stride) = d1;
  *(dynamoe_unaligned8 *)(target + 2 * target_stride) = d2;
  *(dynamoe_unaligned8 *)(target + 3 * target_stride) = d3;
  *(dynamoe_unaligned8 *)(target + 4 * target_stride) = d4;
  *(dynamoe_unaligned8 *)(target + 5 * target_stride) = d5;
  *(dynamoe_unaligned8 *)(target + 6 * target_stride) = d6;
  *(dynamoe_unaligned8 *)(target + 7 * target_stride) = d7;
}

#undef DYNAMOE_LOW
#undef DYNAMOE_HIGH
#undef DYNAMOE_INLINE

#endif
