// Pools one tile of a map at a time: some rows of windows (with channels last, some columns and channels of them),
// small enough for a core's cache but where a contiguous row is longer than that. First the maximum over frames (fold),
// then across the columns of every row of the map, then down the rows of the windows.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "../kernels.h"
#include "best.h"
#include "fold.h"
#include "moves.h"
#include "vector_pool.h"

namespace tased {

// Windows of one volume: rows i, columns j, and with channels last the channels. Frames are pooled as one, their
// maximum being taken first.
struct Tile {
  int64_t volume;
  Range i;
  Range j;
  Range channels;
};

// Calls visit(tile) with so many rows of it at a time.
template <class Visit>
void for_rows(const Tile& tile, int64_t rows, const Visit& visit) {
  Tile some = tile;
  for (int64_t i = tile.i.begin; i < tile.i.end; i += rows) {
    some.i = {i, std::min(i + rows, tile.i.end)};
    visit(some);
  }
}

struct LanesShape {
  int64_t rows;
  int64_t lanes;
  int64_t all() const { return rows * lanes; }
};

// What tiles of both layouts have in common.
template <class scalar_t, bool kValues, bool kTags>
class TileBase {
 protected:
  using L = Lane<scalar_t>;
  using value_t = typename L::value_t;
  using key_t = typename L::template key_t<kValues>;
  using tag_t = typename L::tag_t;
  using Lanes = tased::Lanes<key_t, tag_t>;
  using Candidates = std::vector<Candidate<key_t, tag_t>>;

  static constexpr bool kTurned = kValues && L::kHalf;  // keys that are to be made values

  struct Buffers {
    Buffer<key_t> key;
    Buffer<tag_t> tag;

    void reset(int64_t lanes, bool tags) {
      key.reset(lanes);
      if (tags) tag.reset(lanes);
    }
    Lanes at(int64_t lane, int64_t pitch) const {
      return {{key.data() + lane, pitch}, {tag.data() ? tag.data() + lane : nullptr, pitch}};
    }
  };

  TileBase(const PoolGeometry& geometry, const PoolArgs& args)
      : g_(geometry),
        planes_(geometry),
        map_(static_cast<const value_t*>(args.map)),
        tagged_(kTags && args.frames != nullptr && geometry.t.kernel > 1) {}

  // One frame of a map in the type in which keys are compared needs no fold.
  static bool foldless(const Range& frames) {
    return std::is_same_v<key_t, value_t> && !L::kHalf && frames.size() == 1;
  }

  void fold_rows(const Range& frames, Rows<const value_t> map, const Lanes& target, int64_t rows, int64_t lanes,
                 int64_t ahead) const {
    fold<scalar_t, kValues, kTags>(map, planes_.map_plane, frames.size(), tagged_, target, rows, lanes, ahead);
  }

  const PoolGeometry g_;
  const Planes planes_;
  const value_t* map_;
  const bool tagged_;  // by frames, before offsets are added
  BestOf<scalar_t, kValues, kTags> best_of_;
};

// A pooling of contiguous maps, whose lanes are windows. Tiles are whole rows of them, and all positions of a window
// are runs of lanes, -inf where the window reaches into the padding beside the row.
template <class scalar_t, bool kValues, bool kTags>
class ContiguousTile : TileBase<scalar_t, kValues, kTags> {
  using Base = TileBase<scalar_t, kValues, kTags>;
  using Base::best_of_;
  using Base::g_;
  using Base::map_;
  using Base::planes_;
  using Base::tagged_;
  using typename Base::Buffers;
  using typename Base::Candidates;
  using typename Base::key_t;
  using typename Base::L;
  using typename Base::Lanes;
  using typename Base::tag_t;
  using typename Base::value_t;

 public:
  ContiguousTile(const PoolGeometry& geometry, const PoolArgs& args, const Tile& most)
      : Base(geometry, args),
        most_rows_(std::min<int64_t>((most.i.size() - 1) * g_.h.stride + g_.h.kernel, g_.h.size)),
        even_(g_.w.size == int64_t{g_.w.windows} * g_.w.stride) {
    if (!args.frames && Vectors::pays(g_)) vectors_.emplace(g_);
  }

