// How a launch is planned, on the host: the tiling, the packings, the grid. A plan reads as little twice as it can
// while every multiprocessor has a block and a tile's step fits the shared memory that every device grants.
#pragma once

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "tile.cuh"

namespace tased {

// Channels of a tile that keeps nothing: whole sectors of switches. With more of them a tile has fewer positions, which
// share fewer loads.
constexpr int32_t kLanes = 64;

// What a kernel asks of its tiles.
struct Demand {
  bool by_windows;         // a tile is a part of the pooled grid, else of the map
  int32_t pack;            // elements of the map a pack; tiles begin at one
  int32_t lanes;           // most channels of a tile (channels_last)
  int64_t frames;          // blocks over the frames
  int32_t position_bytes;  // of shared memory for an element of the map that a step needs
  int32_t window_bytes;    // of shared memory for a window that a step needs
};

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t multiple) { return ceil_div(a, multiple) * multiple; }

// What a part of an axis needs: windows, and positions of the map from the first window's begin to the last one's end.
struct Reach {
  int64_t windows;
  int64_t positions;
};

inline Reach reach(const Axis& axis, int64_t part, bool by_windows) {
  const int64_t covering = (part + axis.kernel - 2) / axis.stride + 1;
  const int64_t windows = std::min<int64_t>(by_windows ? part : covering, axis.windows);
  return {windows, std::min<int64_t>((windows - 1) * axis.stride + axis.kernel, axis.size)};
}

class Planner {
 public:
  Planner(const PoolGeometry& geometry, const Demand& demand, int32_t multiprocessors)
      : h_(geometry.h), w_(geometry.w), demand_(demand), contiguous_(!geometry.channels_last) {
    tiling_.outer = contiguous_ ? geometry.batch * geometry.channels : geometry.batch;
    tiling_.channels = contiguous_ ? 1 : static_cast<int32_t>(geometry.channels);
    // Whole packs of elements and of four switches.
    const int64_t channels = round_up(geometry.channels, std::max(demand.pack, 4));
    tiling_.lanes = contiguous_ ? 1 : static_cast<int32_t>(std::min<int64_t>(channels, demand.lanes));
    tiling_.groups = static_cast<int32_t>(ceil_div(tiling_.channels, tiling_.lanes));
    rows_ = demand.by_windows ? h_.windows : h_.size;
    columns_ = demand.by_windows ? w_.windows : w_.size;
    const int64_t planes = tiling_.outer * demand.frames * tiling_.groups;
    const double items = static_cast<double>(planes) * rows_ * columns_ * tiling_.lanes / demand.pack;
    // As few as busy the device. Where nothing is kept blocks are half as large, and small tiles cost little.
    const double busy = std::min<double>(kept() ? multiprocessors : 2 * multiprocessors, items / 256);
    const double blocks = std::max(busy, kept() ? 0 : items / 2048);
    blocks_a_plane_ = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(blocks / planes)));
  }

  // The cheapest tiling of enough blocks: with the fewest strips that fit, or some more of them.
  Tiling plan() {
    int64_t strips = 1;
    while (!consider(strips)) strips *= 2;
    for (int64_t fewer = strips / 2 + 1; fewer < strips; ++fewer) consider(fewer);
    for (int64_t more = 1; more < std::min<int64_t>(blocks_a_plane_, 8); ++more) consider(strips + more);
    return best_;
  }

 private:
  bool kept() const { return demand_.position_bytes + demand_.window_bytes > 0; }

  // Columns that a tile keeps of the `needed` ones: packs of `size` may begin before and end after them.
  int32_t kept_columns(int64_t needed, int64_t all, int64_t size) const {
    return static_cast<int32_t>(contiguous_ ? std::min(round_up(needed + size - 1, size), round_up(all, size))
                                            : needed);
  }

  // Rows of windows before a step that rows of the step still meet.
  int64_t overlap() const { return ceil_div(h_.kernel, h_.stride) - 1; }

  // How many rows of windows a step can have, given the bytes that a row of the map and one of windows take.
  int64_t rows_of_windows(int64_t row_bytes, int64_t window_row_bytes) const {
    if (!kept()) return h_.windows;
    const int64_t room = kSharedBytes - row_bytes * (h_.kernel - h_.stride) - window_row_bytes * overlap();
    return room / (row_bytes * h_.stride + window_row_bytes);
  }

  // Positions of an axis that its parts read together, of `positions` at most each: those of the map, and again what
  // neighbours share.
  int64_t read_of(const Axis& axis, int64_t parts, int64_t part, int64_t positions) const {
    const int64_t shared = positions - part * (demand_.by_windows ? axis.stride : 1);
    return std::min(parts * positions, axis.size + (parts - 1) * shared);
  }

  // Remembers the best tiling with this many strips; false if its rows do not fit.
  bool consider(int64_t strips) {
    const int64_t unit = contiguous_ && !demand_.by_windows ? demand_.pack : 1;
    Tiling tiling = tiling_;
    tiling.strip = static_cast<int32_t>(round_up(ceil_div(columns_, strips), unit));
    tiling.strips = static_cast<int32_t>(ceil_div(columns_, tiling.strip));
    const int64_t items_a_row = ceil_div(int64_t{tiling.strip} * tiling.lanes, demand_.pack);
    if (items_a_row > kMostItems && tiling.strip > unit) return false;
    const Reach across = reach(w_, tiling.strip, demand_.by_windows);
    const int32_t columns = kept_columns(across.positions, w_.size, demand_.pack);
    const int32_t window_columns = kept_columns(across.windows, w_.windows, 4);

    const int64_t bands =
        std::max(ceil_div(blocks_a_plane_, tiling.strips), ceil_div(int64_t{rows_} * items_a_row, kMostItems));
    tiling.band = static_cast<int32_t>(ceil_div(rows_, std::min<int64_t>(bands, rows_)));
    tiling.bands = static_cast<int32_t>(ceil_div(rows_, tiling.band));
    const Reach down = reach(h_, tiling.band, demand_.by_windows);

    const int64_t most_rows = rows_of_windows(int64_t{columns} * tiling.lanes * demand_.position_bytes,
                                              int64_t{window_columns} * tiling.lanes * demand_.window_bytes);
    if (most_rows < 1 && tiling.strip == unit) throw std::logic_error("no tile of this pooling fits the shared memory");
    if (most_rows < 1) return false;
    tiling.step = static_cast<int32_t>(std::min(most_rows, std::max<int64_t>(down.windows, 1)));
    const int64_t rows = reach(h_, tiling.step, true).positions;
    const int64_t window_rows = std::min<int64_t>(tiling.step + overlap(), h_.windows);
    tiling.map = {Divider::by(static_cast<int32_t>(rows)), columns, tiling.lanes};
    tiling.windows = {Divider::by(static_cast<int32_t>(window_rows)), window_columns, tiling.lanes};

    // Columns cost the sectors that they are in, two packs each.
    const int64_t in_sectors = kept_columns(across.positions, w_.size, 2 * demand_.pack);
    const double cost = static_cast<double>(read_of(w_, tiling.strips, tiling.strip, in_sectors)) *
                        static_cast<double>(read_of(h_, tiling.bands, tiling.band, down.positions));
    // A few blocks short of all multiprocessors are as good.
    const int64_t blocks = std::min<int64_t>(int64_t{tiling.strips} * tiling.bands, blocks_a_plane_ * 19 / 20);
    if (best_.step == 0 || blocks > best_blocks_ || (blocks == best_blocks_ && cost < best_cost_)) {
      best_ = tiling;
      best_blocks_ = blocks;
      best_cost_ = cost;
    }
    return true;
  }

  static constexpr int64_t kMostItems = int64_t{1} << 20;  // of a tile

  Axis h_;
  Axis w_;
  Demand demand_;
  bool contiguous_;
  int32_t rows_;
  int32_t columns_;
  int64_t blocks_a_plane_;
  Tiling tiling_{};
  Tiling best_{};
  int64_t best_blocks_ = 0;
  double best_cost_ = 0;
};

