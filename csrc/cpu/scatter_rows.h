// Builds one row of a map from the rows of windows that meet it, in vectors: over windows (contiguous) or channels
// (channels_last). The row grows in a buffer that stays in cache and is written out once, zeros included.
#pragma once

#include <cstdint>
#include <vector>

#include "../kernels.h"
#include "lanes.h"
#include "pool_rows.h"

namespace tased {

template <class scalar_t, Meet kMeet>
class ScatterRows {
  using lane_t = typename Lanes<scalar_t>::lane_t;
  using index_t = typename Lanes<scalar_t>::index_t;
  using sum_t = typename Scalar<scalar_t>::sum_t;
  using buffer_t = std::conditional_t<kMeet == Meet::kSum, sum_t, lane_t>;

 public:
  // A row of windows.
  struct Row {
    const lane_t* values;
    const uint8_t* offsets;
    const uint8_t* frames;  // null: offsets tell the frame as well
  };

  explicit ScatterRows(const PoolGeometry& geometry)
      : g_(geometry),
        planes_(geometry),
        phases_(geometry.w, std::max(geometry.w.windows + (geometry.w.kernel - 1) / geometry.w.stride,
                                     (geometry.w.size - 1 + geometry.w.padding) / geometry.w.stride + 1)),
        row_(geometry.channels_last ? planes_.map_row : phases_.numel()) {}

  TASED_INLINE void begin() { std::fill(row_.begin(), row_.end(), buffer_t{}); }

  // Adds a row of windows that meets this map row at row `dr` and frame `dt` of its windows. Rows come in ascending
  // order.
  TASED_INLINE void add(const Row& row, int32_t dt, int32_t dr) {
    const int32_t first_offset = ((row.frames ? 0 : dt * g_.h.kernel) + dr) * g_.w.kernel;
    if (g_.channels_last) {
      const int64_t channels = planes_.lanes;
      for (int32_t j = 0; j < g_.w.windows; ++j) {
        for (int32_t c = g_.w.begin(j); c < g_.w.end(j); ++c) {
          meet(row, j * channels, channels, first_offset + c - g_.w.start(j), dt, row_.data() + c * channels);
        }
      }
    } else {
      // Column (j * stride - padding + dc) stands at index j + dc / stride of phase dc % stride; descending dc meets
      // the windows of one column in ascending order.
      for (int32_t dc = g_.w.kernel - 1; dc >= 0; --dc) {
        buffer_t* target = row_.data() + (dc % g_.w.stride) * phases_.length + dc / g_.w.stride;
        meet(row, 0, g_.w.windows, first_offset + dc, dt, target);
      }
    }
  }

  TASED_INLINE void finish(scalar_t* map_row) const {
    const auto convert = [](buffer_t value) TASED_INLINE_LAMBDA {
      if constexpr (kMeet == Meet::kSum || !std::is_same_v<lane_t, int16_t>) {
        return static_cast<scalar_t>(value);
      } else {
        scalar_t scalar;
        std::memcpy(&scalar, &value, sizeof(scalar));
        return scalar;
      }
    };
    if (g_.channels_last) {
      for (int64_t k = 0; k < planes_.map_row; ++k) map_row[k] = convert(row_[k]);
    } else {
      phases_.join(row_.data(), map_row, convert);
    }
  }

 private:
  // The lanes first … first + count - 1 of the row whose arg-max is `offset` (and frame `dt`) go to target[0 … count -
  // 1].
  TASED_INLINE void meet(const Row& row, int64_t first, int64_t count, int32_t offset, int32_t dt,
                         buffer_t* target) const {
    if (row.frames) {
      meet_lanes<true>(row, first, count, offset, dt, target);
    } else {
      meet_lanes<false>(row, first, count, offset, dt, target);
    }
  }

  template <bool kFrames>
  TASED_INLINE void meet_lanes(const Row& row, int64_t first, int64_t count, int32_t offset, int32_t dt,
                               buffer_t* __restrict target) const {
    using value_t = std::conditional_t<kMeet == Meet::kSum, scalar_t, lane_t>;
    const auto* __restrict values = reinterpret_cast<const value_t*>(row.values) + first;
    const uint8_t* __restrict offsets = row.offsets + first;
    const uint8_t* __restrict frames = row.frames + first;
    for (int64_t k = 0; k < count; ++k) {
      bool mine = static_cast<index_t>(offsets[k]) == static_cast<index_t>(offset);
      if (kFrames) mine &= static_cast<index_t>(frames[k]) == static_cast<index_t>(dt);
      const auto value = static_cast<buffer_t>(values[k]);
      if constexpr (kMeet == Meet::kSum) {
        target[k] += mine ? value : buffer_t{};
      } else {
        target[k] = mine ? value : target[k];
      }
    }
  }

  const PoolGeometry g_;
  const Planes planes_;
  const Phases phases_;
  std::vector<buffer_t> row_;
};

}  // namespace tased