  // What is pooled at a time: rows of windows, and what these are in lanes.
  static int64_t rows_at_once(const Tile& tile) { return tile.i.size(); }
  static LanesShape shape(const PoolGeometry& geometry, const Tile& tile) {
    return {tile.i.size(), geometry.w.windows};
  }

  // Keys of values that are asked for go to the grid itself.
  static Lanes target(const PoolGeometry& geometry, const Tile& tile, int64_t plane, const Lanes& scratch,
                      void* values) {
    Lanes lanes = scratch.pitched(geometry.w.windows);
    if (kValues && values != nullptr) {
      lanes.key.data = static_cast<key_t*>(values) + plane * geometry.grid_area() + tile.i.begin * geometry.w.windows;
    }
    return lanes;
  }

  void begin() {}

  void pool(const Tile& tile, const Range& frames, const Lanes& target) {
    if (!pool_vectors(tile, frames, target, nullptr)) pool_lanes(tile, frames, target);
  }

  // The same, and stores them.
  void pool_to_grid(const Tile& tile, const Range& frames, const Lanes& target, int64_t plane, const PoolArgs& args) {
    uint8_t* offsets = kTags ? args.offsets + first_place(tile, plane) : nullptr;
    if (pool_vectors(tile, frames, target, offsets)) return make_values(tile, target);
    pool_lanes(tile, frames, target);
    store(tile, target, plane, args, 0);
  }

  // Keys become values, and the tags' bytes go to the grid. `base`: the offset of the first frame.
  void store(const Tile& tile, const Lanes& result, int64_t plane, const PoolArgs& args, int64_t base) const {
    make_values(tile, result);
    if constexpr (!kTags) return;
    const int64_t place = first_place(tile, plane);
    const int64_t lanes = tile.i.size() * planes_.grid_row;
    const Rows<const tag_t> tags{result.tag.data, lanes};
    narrow<tag_t>(tags, {args.offsets + place, lanes}, 0, 1, lanes);
    if (args.frames) narrow<tag_t>(tags, {args.frames + place, lanes}, kFrameShift, 1, lanes);
    correct(tile, args.offsets + place, base);
  }

 private:
  using Vectors = VectorPool<scalar_t, kValues, kTags>;

  // Of the map, that the tile's windows see.
  Range map_rows(const Tile& tile) const {
    return {g_.h.begin(static_cast<int32_t>(tile.i.begin)), g_.h.end(static_cast<int32_t>(tile.i.end - 1))};
  }
  const value_t* first_frame(const Tile& tile, const Range& frames) const {
    return map_ + (tile.volume * g_.t.size + frames.begin) * planes_.map_plane;
  }
  int64_t first_place(const Tile& tile, int64_t plane) const {
    return plane * planes_.grid_plane + tile.i.begin * planes_.grid_row;
  }
  // How far on the map the tile lies that comes next.
  int64_t ahead(const Range& rows) const {
    return rows.size() == g_.h.size ? g_.t.stride * planes_.map_plane : rows.size() * planes_.map_row;
  }

  void make_values(const Tile& tile, const Lanes& result) const {
    if constexpr (Base::kTurned) {
      const Rows<key_t> keys{result.key.data, tile.i.size() * planes_.grid_row};
      turn_to_values<typename L::Reversible>(keys, keys, 1, keys.pitch);
    }
  }

  // Whether vectors could do it.
  bool pool_vectors(const Tile& tile, const Range& frames, const Lanes& target, uint8_t* offsets) {
    return vectors_ &&
           (*vectors_)(tile.i, first_frame(tile, frames), frames.size(), ahead(map_rows(tile)), target, offsets);
  }

