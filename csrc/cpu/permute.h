// Rows of contiguous maps and rows of their windows on AVX-512. Positions that windows point to are as irregular as the
// map, but near: one permutation of what lies in two vectors fetches a column for each of a vector of windows, and one
// of a vector of windows brings those that cover the columns of the map side by side.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lanes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tased {

#if defined(__x86_64__)

// Operations on 64 bytes of lanes of so many bytes. Lanes that a mask leaves out are not touched in memory.
template <size_t kSize>
struct Vector;

#define TASED_VECTOR_FUNCTION TASED_AVX512 static TASED_INLINE

template <>
struct Vector<2> {
  using mask_t = __mmask32;
  TASED_VECTOR_FUNCTION __m512i all(int64_t x) { return _mm512_set1_epi16(static_cast<int16_t>(x)); }
  TASED_VECTOR_FUNCTION __m512i load(mask_t mask, const void* from) { return _mm512_maskz_loadu_epi16(mask, from); }
  TASED_VECTOR_FUNCTION __m512i load_bytes(mask_t mask, const void* from) {
    return _mm512_maskz_cvtepu8_epi16(mask, _mm256_maskz_loadu_epi8(mask, from));
  }
  TASED_VECTOR_FUNCTION void store(void* to, mask_t mask, __m512i x) { _mm512_mask_storeu_epi16(to, mask, x); }
  TASED_VECTOR_FUNCTION __m512i add(__m512i a, __m512i b) { return _mm512_add_epi16(a, b); }
  TASED_VECTOR_FUNCTION __m512i subtract(__m512i a, __m512i b) { return _mm512_sub_epi16(a, b); }
  TASED_VECTOR_FUNCTION mask_t equal(mask_t mask, __m512i a, __m512i b) {
    return _mm512_mask_cmpeq_epi16_mask(mask, a, b);
  }
  TASED_VECTOR_FUNCTION mask_t below(__m512i a, __m512i b) { return _mm512_cmplt_epu16_mask(a, b); }
  TASED_VECTOR_FUNCTION __m512i permute(__m512i rest, mask_t mask, __m512i index, __m512i x) {
    return _mm512_mask_permutexvar_epi16(rest, mask, index, x);
  }
  TASED_VECTOR_FUNCTION __m512i permute(__m512i rest, mask_t mask, __m512i low, __m512i index, __m512i high) {
    return _mm512_mask_mov_epi16(rest, mask, _mm512_permutex2var_epi16(low, index, high));
  }
};

template <>
struct Vector<4> {
  using mask_t = __mmask16;
  TASED_VECTOR_FUNCTION __m512i all(int64_t x) { return _mm512_set1_epi32(static_cast<int32_t>(x)); }
  TASED_VECTOR_FUNCTION __m512i load(mask_t mask, const void* from) { return _mm512_maskz_loadu_epi32(mask, from); }
  TASED_VECTOR_FUNCTION __m512i load_bytes(mask_t mask, const void* from) {
    return _mm512_maskz_cvtepu8_epi32(mask, _mm_maskz_loadu_epi8(mask, from));
  }
  TASED_VECTOR_FUNCTION void store(void* to, mask_t mask, __m512i x) { _mm512_mask_storeu_epi32(to, mask, x); }
  TASED_VECTOR_FUNCTION __m512i add(__m512i a, __m512i b) { return _mm512_add_epi32(a, b); }
  TASED_VECTOR_FUNCTION __m512i subtract(__m512i a, __m512i b) { return _mm512_sub_epi32(a, b); }
  TASED_VECTOR_FUNCTION mask_t equal(mask_t mask, __m512i a, __m512i b) {
    return _mm512_mask_cmpeq_epi32_mask(mask, a, b);
  }
  TASED_VECTOR_FUNCTION mask_t below(__m512i a, __m512i b) { return _mm512_cmplt_epu32_mask(a, b); }
  TASED_VECTOR_FUNCTION __m512i permute(__m512i rest, mask_t mask, __m512i index, __m512i x) {
    return _mm512_mask_permutexvar_epi32(rest, mask, index, x);
  }
  TASED_VECTOR_FUNCTION __m512i permute(__m512i rest, mask_t mask, __m512i low, __m512i index, __m512i high) {
    return _mm512_mask_mov_epi32(rest, mask, _mm512_permutex2var_epi32(low, index, high));
  }
};

