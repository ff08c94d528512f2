// Vectors of AVX-512, for loops that the compiler does not find: those that permute lanes or keep many vectors at once.
#pragma once

#include <cstdint>

#include "lanes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tased {

// Rows that are longer would take much memory for what is known of their blocks.
constexpr int64_t kMostColumns = int64_t{1} << 16;

#if defined(__x86_64__)

// All lanes. What is used twice GCC would also read twice, were it free to.
TASED_AVX512 TASED_INLINE __m512i load_vector(const void* from) {
  __m512i x = _mm512_loadu_si512(from);
  asm("" : "+v"(x));
  return x;
}

// So many bytes.
TASED_AVX512 TASED_INLINE __m128i load_8(const uint8_t* from) { return _mm_loadu_si64(from); }
TASED_AVX512 TASED_INLINE __m128i load_16(const uint8_t* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}
TASED_AVX512 TASED_INLINE __m256i load_32(const uint8_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

// Operations on 64 bytes of lanes of so many bytes. Lanes that a mask leaves out are not touched in memory.
template <size_t kSize>
struct Vector;

#define TASED_VECTOR(bytes, lanes, bits, bytes_of)                                                                  \
  template <>                                                                                                       \
  struct Vector<bytes> {                                                                                            \
    using mask_t = __mmask##lanes;                                                                                  \
    TASED_VECTOR_FUNCTION(__m512i, all(int64_t x)) { return _mm512_set1_epi##bits(static_cast<int##bits##_t>(x)); } \
    TASED_VECTOR_FUNCTION(__m512i, load(mask_t mask, const void* from)) {                                           \
      return _mm512_maskz_loadu_epi##bits(mask, from);                                                              \
    }                                                                                                               \
    TASED_VECTOR_FUNCTION(__m512i, load_bytes(mask_t mask, const void* from)) {                                     \
      return _mm512_maskz_cvtepu8_epi##bits(mask, bytes_of##_maskz_loadu_epi8(mask, from));                         \
    }                                                                                                               \
    TASED_VECTOR_FUNCTION(void, store(void* to, mask_t mask, __m512i x)) {                                          \
      _mm512_mask_storeu_epi##bits(to, mask, x);                                                                    \
    }                                                                                                               \
    TASED_VECTOR_FUNCTION(void, store_bytes(uint8_t* to, mask_t mask, __m512i x)) {                                 \
      bytes_of##_mask_storeu_epi8(to, mask, _mm512_maskz_cvtepi##bits##_epi8(mask, x));                             \
    }                                                                                                               \
    TASED_VECTOR_FUNCTION(__m512i, add(__m512i a, __m512i b)) { return _mm512_add_epi##bits(a, b); }                \
    TASED_VECTOR_FUNCTION(__m512i, subtract(__m512i a, __m512i b)) { return _mm512_sub_epi##bits(a, b); }           \
    TASED_VECTOR_FUNCTION(mask_t, equal_bytes(mask_t mask, const uint8_t* from, int64_t x)) {                       \
      const auto wanted = bytes_of##_set1_epi8(static_cast<char>(x));                                               \
      return static_cast<mask_t>(                                                                                   \
          bytes_of##_mask_cmpeq_epi8_mask(mask, bytes_of##_maskz_loadu_epi8(mask, from), wanted));                  \
    }                                                                                                               \
    TASED_VECTOR_FUNCTION(mask_t, equal_bytes(const uint8_t* from, int64_t x)) {                                    \
      return static_cast<mask_t>(                                                                                   \
          bytes_of##_cmpeq_epi8_mask(load_##lanes(from), bytes_of##_set1_epi8(static_cast<char>(x))));              \
    }                                                                                                               \
    TASED_VECTOR_FUNCTION(mask_t, below(__m512i a, __m512i b)) { return _mm512_cmplt_epu##bits##_mask(a, b); }      \
    TASED_VECTOR_FUNCTION(__m512i, select(mask_t mask, __m512i a, __m512i b)) {                                     \
      return _mm512_mask_mov_epi##bits(b, mask, a);                                                                 \
    }                                                                                                               \
    TASED_VECTOR_FUNCTION(__m512i, permute(__m512i low, __m512i index, __m512i high)) {                             \
      return _mm512_permutex2var_epi##bits(low, index, high);                                                       \
    }                                                                                                               \
  }
#define TASED_VECTOR_FUNCTION(result, declaration) TASED_AVX512 static TASED_INLINE result declaration
TASED_VECTOR(2, 32, 16, _mm256);
TASED_VECTOR(4, 16, 32, _mm);
TASED_VECTOR(8, 8, 64, _mm);
#undef TASED_VECTOR
#undef TASED_VECTOR_FUNCTION

// Half types as floats and back, as c10 converts them; `rounded` floats are no NaN. (GCC 12 takes the intrinsics
// without a mask for uninitialised.)
template <class scalar_t>
struct VectorFloats;

template <>
struct VectorFloats<Half> {
  TASED_AVX512 static TASED_INLINE __m512 of(__m256i halves) { return _mm512_maskz_cvtph_ps(kAll, halves); }
  TASED_AVX512 static TASED_INLINE __m256i halves(__m512 x) {
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i upper = _mm512_maskz_srli_epi32(kAll, _mm512_castps_si512(x), 16);
    const __m512i sign = _mm512_and_si512(upper, _mm512_set1_epi32(0x8000));
    const __m256i nans = _mm512_maskz_cvtepi32_epi16(kAll, _mm512_or_si512(sign, _mm512_set1_epi32(0x7e00)));
    return _mm256_mask_mov_epi16(rounded(x), nan, nans);
  }
  TASED_AVX512 static TASED_INLINE __m256i rounded(__m512 x) {
    return _mm512_maskz_cvtps_ph(kAll, x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }

 private:
  static constexpr __mmask16 kAll = 0xffff;
};

template <>
struct VectorFloats<BFloat16> {
  TASED_AVX512 static TASED_INLINE __m512 of(__m256i halves) {
    return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(kAll, _mm512_maskz_cvtepu16_epi32(kAll, halves), 16));
  }
  TASED_AVX512 static TASED_INLINE __m256i halves(__m512 x) {
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm256_mask_mov_epi16(rounded(x), nan, _mm256_set1_epi16(0x7fc0));
  }
  TASED_AVX512 static TASED_INLINE __m256i rounded(__m512 x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_maskz_srli_epi32(kAll, bits, 16), _mm512_set1_epi32(1));
    const __m512i upper = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    return _mm512_maskz_cvtepi32_epi16(kAll, _mm512_maskz_srli_epi32(kAll, upper, 16));
  }

 private:
  static constexpr __mmask16 kAll = 0xffff;
};

// How lanes meet that point to one position.
template <class scalar_t, Meet kMeet>
struct VectorMeet {  // the last of them stays
  using V = Vector<sizeof(scalar_t)>;
  using values_t = __m512i;
  TASED_AVX512 static TASED_INLINE values_t zero() { return _mm512_setzero_si512(); }
  TASED_AVX512 static TASED_INLINE values_t of(__m512i bits) { return bits; }
  TASED_AVX512 static TASED_INLINE __m512i bits(values_t x) { return x; }
  TASED_AVX512 static TASED_INLINE values_t meet(typename V::mask_t mine, values_t x, values_t result) {
    return V::select(mine, x, result);
  }
};

#define TASED_VECTOR_SUM(scalar, type, vector_t, mask_t)                                                 \
  template <>                                                                                            \
  struct VectorMeet<scalar, Meet::kSum> {                                                                \
    using values_t = vector_t;                                                                           \
    TASED_AVX512 static TASED_INLINE values_t zero() { return _mm512_setzero_##type(); }                 \
    TASED_AVX512 static TASED_INLINE values_t of(__m512i bits) { return _mm512_castsi512_##type(bits); } \
    TASED_AVX512 static TASED_INLINE __m512i bits(values_t x) { return _mm512_cast##type##_si512(x); }   \
    TASED_AVX512 static TASED_INLINE values_t meet(mask_t mine, values_t x, values_t result) {           \
      return _mm512_mask_add_##type(result, mine, result, x);                                            \
    }                                                                                                    \
  }
TASED_VECTOR_SUM(float, ps, __m512, __mmask16);
TASED_VECTOR_SUM(double, pd, __m512d, __mmask8);
#undef TASED_VECTOR_SUM

// The first so many lanes of a mask.
constexpr uint64_t first_lanes(int64_t count) { return (uint64_t{1} << count) - 1; }

// What the lanes of a mask are.
template <class In>
uint64_t lanes_where(int64_t lanes, const In& in) {
  uint64_t mask = 0;
  for (int64_t k = 0; k < lanes; ++k) mask |= uint64_t{in(k)} << k;
  return mask;
}

#endif

}  // namespace tased