  void pool_lanes(const Tile& tile, const Range& frames, const Lanes& target) {
    const Range rows = map_rows(tile);
    const int64_t pitch = planes_.map_row;
    if (!line_.key.data()) make_room();
    const Rows<const value_t> map{first_frame(tile, frames) + rows.begin * pitch, pitch};
    if (Base::foldless(frames)) {
      // Only read.
      source_ = {{const_cast<key_t*>(reinterpret_cast<const key_t*>(map.data)), pitch}, {}};
    } else {
      source_ = line_.at(0, pitch);
      Base::fold_rows(frames, map, source_, rows.size(), pitch, ahead(rows));
    }
    candidates_.clear();
    if (even_) {
      sort_evenly(rows.size());
    } else {
      sort_rows(rows.size());
    }
    Lanes across = candidates_.front().lanes;
    if (g_.w.kernel > 1) {
      across = across_.at(0, pitch_);
      best_of_(candidates_, tagged_, across, 1, rows.size() * pitch_);
    }
    for_windows_alike(g_.h, tile.i, [&](const Range& i, const Range& positions) {
      candidates_.clear();
      for (int64_t dr = positions.begin; dr < positions.end; ++dr) {
        const int64_t row = i.begin * g_.h.stride - g_.h.padding + dr - rows.begin;
        candidates_.push_back({across.from(row).pitched(g_.h.stride * pitch_), static_cast<int32_t>(dr * g_.w.kernel)});
      }
      best_of_(candidates_, tagged_ || g_.w.kernel > 1, target.from(i.begin - tile.i.begin), i.size(), g_.w.windows);
    });
  }

  void make_room() {
    pitch_ = g_.w.windows;
    if (!even_) {
      pitch_ += (g_.w.kernel - 1) / g_.w.stride;
      for (int64_t phase = 0; phase < phases(g_.w); ++phase) {
        const Phase columns(g_.w, phase);
        pitch_ = std::max(pitch_, columns.place + columns.count);
      }
    }
    run_ = (most_rows_ + 1) * pitch_;
    line_.reset(most_rows_ * planes_.map_row, tagged_);
    sorted_.reset((g_.w.kernel + phases(g_.w)) * run_, tagged_);
    if (!even_) {
      std::fill_n(sorted_.key.data(), g_.w.kernel * run_, L::template kLowest<kValues>);
      if (tagged_) std::fill_n(sorted_.tag.data(), g_.w.kernel * run_, tag_t{});
    }
    across_.reset(run_, kTags);
  }

  template <class Move>
  void for_each(const Lanes& source, const Lanes& target, const Move& move) const {
    move(source.key, target.key, L::template kLowest<kValues>);
    if (tagged_) move(source.tag, target.tag, tag_t{});
  }
  // Even columns of the source, and odd ones.
  void split_columns(const Lanes& source, const Lanes& even, const Lanes& odd, int64_t rows, int64_t columns) const {
    split(read_only(source.key), even.key, odd.key, rows, columns);
    if (tagged_) split(read_only(source.tag), even.tag, odd.tag, rows, columns);
  }
  bool splits() const { return g_.w.stride == 2 && phases(g_.w) == 2; }

  // Where every row has as many columns as its windows' strides, all rows are one.
  void sort_evenly(int64_t rows) {
    const int64_t lanes = rows * pitch_;
    int64_t used = 0;  // runs
    phases_.assign(phases(g_.w), {});
    if (splits()) {
      for (Lanes& phase : phases_) phase = sorted_.at(used++ * run_, pitch_);
      const bool odd = g_.w.padding % 2 != 0;  // the phase of column 0
      split_columns(source_, phases_[odd], phases_[!odd], 1, 2 * lanes);
    }
    for (int32_t dc = 0; dc < g_.w.kernel; ++dc) {
      const int64_t column = dc - g_.w.padding;
      const int64_t first = ((column % g_.w.stride) + g_.w.stride) % g_.w.stride;
      const int64_t shift = (column - first) / g_.w.stride;
      Lanes& phase = phases_[dc % g_.w.stride];
      if (phase.key.data == nullptr) {
        if (g_.w.stride == 1) {
          phase = source_;
        } else {
          phase = sorted_.at(used++ * run_, pitch_);
          for_each(source_, phase,
                   [&](auto from, auto to, auto) { pick(read_only(from.from(0, first)), to, g_.w.stride, 1, lanes); });
        }
      }
      Lanes one = phase.pitched(pitch_);
      if (shift != 0) {
        one = sorted_.at(used++ * run_, pitch_);
        for_each(phase, one, [&](auto from, auto to, auto lowest) {
          const int64_t before = std::min(std::max<int64_t>(-shift, 0), pitch_);
          const int64_t after = std::min(std::max<int64_t>(shift, 0), pitch_);
          if (before < lanes && after < lanes) {
            pick(read_only(from.from(0, after)), to.from(0, before), 1, 1, lanes - before - after);
          }
          for (int64_t r = 0; r < rows; ++r) {
            for (int64_t k = 0; k < before; ++k) to.data[r * pitch_ + k] = lowest;
            for (int64_t k = 1; k <= after; ++k) to.data[(r + 1) * pitch_ - k] = lowest;
          }
        });
      }
      candidates_.push_back({one, dc});
    }
  }