template <>
struct Vector<8> {
  using mask_t = __mmask8;
  TASED_VECTOR_FUNCTION __m512i all(int64_t x) { return _mm512_set1_epi64(x); }
  TASED_VECTOR_FUNCTION __m512i load(mask_t mask, const void* from) { return _mm512_maskz_loadu_epi64(mask, from); }
  TASED_VECTOR_FUNCTION __m512i load_bytes(mask_t mask, const void* from) {
    return _mm512_maskz_cvtepu8_epi64(mask, _mm_maskz_loadu_epi8(mask, from));
  }
  TASED_VECTOR_FUNCTION void store(void* to, mask_t mask, __m512i x) { _mm512_mask_storeu_epi64(to, mask, x); }
  TASED_VECTOR_FUNCTION __m512i add(__m512i a, __m512i b) { return _mm512_add_epi64(a, b); }
  TASED_VECTOR_FUNCTION __m512i subtract(__m512i a, __m512i b) { return _mm512_sub_epi64(a, b); }
  TASED_VECTOR_FUNCTION mask_t equal(mask_t mask, __m512i a, __m512i b) {
    return _mm512_mask_cmpeq_epi64_mask(mask, a, b);
  }
  TASED_VECTOR_FUNCTION mask_t below(__m512i a, __m512i b) { return _mm512_cmplt_epu64_mask(a, b); }
  TASED_VECTOR_FUNCTION __m512i permute(__m512i rest, mask_t mask, __m512i index, __m512i x) {
    return _mm512_mask_permutexvar_epi64(rest, mask, index, x);
  }
  TASED_VECTOR_FUNCTION __m512i permute(__m512i rest, mask_t mask, __m512i low, __m512i index, __m512i high) {
    return _mm512_mask_mov_epi64(rest, mask, _mm512_permutex2var_epi64(low, index, high));
  }
};

#undef TASED_VECTOR_FUNCTION

// What the lanes of a mask are.
template <class In>
uint64_t lanes_where(int64_t lanes, const In& in) {
  uint64_t mask = 0;
  for (int64_t k = 0; k < lanes; ++k) mask |= uint64_t{in(k)} << k;
  return mask;
}

// Reads for a row of windows: each takes the column that its offset tells from the one of several rows of the map that
// its offset tells.
template <class bits_t>
class PermutedRead {
  using V = Vector<sizeof(bits_t)>;
  using mask_t = typename V::mask_t;
  static constexpr int64_t kLanes = 64 / sizeof(bits_t);

 public:
  // A row of the map, and the offset of its first column.
  struct Line {
    const bits_t* map;
    int64_t first_offset;
  };

  // Whether that is faster than one window after another.
  static bool pays(const Axis& w, int64_t lines) {
    return vector_level() == Level::kAvx512 && 7 * lines <= 8 * windows_at_once(w);
  }

  explicit PermutedRead(const Axis& w) : kernel_(w.kernel) {
    for (int64_t k = 0; k < kLanes; ++k) starts_[k] = static_cast<bits_t>(k * w.stride);
    const Parts parts(w.windows, std::max<int64_t>(windows_at_once(w), 1));
    for (int64_t n = 0; n < parts.count(); ++n) {
      const int64_t column = w.start(static_cast<int32_t>(parts[n].begin));
      const auto on_map = [&](int64_t first) {
        return lanes_where(kLanes, [&](int64_t k) { return 0 <= first + k && first + k < w.size; });
      };
      blocks_.push_back({parts[n].begin, column,
                         static_cast<mask_t>(lanes_where(kLanes, [&](int64_t k) { return k < parts[n].size(); })),
                         static_cast<mask_t>(on_map(column)), static_cast<mask_t>(on_map(column + kLanes))});
    }
  }

  // A window that has lost (1), if any may, or points to none of the lines reads zero.
  TASED_AVX512 void operator()(const std::vector<Line>& lines, const uint8_t* offsets, const uint8_t* lost,
                               bits_t* values) const {
    const __m512i starts = _mm512_load_si512(starts_);
    const __m512i kernel = V::all(kernel_);
    const __m512i zero = _mm512_setzero_si512();
    for (const Block& block : blocks_) {
      const __m512i offset = V::load_bytes(block.windows, offsets + block.first);
      __m512i value = zero;
      for (const Line& line : lines) {
        const __m512i column = V::subtract(offset, V::all(line.first_offset));
        const bits_t* map = line.map + block.column;
        const __m512i low = V::load(block.low, map);
        const __m512i high = V::load(block.high, map + kLanes);
        value = V::permute(value, V::below(column, kernel), low, V::add(starts, column), high);
      }
      if (lost) {
        const __m512i loses = V::load_bytes(block.windows, lost + block.first);
        value = _mm512_and_si512(value, V::subtract(loses, V::all(1)));
      }
      V::store(values + block.first, block.windows, value);
    }
  }

 private:
  struct Block {
    int64_t first;   // window
    int64_t column;  // its first column
    mask_t windows;
    mask_t low;  // columns of the map in the first vector
    mask_t high;
  };

