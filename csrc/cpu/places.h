// Where windows of contiguous maps point. One window at a time: its offset, looked up in a table, is a distance on the
// map, so that a window costs the same however large it is and however many others it overlaps.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "lanes.h"

namespace tased {

// Places on a part of a volume, some rows of some frames, which lie `frame_pitch` scalars apart.
class Places {
 public:
  Places(const PoolGeometry& geometry, bool frames_apart, int64_t frame_pitch)
      : g_(geometry), frames_apart_(frames_apart), frame_pitch_(frame_pitch) {
    distance_.fill(kNowhere);
    frame_distance_.fill(kNowhere);
    column_.fill(0);
    for (int64_t offset = 0; offset < std::min<int64_t>(g_.window_area() * kernel_frames(), kBytes); ++offset) {
      column_[offset] = static_cast<int32_t>(offset % g_.w.kernel);
    }
    const int64_t fitting = int64_t{g_.w.size} + g_.w.padding - g_.w.kernel;
    inner_.begin = std::min((g_.w.padding + g_.w.stride - 1) / g_.w.stride, g_.w.windows);
    inner_.end = std::clamp<int64_t>(fitting < 0 ? 0 : fitting / g_.w.stride + 1, inner_.begin, g_.w.windows);
  }

  // Turns to the windows (t, ·) of row i. What they see beyond these frames and rows is nowhere.
  void look_at(const Range& frames, const Range& rows, int32_t t, int32_t i) {
    first_ = (g_.t.start(t) - frames.begin) * frame_pitch_ + (g_.h.start(i) - rows.begin) * g_.w.size - g_.w.padding;
    const Range times = part(frames, g_.t.start(t), g_.t.kernel);
    const Range lines = part(rows, g_.h.start(i), g_.h.kernel);
    if (times == times_ && lines == lines_) return;
    times_ = times;
    lines_ = lines;
    for (int64_t dt = 0; frames_apart_ && dt < std::min<int64_t>(g_.t.kernel, kBytes); ++dt) {
      frame_distance_[dt] = has(times, dt) ? dt * frame_pitch_ : kNowhere;
    }
    for (int64_t dt = 0, offset = 0; dt < kernel_frames(); ++dt) {
      for (int64_t dr = 0; dr < g_.h.kernel; ++dr) {
        const bool there = has(lines, dr) && (frames_apart_ || has(times, dt));
        for (int64_t dc = 0; dc < g_.w.kernel && offset < kBytes; ++dc, ++offset) {
          distance_[offset] = there ? dt * frame_pitch_ + dr * g_.w.size + dc : kNowhere;
        }
      }
    }
  }

  // visit(j, the place in the part) for every window of the row, or from the last one to the first. A negative place is
  // nowhere.
  template <bool kDescending = false, class Visit>
  TASED_INLINE void visit(const uint8_t* offsets, const uint8_t* frames, const Visit& visit) const {
    if (frames_apart_) {
      visit_row<kDescending, true>(offsets, frames, visit);
    } else {
      visit_row<kDescending, false>(offsets, frames, visit);
    }
  }

 private:
  static constexpr int64_t kBytes = 256;
  static constexpr int64_t kNowhere = std::numeric_limits<int64_t>::min() / 4;  // however far one goes from there

  static bool has(const Range& range, int64_t k) { return range.begin <= k && k < range.end; }
  static Range part(const Range& range, int64_t start, int64_t kernel) {
    return {std::max<int64_t>(range.begin - start, 0), std::min(range.end - start, kernel)};
  }
  int64_t kernel_frames() const { return frames_apart_ ? 1 : g_.t.kernel; }

  template <bool kDescending, bool kFrames, class Visit>
  TASED_INLINE void visit_row(const uint8_t* offsets, const uint8_t* frames, const Visit& visit) const {
    const int64_t first = first_;
    const int64_t stride = g_.w.stride;
    const int64_t padding = g_.w.padding;
    const int64_t columns = g_.w.size;
    const auto visit_windows = [&](auto inner, int64_t begin, int64_t end) __attribute__((always_inline)) {
      for (int64_t k = begin; k < end; ++k) {
        const int64_t j = kDescending ? begin + end - 1 - k : k;
        int64_t place = first + j * stride + distance_[offsets[j]];
        if constexpr (kFrames) place += frame_distance_[frames[j]];
        if constexpr (!decltype(inner)::value) {
          const int64_t column = j * stride - padding + column_[offsets[j]];
          if (column < 0 || column >= columns) place = kNowhere;
        }
        visit(j, place);
      }
    };
    const int64_t windows = g_.w.windows;
    const auto [begin, end] = inner_;
    if constexpr (kDescending) visit_windows(std::false_type{}, end, windows);
    if constexpr (!kDescending) visit_windows(std::false_type{}, 0, begin);
    visit_windows(std::true_type{}, begin, end);
    if constexpr (kDescending) visit_windows(std::false_type{}, 0, begin);
    if constexpr (!kDescending) visit_windows(std::false_type{}, end, windows);
  }

  const PoolGeometry g_;
  const bool frames_apart_;  // a byte of their own
  const int64_t frame_pitch_;
  Range inner_{};      // windows of a row that lie on the map with all of their columns
  int64_t first_ = 0;  // place of the first window's first position
  Range times_{-1, -1};
  Range lines_{-1, -1};
  std::array<int64_t, kBytes> distance_;
  std::array<int64_t, kBytes> frame_distance_;
  std::array<int32_t, kBytes> column_;
};

}  // namespace tased