  // Else columns are sorted by phase, row by row, with room for -inf between the rows.
  void sort_rows(int64_t rows) {
    const auto sorted = [&](int64_t phase) { return sorted_.at(phase * run_ + Phase(g_.w, phase).place, pitch_); };
    if (splits()) {
      const bool odd = g_.w.padding % 2 != 0;  // the phase of column 0
      split_columns(source_, sorted(odd), sorted(!odd), rows, g_.w.size);
    }
    for (int64_t phase = 0; !splits() && phase < phases(g_.w); ++phase) {
      const Phase columns(g_.w, phase);
      for_each(source_, sorted(phase), [&](auto from, auto to, auto) {
        pick(read_only(from.from(0, columns.first)), to, g_.w.stride, rows, columns.count);
      });
    }
    for (int32_t dc = 0; dc < g_.w.kernel; ++dc) {
      candidates_.push_back({sorted_.at(dc % g_.w.stride * run_ + dc / g_.w.stride, pitch_), dc});
    }
  }

  // Where all of a window is -inf, its first column has won, which at the border lies in the padding.
  void correct(const Tile& tile, uint8_t* offsets, int64_t base) const {
    for (int64_t i = tile.i.begin; i < tile.i.end; ++i) {
      const int64_t first = base + inside(g_.h, i).begin * g_.w.kernel;
      for (int64_t j = 0; j * g_.w.stride < g_.w.padding && j < g_.w.windows; ++j) {
        if (offsets[j] == first) offsets[j] = static_cast<uint8_t>(first + inside(g_.w, j).begin);
      }
      offsets += planes_.grid_row;
    }
  }

  const int64_t most_rows_;  // of the map
  const bool even_;
  std::optional<Vectors> vectors_;
  int64_t pitch_ = 0;  // of a row's lanes, before they are windows alone
  int64_t run_ = 0;    // lanes of all rows
  Buffers line_;
  Buffers sorted_;
  Buffers across_;
  Lanes source_{};
  std::vector<Lanes> phases_;
  Candidates candidates_;
};

// A pooling of channels-last maps, whose lanes are channels: window (i, j) of the tile begins at lane
// (i * columns + j) * channels. Rows of the map that windows share stay in a ring.
template <class scalar_t, bool kValues, bool kTags>
class ChannelsLastTile : TileBase<scalar_t, kValues, kTags> {
  using Base = TileBase<scalar_t, kValues, kTags>;
  using Base::best_of_;
  using Base::g_;
  using Base::map_;
  using Base::planes_;
  using Base::tagged_;
  using typename Base::Buffers;
  using typename Base::Candidates;
  using typename Base::key_t;
  using typename Base::L;
  using typename Base::Lanes;
  using typename Base::tag_t;
  using typename Base::value_t;

