// The second half of unpooling, as a gather: each thread writes a pack of the map whole, with what the windows that
// cover it leave there, and no element is written twice. The windows' offsets are in shared memory (KeptWindows) or,
// where they would be too many, in global memory (GlobalWindows).
#pragma once

#include "kernels.h"
#include "tile.cuh"

namespace tased {

// One byte a window for rows of windows in shared memory.
class WindowBytes {
 public:
  static constexpr int32_t kSize = 4;  // bytes that are loaded together

  TASED_DEVICE WindowBytes(const Ring& ring, int32_t first_column, unsigned char* memory)
      : bytes_(memory), first_column_(first_column), ring_(ring) {}

  TASED_DEVICE uint8_t& at(const Place& window) const { return bytes_[ring_.at(window, first_column_)]; }

  // Takes rows of windows in from the grid's frame, which is at the tile's first lane.
  template <class index_t>
  TASED_DEVICE void load_rows(const Packing& packing, Range rows, Range columns, const Tile& tile,
                              const View<const uint8_t, index_t>& grid) const {
    for_items(packing, rows, columns, tile.lanes, [&](const Place& place) {
      const uint8_t* from = grid.at(place);
      uint8_t* to = &at(place);
      if (grid.aligned) {
        store_shared(to, load(reinterpret_cast<const Pack<uint8_t, kSize>*>(from)));
      } else {
        for (int32_t v = 0; v < min(place.valid, kSize); ++v) to[v] = load(from + v);
      }
    });
  }

 private:
  unsigned char* bytes_;  // [rows, columns, lanes]
  int32_t first_column_;
  Ring ring_;
};

// One frame's windows of one frame each, their switches in shared memory.
template <class scalar_t, class index_t>
struct KeptWindows {
  WindowBytes switches;
  View<const scalar_t, index_t> values;  // [h, w] or [h, w, C] from the tile's first lane on
  Range times{0, 1};

  TASED_DEVICE int32_t offset(int32_t, const Place& window) const { return switches.at(window); }
  TASED_DEVICE index_t index(int32_t, const Place& window) const { return values.strides.at(window); }
};

// The windows of the temporal windows that cover one frame of the map, in global memory.
template <class scalar_t, class index_t>
struct GlobalWindows {
  const uint8_t* offsets;  // [t, h, w] or [t, h, w, C] from the tile's first lane on, as the others
  const uint8_t* frames;   // or null
  View<const scalar_t, index_t> values;
  Axis axis;
  int32_t frame;  // of the map
  int32_t kernel_area;
  Range times;

  // The offset within the plane; none of the plane's if the window points to another frame.
  TASED_DEVICE int32_t offset(int32_t t, const Place& window) const {
    const int32_t in_window = frame - axis.start(t);
    const index_t at = index(t, window);
    const int32_t offset = load(offsets + at);
    if (!frames) return offset - in_window * kernel_area;
    return load(frames + at) == in_window ? offset : -1;
  }
  TASED_DEVICE index_t index(int32_t t, const Place& window) const {
    return t * values.strides.frame + values.strides.at(window);
  }
};

// What the windows leave in a pack of the map: at each element the value of the last one, or the sum of all.
template <Meet kMeet, class scalar_t, class index_t>
class Meeting {
 public:
  static constexpr int kSize = kPackSize<scalar_t>;

  TASED_DEVICE explicit Meeting(const scalar_t* values) : values_(values) {}

  TASED_DEVICE void add(int element, index_t window) {
    if constexpr (kMeet == Meet::kSum) {
      left_[element] += load(values_ + window);
    } else {
      left_[element] = window + 1;
    }
  }
  TASED_DEVICE scalar_t result(int element) const {
    if constexpr (kMeet == Meet::kSum) {
      return static_cast<scalar_t>(left_[element]);
    } else {
      return left_[element] == 0 ? scalar_t{} : load(values_ + (left_[element] - 1));
    }
  }