  // So many that their columns lie in two vectors.
  static int64_t windows_at_once(const Axis& w) {
    return 2 * kLanes < w.kernel ? 0 : std::min<int64_t>((2 * kLanes - w.kernel) / w.stride + 1, kLanes);
  }

  const int64_t kernel_;
  alignas(64) bits_t starts_[kLanes];  // of windows
  std::vector<Block> blocks_;
};

// Writes a row of the map: every column takes the value of the last of the windows that cover it and point to it.
template <class bits_t>
class PermutedWrite {
  using V = Vector<sizeof(bits_t)>;
  using mask_t = typename V::mask_t;
  static constexpr int64_t kLanes = 64 / sizeof(bits_t);

 public:
  // A row of windows, and the offset at which they see the first column of the row of the map.
  struct Line {
    const bits_t* values;
    const uint8_t* offsets;
    int64_t first_offset;
  };

  // Whether that is faster than one window after another, where so many rows of windows cover a row of the map.
  static bool pays(const Axis& w, const Axis& h) {
    const int64_t columns = columns_at_once(w);
    const int64_t lines = (h.kernel + h.stride - 1) / h.stride;
    return vector_level() == Level::kAvx512 && 5 * steps(w) * lines < columns + 9 * columns / (w.stride * h.stride);
  }

  explicit PermutedWrite(const Axis& w) : steps_(steps(w)), lanes_(2 * steps_ * kLanes) {
    const int64_t columns = std::max<int64_t>(columns_at_once(w), 1);
    const auto first_covering = [&](int64_t c) {
      const int64_t reach = c + w.padding - w.kernel;
      return (reach >= 0 ? reach / w.stride : -((w.stride - 1 - reach) / w.stride)) + 1;
    };
    for (int64_t step = 0; step < steps_; ++step) {
      for (int64_t k = 0; k < kLanes; ++k) {
        const int64_t window = first_covering(k) + step;
        index(step)[k] = static_cast<bits_t>((window - first_covering(0)) % kLanes);
        offset(step)[k] = static_cast<bits_t>(k + w.padding - window * w.stride);
      }
    }
    for (int64_t column = 0; column < w.size; column += columns) {
      const int64_t first = first_covering(column);
      const int64_t count = std::min(columns, w.size - column);
      blocks_.push_back(
          {first, column,
           static_cast<mask_t>(lanes_where(
               kLanes, [&](int64_t k) { return 0 <= first + k && first + k < w.windows; })),
           static_cast<mask_t>(lanes_where(kLanes, [&](int64_t k) { return k < count; }))});
      for (int64_t step = 0; step < steps_; ++step) {
        valid_.push_back(static_cast<mask_t>(lanes_where(count, [&](int64_t k) {
          const int64_t window = first_covering(column + k) + step;
          return 0 <= window && window < w.windows && window * w.stride <= column + k + w.padding;
        })));
      }
    }
  }

  TASED_AVX512 void operator()(const std::vector<Line>& lines, bits_t* row) const {
    const mask_t* valid = valid_.data();
    for (const Block& block : blocks_) {
      __m512i result = _mm512_setzero_si512();
      for (const Line& line : lines) {
        const __m512i values = V::load(block.windows, line.values + block.first);
        const __m512i offsets = V::subtract(V::load_bytes(block.windows, line.offsets + block.first),
                                            V::all(line.first_offset));
        for (int64_t step = 0; step < steps_; ++step) {
          const __m512i window = _mm512_load_si512(index(step));
          const __m512i pointed = V::permute(offsets, static_cast<mask_t>(-1), window, offsets);
          const mask_t mine = V::equal(valid[step], pointed, _mm512_load_si512(offset(step)));
          result = V::permute(result, mine, window, values);
        }
      }
      V::store(row + block.column, block.columns, result);
      valid += steps_;
    }
  }

 private:
  struct Block {
    int64_t first;  // window
    int64_t column;
    mask_t windows;
    mask_t columns;
  };

  // Windows of a row that cover a column.
  static int64_t steps(const Axis& w) { return (w.kernel + w.stride - 1) / w.stride; }
  // As many strides as have all of their windows in one vector.
  static int64_t columns_at_once(const Axis& w) {
    const int64_t strides = std::min(kLanes / w.stride, kLanes - steps(w) - 1);
    return std::max<int64_t>(strides, 0) * w.stride;
  }

  bits_t* index(int64_t step) const { return lanes_.data() + 2 * step * kLanes; }
  bits_t* offset(int64_t step) const { return index(step) + kLanes; }

  const int64_t steps_;
  Buffer<bits_t> lanes_;  // for every step, by column: which window of the block, and the offset that points there
  std::vector<Block> blocks_;
  std::vector<mask_t> valid_;  // for every block and step: columns that have that window
};

#endif

}  // namespace tased