 public:
  ChannelsLastTile(const PoolGeometry& geometry, const PoolArgs& args, const Tile& most)
      : Base(geometry, args),
        direct_(g_.window_area() <= g_.w.kernel * g_.h.stride + g_.h.kernel),
        line_lanes_(std::min<int64_t>((most.j.size() - 1) * g_.w.stride + g_.w.kernel, g_.w.size) *
                    most.channels.size()),
        across_lanes_(most.j.size() * most.channels.size()),
        rows_(g_.h.kernel) {
    line_.reset(g_.h.kernel * line_lanes_, tagged_);
    if (!direct_) across_.reset(g_.h.kernel * across_lanes_, kTags);
  }

  static int64_t rows_at_once(const Tile&) { return 1; }
  static LanesShape shape(const PoolGeometry&, const Tile& tile) {
    return {tile.i.size() * tile.j.size(), tile.channels.size()};
  }

  static Lanes target(const PoolGeometry& geometry, const Tile& tile, int64_t plane, const Lanes& scratch,
                      void* values) {
    Lanes lanes = scratch.pitched(tile.channels.size());
    if (kValues && values != nullptr && in_place(geometry, tile)) {
      const Planes planes(geometry);
      lanes.key = Rows<key_t>{static_cast<key_t*>(values) + place(planes, plane, tile), planes.lanes};
    }
    return lanes;
  }

  // Of other frames, columns or channels from now on, from their first row.
  void begin() { prepared_ = 0; }

  // Rows of windows, which follow those before.
  void pool(const Tile& tile, const Range& frames, const Lanes& target) {
    const int64_t channels = tile.channels.size();
    const int64_t columns = tile.j.size();
    first_column_ = g_.w.begin(static_cast<int32_t>(tile.j.begin));
    end_column_ = g_.w.end(static_cast<int32_t>(tile.j.end - 1));
    for (auto i = static_cast<int32_t>(tile.i.begin); i < tile.i.end; ++i) {
      const int32_t begin = g_.h.begin(i);
      const int32_t end = g_.h.end(i);
      for (int32_t r = std::max(prepared_, begin); r < end; ++r) {
        Lanes& row = rows_[r % g_.h.kernel];
        if (direct_) {
          row = folded(tile, frames, r);
        } else {
          row = across_.at(r % g_.h.kernel * across_lanes_, channels);
          window_rows_ = {{folded(tile, frames, r), 0}};
          meet(tile, window_rows_, tagged_, row);
        }
      }
      prepared_ = end;
      window_rows_.clear();
      for (int32_t r = begin; r < end; ++r) {
        window_rows_.push_back({rows_[r % g_.h.kernel], (r - g_.h.start(i)) * g_.w.kernel});
      }
      const Lanes to = target.from((i - tile.i.begin) * columns);
      if (direct_ && Base::foldless(frames)) {
        meet_while_reading(tile, frames, i, to);
      } else if (direct_) {
        meet(tile, window_rows_, tagged_, to);
      } else {
        best_of_(window_rows_, true, to, columns, channels);
      }
    }
  }

  // The same, and stores them.
  void pool_to_grid(const Tile& tile, const Range& frames, const Lanes& target, int64_t plane, const PoolArgs& args) {
    pool(tile, frames, target);
    store(tile, target, plane, args, 0);
  }

  void store(const Tile& tile, const Lanes& result, int64_t plane, const PoolArgs& args, int64_t) const {
    const int64_t channels = tile.channels.size();
    const int64_t columns = tile.j.size();
    const bool whole_rows = columns == g_.w.windows;
    for_rows(tile, whole_rows ? tile.i.size() : 1, [&](const Tile& some) {
      const int64_t to = place(planes_, plane, some);
      const int64_t rows = shape(g_, some).rows;
      const Lanes from = result.from((some.i.begin - tile.i.begin) * columns);
      const Rows<key_t> values{static_cast<key_t*>(args.values) + to, planes_.lanes};
      if constexpr (Base::kTurned) {
        turn_to_values<typename L::Reversible>(from.key, values, rows, channels);
      } else if (kValues && !in_place(g_, tile)) {
        pick<key_t>(from.key, values, 1, rows, channels);
      }
      if constexpr (kTags) {
        narrow<tag_t>(from.tag, {args.offsets + to, planes_.lanes}, 0, rows, channels);
        if (args.frames) narrow<tag_t>(from.tag, {args.frames + to, planes_.lanes}, kFrameShift, rows, channels);
      }
    });
  }