 private:
  // The sum; or one more than the last window's index, so that values are read once and all of a pack at a time.
  std::conditional_t<kMeet == Meet::kSum, typename Scalar<scalar_t>::sum_t, index_t> left_[kSize] = {};
  const scalar_t* values_;
};

// Adds what row i of windows leaves in a pack of columns, which is in the windows' row y.
template <class Variant, class Windows, class Leave>
TASED_DEVICE void meet_columns(const Windows& windows, int32_t t, int32_t i, int32_t y, const Axis& w,
                               const Place& place, Leave& leave) {
  if constexpr (Variant::kFixed) {
    // A pack begins at a multiple of the stride, so it is known beforehand which windows cover which of its elements.
    constexpr int kStride = Variant::kStride;
    constexpr int kPhase = Variant::kPadding % kStride;
    static_assert(Leave::kSize % kStride == 0 && Variant::kKernel - 1 - kPhase < kStride);
    const int32_t first = (place.column + Variant::kPadding) / kStride;
#pragma unroll
    for (int nth = 0; nth * kStride < Leave::kSize + kPhase; ++nth) {
      const Place window{i, first + nth, place.lane};
      if (window.column >= w.windows) continue;
      const int32_t x = windows.offset(t, window) - y * w.kernel;
#pragma unroll
      for (int v = 0; v < Leave::kSize; ++v) {
        const int at = v + kPhase - nth * kStride;
        if (at >= 0 && at < w.kernel && x == at) leave.add(v, windows.index(t, window));
      }
    }
  } else {
    const int32_t last_column = min(place.column + Leave::kSize, w.size) - 1;
#pragma unroll 1
    for (int32_t j = w.first_covering(place.column); j <= w.last_covering(last_column); ++j) {
      const Place window{i, j, place.lane};
      const int32_t x = windows.offset(t, window) - y * w.kernel;
      if (x < 0 || x >= w.kernel) continue;
#pragma unroll
      for (int v = 0; v < Leave::kSize; ++v) {
        if (w.start(j) + x == place.column + v) leave.add(v, windows.index(t, window));
      }
    }
  }
}

// Adds what row i of windows leaves in a pack of channels of one column, which is in the windows' row y.
template <class Windows, class Leave>
TASED_DEVICE void meet_lanes(const Windows& windows, int32_t t, int32_t i, int32_t y, const Axis& w, const Place& place,
                             Leave& leave) {
#pragma unroll 1
  for (int32_t j = w.first_covering(place.column); j <= w.last_covering(place.column); ++j) {
    const int32_t offset = y * w.kernel + place.column - w.start(j);
#pragma unroll
    for (int v = 0; v < Leave::kSize; ++v) {
      const Place window{i, j, place.lane + v};
      if (v < place.valid && windows.offset(t, window) == offset) leave.add(v, windows.index(t, window));
    }
  }
}

// Writes `rows` of a tile of one frame of the map, which is at the tile's first lane.
template <Meet kMeet, class Variant, class scalar_t, class index_t, class Windows>
TASED_DEVICE void write_rows(const Axis& h, const Axis& w, const Packing& packing, Range rows, const Tile& tile,
                             const Windows& windows, const View<scalar_t, index_t>& map) {
  for_items(packing, rows, tile.columns, tile.lanes, [&](const Place& place) {
    Meeting<kMeet, scalar_t, index_t> meeting(windows.values.memory);
#pragma unroll 1
    for (int32_t t = windows.times.begin; t < windows.times.end; ++t) {
#pragma unroll 1
      for (int32_t i = h.first_covering(place.row); i <= h.last_covering(place.row); ++i) {
        const int32_t y = place.row - h.start(i);
        if (packing.along_columns) {
          meet_columns<Variant>(windows, t, i, y, w, place, meeting);
        } else {
          meet_lanes(windows, t, i, y, w, place, meeting);
        }
      }
    }
    Pack<scalar_t, kPackSize<scalar_t>> pack;
#pragma unroll
    for (int v = 0; v < meeting.kSize; ++v) pack.at[v] = meeting.result(v);
    if (map.aligned) {
      store(reinterpret_cast<decltype(pack)*>(map.at(place)), pack);
      return;
    }
#pragma unroll
    for (int v = 0; v < meeting.kSize; ++v) {
      if (v < place.valid) store(map.at(place) + v, pack.at[v]);
    }
  });
}

// Walks down the rows of a tile of the map: takes in a step's windows, then writes the rows that no later window
// covers.
template <class TakeIn, class Write>
TASED_DEVICE void walk(const Axis& h, int32_t step, Range rows, const TakeIn& take_in, const Write& write) {
  const Range windows = windows_covering(h, rows);
  int32_t written = rows.begin;
  int32_t first = windows.begin;
  do {
    const int32_t last = min(first + step, windows.end);
    take_in(Range{first, last});
    __syncthreads();
    const int32_t whole = last < windows.end ? max(written, min(h.start(last), rows.end)) : rows.end;
    write(Range{written, whole});
    written = whole;
    first = last;
  } while (first < windows.end);
}

}  // namespace tased
