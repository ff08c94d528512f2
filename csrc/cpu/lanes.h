// Loops over rows of lanes, plain enough for the compiler to vectorise. A lane is one window or one channel; beside its
// value it has an index of the same width, so that a loop works on vectors of one width.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "../geometry.h"
#include "../scalar.h"
#include "level.h"

namespace tased {

template <int kSize>
struct IndexOfSize;
template <>
struct IndexOfSize<2> {
  using type = int16_t;
};
template <>
struct IndexOfSize<4> {
  using type = int32_t;
};
template <>
struct IndexOfSize<8> {
  using type = int64_t;
};

// A lane's value (half types travel as their bits) and its index.
template <class scalar_t>
struct Lanes {
  using lane_t = typename Scalar<scalar_t>::key_t;
  using index_t = typename IndexOfSize<sizeof(lane_t)>::type;

  static constexpr lane_t kLowest = [] {  // -inf
    if constexpr (std::is_same_v<lane_t, int16_t>) {
      return static_cast<int16_t>(Scalar<scalar_t>::kInfinity | 0x8000);
    } else {
      return -std::numeric_limits<lane_t>::infinity();
    }
  }();

  static TASED_INLINE bool better(lane_t candidate, lane_t best) {
    if constexpr (std::is_same_v<lane_t, int16_t>) {
      constexpr auto kInfinity = static_cast<int16_t>(Scalar<scalar_t>::kInfinity);
      return is_better(half_key(candidate, kInfinity), half_key(best, kInfinity));
    } else {
      return is_better(candidate, best);
    }
  }
};

// Columns of a row sorted by their phase, (column + padding) % stride, so that what lies a stride apart stands side by
// side: column c at index (c + padding) / stride of its phase. Phases that no window of the kernel sees are left out.
struct Phases {
  int64_t columns;
  int64_t stride;
  int64_t padding;
  int64_t count;   // of phases
  int64_t length;  // of a phase, with whatever margin the caller needs

  Phases(const Axis& axis, int64_t phase_length)
      : columns(axis.size),
        stride(axis.stride),
        padding(axis.padding),
        count(std::min(axis.kernel, axis.stride)),
        length(phase_length) {}

  int64_t numel() const { return count * length; }

  // Only what belongs to a column is written.
  template <class lane_t>
  TASED_INLINE void split(const lane_t* row, lane_t* phases) const {
    for_each([&](int64_t column, int64_t place, int64_t number) TASED_INLINE_LAMBDA {
      const lane_t* __restrict source = row + column;
      lane_t* __restrict target = phases + place;
      if (stride == 1) {
        for (int64_t k = 0; k < number; ++k) target[k] = source[k];
      } else if (stride == 2) {
        for (int64_t k = 0; k < number; ++k) target[k] = source[2 * k];
      } else {
        for (int64_t k = 0; k < number; ++k) target[k] = source[stride * k];
      }
    });
  }

  // The whole row is written; columns of no phase are zero.
  template <class lane_t, class value_t, class Convert>
  TASED_INLINE void join(const lane_t* phases, value_t* row, const Convert& convert) const {
    if (count < stride) std::fill_n(row, columns, value_t{});
    for_each([&](int64_t column, int64_t place, int64_t number) TASED_INLINE_LAMBDA {
      const lane_t* __restrict source = phases + place;
      value_t* __restrict target = row + column;
      if (stride == 1) {
        for (int64_t k = 0; k < number; ++k) target[k] = convert(source[k]);
      } else if (stride == 2) {
        for (int64_t k = 0; k < number; ++k) target[2 * k] = convert(source[k]);
      } else {
        for (int64_t k = 0; k < number; ++k) target[stride * k] = convert(source[k]);
      }
    });
  }

 private:
  // Calls visit(the phase's first column, that column's place, number of its columns).
  template <class Visit>
  TASED_INLINE void for_each(const Visit& visit) const {
    for (int64_t phase = 0; phase < count; ++phase) {
      const int64_t column = ((phase - padding) % stride + stride) % stride;
      if (column >= columns) continue;
      visit(column, phase * length + (column + padding) / stride, (columns - column - 1) / stride + 1);
    }
  }
};

}  // namespace tased