 private:
  static int64_t place(const Planes& planes, int64_t plane, const Tile& tile) {
    return plane * planes.grid_plane + tile.i.begin * planes.grid_row + tile.j.begin * planes.lanes +
           tile.channels.begin;
  }
  // Whether the tile's columns lie in the grid as far apart as each from the next.
  static bool in_place(const PoolGeometry& g, const Tile& tile) {
    return tile.i.size() == 1 || tile.j.size() == g.w.windows;
  }

  // The frames' maximum in the tile's columns of map row r.
  Lanes folded(const Tile& tile, const Range& frames, int32_t r) {
    const int64_t channels = tile.channels.size();
    const int64_t pitch = planes_.lanes;
    const value_t* row = map_ + (tile.volume * g_.t.size + frames.begin) * planes_.map_plane + r * planes_.map_row +
                         first_column_ * pitch + tile.channels.begin;
    if (Base::foldless(frames)) return {{const_cast<key_t*>(reinterpret_cast<const key_t*>(row)), pitch}, {}};
    const Lanes line = line_.at(r % g_.h.kernel * line_lanes_, channels);
    Base::fold_rows(frames, {row, pitch}, line, end_column_ - first_column_, channels, planes_.map_row);
    return line;
  }

  // A few columns at a time, while those of the next rows of the map come into the cache.
  void meet_while_reading(const Tile& tile, const Range& frames, int32_t i, const Lanes& target) {
    const int64_t stride = g_.h.stride;
    const int64_t column_bytes = tile.channels.size() * static_cast<int64_t>(sizeof(value_t));
    const int64_t columns = std::max<int64_t>(kReadBytes / (column_bytes * g_.w.stride), 1);
    const value_t* next = map_ + (tile.volume * g_.t.size + frames.begin) * planes_.map_plane +
                          (i * stride - g_.h.padding + g_.h.kernel) * planes_.map_row + tile.channels.begin;
    Tile some = tile;
    for (some.j.begin = tile.j.begin; some.j.begin < tile.j.end; some.j.begin = some.j.end) {
      some.j.end = std::min(some.j.begin + columns, tile.j.end);
      const int64_t end = std::min<int64_t>(some.j.end * g_.w.stride, g_.w.size);
      for (int64_t r = 0; r < std::min<int64_t>(stride, g_.h.size); ++r) {
        for (int64_t c = some.j.begin * g_.w.stride; c < end; ++c) {
          prefetch(next + r * planes_.map_row + c * planes_.lanes, column_bytes);
        }
      }
      meet(some, window_rows_, tagged_, target.from(some.j.begin - tile.j.begin));
    }
  }

  // The windows' columns in some rows of the map.
  void meet(const Tile& tile, const Candidates& rows, bool tagged, const Lanes& target) {
    for_windows_alike(g_.w, tile.j, [&](const Range& j, const Range& positions) {
      candidates_.clear();
      for (const auto& row : rows) {
        for (int64_t dc = positions.begin; dc < positions.end; ++dc) {
          const Lanes column = row.lanes.from(j.begin * g_.w.stride - g_.w.padding + dc - first_column_);
          candidates_.push_back(
              {column.pitched(g_.w.stride * row.lanes.key.pitch), row.number + static_cast<int32_t>(dc)});
        }
      }
      best_of_(candidates_, tagged, target.from(j.begin - tile.j.begin), j.size(), tile.channels.size());
    });
  }

  static constexpr int64_t kReadBytes = 4096;

  const bool direct_;
  const int64_t line_lanes_;
  const int64_t across_lanes_;
  int64_t first_column_ = 0;
  int64_t end_column_ = 0;
  int32_t prepared_ = 0;  // rows of the map before this one are
  Buffers line_;
  Buffers across_;
  std::vector<Lanes> rows_;  // a ring
  Candidates window_rows_;
  Candidates candidates_;
};

}  // namespace tased
