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
    TASED_VECTOR_FUNCTION(mask_t, equal(mask_t mask, __m512i a, __m512i b)) {                                       \
      return _mm512_mask_cmpeq_epi##bits##_mask(mask, a, b);                                                        \
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

// What the lanes of a mask are.
template <class In>
uint64_t lanes_where(int64_t lanes, const In& in) {
  uint64_t mask = 0;
  for (int64_t k = 0; k < lanes; ++k) mask |= uint64_t{in(k)} << k;
  return mask;
}

#endif

}  // namespace tased
