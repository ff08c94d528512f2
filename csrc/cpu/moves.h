// Loops that move lanes: copies and conversions, columns taken apart, tags made bytes.
#pragma once

#include <algorithm>

#include "vector.h"

namespace tased {

// target[k] = source[k * read], converted; a stride of 0 is one that only the argument tells.
template <class from_t, class to_t, int kRead>
struct MoveLoop {
  static TASED_INLINE void run(Rows<const from_t> source, int64_t read, Rows<to_t> target, int64_t rows,
                               int64_t lanes) {
    if (kRead > 0) read = kRead;
    for (int64_t r = 0; r < rows; ++r) {
      const from_t* from = source[r];
      to_t* to = target[r];
      for_lanes<64 / std::max(sizeof(from_t), sizeof(to_t))>(
          lanes, [&](int64_t k) __attribute__((always_inline)) { to[k] = static_cast<to_t>(from[k * read]); });
    }
  }
};

// even[k] = source[2 * k], odd[k] = source[2 * k + 1].
template <class lane_t>
struct SplitLoop {
  static TASED_INLINE void run(Rows<const lane_t> source, Rows<lane_t> even, Rows<lane_t> odd, int64_t rows,
                               int64_t pairs) {
    for (int64_t r = 0; r < rows; ++r) {
      const lane_t* from = source[r];
      lane_t* to_even = even[r];
      lane_t* to_odd = odd[r];
      for_lanes<64 / sizeof(lane_t)>(pairs, [&](int64_t k) __attribute__((always_inline)) {
        to_even[k] = from[2 * k];
        to_odd[k] = from[2 * k + 1];
      });
    }
  }
};

// A byte of each tag.
template <class tag_t>
struct NarrowLoop {
  static TASED_INLINE void run(Rows<const tag_t> tags, Rows<uint8_t> bytes, int32_t shift, int64_t rows,
                               int64_t lanes) {
    for (int64_t r = 0; r < rows; ++r) {
      const tag_t* from = tags[r];
      uint8_t* to = bytes[r];
      for_lanes<64 / sizeof(tag_t)>(
          lanes, [&](int64_t k) __attribute__((always_inline)) { to[k] = static_cast<uint8_t>(from[k] >> shift); });
    }
  }
};

#if defined(__x86_64__)

// Float16 and float, which the compiler would convert bit by bit.
struct HalfVectors {
  static constexpr int64_t kLanes = 16;

  TASED_AVX512 static TASED_INLINE void move(const Half* from, float* to, __mmask16 lanes) {
    _mm512_mask_storeu_ps(to, lanes, VectorFloats<Half>::of(_mm256_maskz_loadu_epi16(lanes, from)));
  }
  TASED_AVX512 static TASED_INLINE void move(const float* from, Half* to, __mmask16 lanes) {
    _mm256_mask_storeu_epi16(to, lanes, VectorFloats<Half>::halves(_mm512_maskz_loadu_ps(lanes, from)));
  }

  template <class from_t, class to_t>
  TASED_AVX512 static void run(Rows<const from_t> source, int64_t, Rows<to_t> target, int64_t rows, int64_t lanes) {
    const auto rest = static_cast<__mmask16>(first_lanes(lanes % kLanes));
    for (int64_t r = 0; r < rows; ++r) {
      int64_t k = 0;
      for (; k + kLanes <= lanes; k += kLanes) move(source[r] + k, target[r] + k, 0xffff);
      if (rest != 0) move(source[r] + k, target[r] + k, rest);
    }
  }
};

#endif

template <class from_t, class to_t>
auto convert_loop() -> decltype(&MoveLoop<from_t, to_t, 1>::run) {
#if defined(__x86_64__)
  if constexpr (!std::is_same_v<from_t, to_t> && (std::is_same_v<from_t, Half> || std::is_same_v<to_t, Half>)) {
    if (vector_level() == Level::kAvx512) return HalfVectors::run<from_t, to_t>;
  }
#endif
  return at_vector_level<MoveLoop<from_t, to_t, 1>>();
}

template <class from_t, class to_t>
void convert(Rows<const from_t> source, Rows<to_t> target, int64_t rows, int64_t lanes) {
  static const auto loop = convert_loop<from_t, to_t>();
  if (source.pitch == lanes && target.pitch == lanes) {
    lanes *= rows;
    rows = 1;
  }
  loop(source, 1, target, rows, lanes);
}

// Every stride-th lane of the source.
template <class lane_t>
void pick(Rows<const lane_t> source, Rows<lane_t> target, int64_t stride, int64_t rows, int64_t lanes) {
  static const auto second = at_vector_level<MoveLoop<lane_t, lane_t, 2>>();
  static const auto strided = at_vector_level<MoveLoop<lane_t, lane_t, 0>>();
  if (stride == 1) return convert(source, target, rows, lanes);
  (stride == 2 ? second : strided)(source, stride, target, rows, lanes);
}

// Even columns and odd ones, apart.
template <class lane_t>
void split(Rows<const lane_t> source, Rows<lane_t> even, Rows<lane_t> odd, int64_t rows, int64_t columns) {
  static const auto loop = at_vector_level<SplitLoop<lane_t>>();
  loop(source, even, odd, rows, columns / 2);
  if (columns % 2 != 0) pick(source.from(0, columns - 1), even.from(0, columns / 2), 1, rows, 1);
}

template <class tag_t>
void narrow(Rows<const tag_t> tags, Rows<uint8_t> bytes, int32_t shift, int64_t rows, int64_t lanes) {
  static const auto loop = at_vector_level<NarrowLoop<tag_t>>();
  if (tags.pitch == lanes && bytes.pitch == lanes) {
    lanes *= rows;
    rows = 1;
  }
  loop(tags, bytes, shift, rows, lanes);
}

// An axis' positions sorted by phase, (position + padding) % stride, so that what lies a stride apart stands side by
// side: position p at place (p + padding) / stride of its phase.
struct Phase {
  int64_t first;  // its first position on the map
  int64_t place;  // and that one's place
  int64_t count;  // of its positions

  Phase(const Axis& axis, int64_t phase) {
    first = ((phase - axis.padding) % axis.stride + axis.stride) % axis.stride;
    place = (first + axis.padding) / axis.stride;
    count = first < axis.size ? (axis.size - first - 1) / axis.stride + 1 : 0;
  }
};

inline int64_t phases(const Axis& axis) { return std::min(axis.kernel, axis.stride); }

}  // namespace tased