// A dense tensor of the geometry's batch, channels and memory order, to be taken in packs of `size` elements.
template <class index_t, class value_t>
View<value_t, index_t> view_of(const PoolGeometry& geometry, value_t* memory, int32_t size, index_t frames,
                               index_t rows, index_t columns) {
  const index_t column = geometry.channels_last ? static_cast<index_t>(geometry.channels) : 1;
  const bool rows_align = (geometry.channels_last ? geometry.channels : columns) % size == 0;
  const bool memory_aligns = reinterpret_cast<uintptr_t>(memory) % (size * sizeof(value_t)) == 0;
  return {memory,
          {column, column * columns, column * columns * rows, column * columns * rows * frames},
          rows_align && memory_aligns};
}

template <class index_t, class value_t>
View<value_t, index_t> map_view(const PoolGeometry& geometry, value_t* memory, int32_t size) {
  return view_of<index_t>(geometry, memory, size, geometry.t.size, geometry.h.size, geometry.w.size);
}

template <class index_t, class value_t>
View<value_t, index_t> grid_view(const PoolGeometry& geometry, value_t* memory, int32_t size) {
  return view_of<index_t>(geometry, memory, size, geometry.t.windows, geometry.h.windows, geometry.w.windows);
}

// Rows of `columns` cut into packs of `size`.
inline Packing packing(const PoolGeometry& geometry, const Tiling& tiling, int32_t columns, int32_t size) {
  if (!geometry.channels_last) {
    return {size, true, Divider::by(static_cast<int32_t>(ceil_div(columns, size))), Divider::by(1)};
  }
  const int32_t packs = tiling.lanes / size;
  return {size, false, Divider::by(columns * packs), Divider::by(packs)};
}

struct Launch {
  dim3 grid;
  int32_t threads;
  int32_t shared_bytes;
};

// A thread for every few items of a step, and no warp without any: powers of two, of which registers hold the most.
// Blocks that keep nothing need not be large.
inline Launch plan_launch(const Tiling& tiling, int64_t frames, int64_t items, int64_t shared_bytes) {
  constexpr int64_t kMostBlocks = 65535;  // along y and z; kernels go on from there by themselves
  const dim3 grid(static_cast<uint32_t>(tiling.groups) * tiling.strips * tiling.bands,
                  static_cast<uint32_t>(std::min(frames, kMostBlocks)),
                  static_cast<uint32_t>(std::min(tiling.outer, kMostBlocks)));
  const int64_t most = shared_bytes > 0 ? kMaxThreads : kMaxThreads / 2;
  int64_t threads = items > 32 ? 64 : 32;
  while (threads < most && 4 * threads < items) threads *= 2;
  return {grid, static_cast<int32_t>(threads), static_cast<int32_t>(shared_bytes)};
}

}  // namespace tased
