// Cpu::gather: threads share rows of windows. A window's position is found by its tag: for every position of the
// windows in turn, the lanes that point there take the map's value. A window that has lost its position to a rival, a
// later window that points there as well, points nowhere.
#include <vector>

#include "moves.h"
#include "parallel.h"
#include "select.h"

namespace tased {
namespace {

// Another window, (i, j) away, and the offset at which it sees the position that `own` is to the first.
struct Rival {
  int32_t own;
  int32_t i;
  int32_t j;
  int32_t offset;
};

std::vector<Rival> all_rivals(const PoolGeometry& g) {
  std::vector<Rival> rivals;
  for (int32_t own = 0; own < g.window_area(); ++own) {
    const int32_t dr = own / g.w.kernel;
    const int32_t dc = own % g.w.kernel;
    for (int32_t i = 0; i * g.h.stride <= dr; ++i) {
      const int32_t before = i == 0 ? -1 : (g.w.kernel - 1 - dc) / g.w.stride;  // windows to the left, in a later row
      for (int32_t j = i == 0 ? 1 : -before; j * g.w.stride <= dc; ++j) {
        rivals.push_back({own, i, j, (dr - i * g.h.stride) * g.w.kernel + dc - j * g.w.stride});
      }
    }
  }
  return rivals;
}

// What tiles of both layouts have in common.
template <class lane_t>
class GatherBase {
 protected:
  using tag_t = tag_of<lane_t>;

  GatherBase(const PoolGeometry& geometry, const GatherArgs& args)
      : g_(geometry),
        planes_(geometry),
        args_(args),
        rows_below_(args.winners_only ? (geometry.h.kernel - 1) / geometry.h.stride : 0),
        columns_beside_((geometry.w.kernel - 1) / geometry.w.stride) {
    if (args.winners_only) rivals_ = all_rivals(geometry);
  }

  const lane_t* map(int64_t plane, int32_t frame) const {
    return planes_.map_rows(static_cast<const lane_t*>(args_.map), plane / g_.t.windows * g_.t.size + frame, 0).data;
  }
  Rows<lane_t> values(int64_t plane, int64_t i) const {
    return planes_.grid_rows(static_cast<lane_t*>(args_.values), plane, i);
  }
  // Rows of windows as tags: the offsets, or with frames those of frame `dt` alone.
  void tags(int64_t plane, int64_t i, int32_t dt, Rows<tag_t> target, int64_t rows) const {
    make_tags<tag_t>(planes_.grid_rows(args_.offsets, plane, i), planes_.grid_rows(args_.frames, plane, i), dt, target,
                     rows, planes_.grid_row);
  }
  int32_t first_offset(int32_t dt) const { return args_.frames ? 0 : dt * g_.window_area(); }

  // Of window rows whose tags are given, and of those some rows below, keeps what has not lost.
  template <class RowBelow>
  void keep_winners(const tag_t* tags, const RowBelow& row_below, int64_t column, tag_t* kept, int64_t lanes) {
    rival_lanes_.clear();
    for (const Rival& rival : rivals_) {
      const tag_t* row = row_below(rival.i);
      if (row == nullptr) continue;
      rival_lanes_.push_back({row + rival.j * column, static_cast<tag_t>(rival.own), static_cast<tag_t>(rival.offset)});
    }
    lose(tags, rival_lanes_, kept, lanes);
  }

  const PoolGeometry g_;
  const Planes planes_;
  const GatherArgs args_;
  const int64_t rows_below_;      // rows of windows that may be rivals of a row
  const int64_t columns_beside_;  // and columns
  std::vector<Rival> rivals_;
  std::vector<RivalLanes<tag_t>> rival_lanes_;
  SelectOf<lane_t, false> select_;
  typename SelectOf<lane_t, false>::Sources sources_;
};

// Contiguous maps. Lanes are windows, whole rows of them; around the grid are windows that point nowhere, and the map's
// rows are sorted by the phases of rows and columns, zero beside them.
template <class lane_t>
class ContiguousGather : GatherBase<lane_t> {
  using Base = GatherBase<lane_t>;
  using Base::args_;
  using Base::columns_beside_;
  using Base::g_;
  using Base::planes_;
  using Base::rows_below_;
  using Base::select_;
  using Base::sources_;
  using typename Base::tag_t;

 public:
  ContiguousGather(const PoolGeometry& geometry, const GatherArgs& args, int64_t most_rows)
      : Base(geometry, args), pitch_(g_.w.windows + 2 * columns_beside_) {
    for (int64_t phase = 0; phase < phases(g_.w); ++phase) {
      const Phase columns(g_.w, phase);
      pitch_ = std::max(pitch_, columns.place + columns.count);
    }
    phase_ = (most_rows + (g_.h.kernel - 1) / g_.h.stride + 1) * pitch_;
    const int64_t tags = (most_rows + rows_below_ + 1) * pitch_ + columns_beside_;
    tags_.reset(tags);
    kept_.reset(tags);
    sorted_.reset(phases(g_.h) * phases(g_.w) * phase_);
    taken_.reset(most_rows * pitch_);
    std::fill_n(tags_.data(), tags, static_cast<tag_t>(kNoOffset));
    std::fill_n(sorted_.data(), phases(g_.h) * phases(g_.w) * phase_, lane_t{});
  }

  // Rows begin … end - 1 of the windows in `plane` of the grid.
  void operator()(int64_t plane, int64_t begin, int64_t end) {
    const auto t = static_cast<int32_t>(plane % g_.t.windows);
    const int64_t lanes = (end - begin) * pitch_;
    bool started = false;
    for (int32_t frame = g_.t.begin(t); frame < g_.t.end(t); ++frame) {
      const int32_t dt = frame - g_.t.start(t);
      if (!started || args_.frames) prepare(plane, begin, end, dt);
      sort(Base::map(plane, frame), begin, end);
      sources_.clear();
      for (int32_t dr = 0; dr < g_.h.kernel; ++dr) {
        for (int32_t dc = 0; dc < g_.w.kernel; ++dc) {
          const lane_t* values =
              sorted(dr % g_.h.stride, dc % g_.w.stride).from(dr / g_.h.stride, dc / g_.w.stride).data;
          sources_.push_back({{values, lanes},
                              {kept_.data() + columns_beside_, lanes},
                              Base::first_offset(dt) + dr * g_.w.kernel + dc});
        }
      }
      select_(sources_, started, {taken_.data(), lanes}, 1, lanes);
      started = true;
    }
    convert<lane_t, lane_t>({taken_.data(), pitch_}, Base::values(plane, begin), end - begin, planes_.grid_row);
  }

 private:
  Rows<lane_t> sorted(int64_t row_phase, int64_t column_phase) const {
    return {sorted_.data() + (row_phase * phases(g_.w) + column_phase) * phase_, pitch_};
  }

  void prepare(int64_t plane, int64_t begin, int64_t end, int32_t dt) {
    const Rows<tag_t> tags{tags_.data(), pitch_};
    const int64_t there = std::min<int64_t>(end + rows_below_, g_.h.windows) - begin;
    Base::tags(plane, begin, dt, tags.from(0, columns_beside_), there);
    std::fill(tags[there], tags[end + rows_below_ - begin], static_cast<tag_t>(kNoOffset));
    std::copy_n(tags.data, (end - begin) * pitch_ + columns_beside_, kept_.data());
    const int64_t lane = columns_beside_;
    Base::keep_winners(
        tags.data + lane, [&](int32_t i) { return tags[i] + lane; }, 1, kept_.data() + lane, (end - begin) * pitch_);
  }

  void sort(const lane_t* map, int64_t begin, int64_t end) {
    for (int64_t row_phase = 0; row_phase < phases(g_.h); ++row_phase) {
      // Row m of the phase is row first + m * stride of the map.
      const int64_t first = begin * g_.h.stride - g_.h.padding + row_phase;
      const int64_t wanted = end - begin + (g_.h.kernel - 1 - row_phase) / g_.h.stride;
      const int64_t above = std::min(wanted, first < 0 ? (-first + g_.h.stride - 1) / g_.h.stride : 0);
      const int64_t on_map = first < g_.h.size ? (g_.h.size - 1 - first) / g_.h.stride + 1 : 0;
      const int64_t below = std::max(above, std::min(wanted, on_map));
      const Rows<const lane_t> source{map + (first + above * g_.h.stride) * planes_.map_row,
                                      g_.h.stride * planes_.map_row};
      const auto target = [&](int64_t column) {
        return sorted(row_phase, (column + g_.w.padding) % g_.w.stride)
            .from(above, (column + g_.w.padding) / g_.w.stride);
      };
      for (int64_t column_phase = 0; column_phase < phases(g_.w); ++column_phase) {
        const Rows<lane_t> rows = sorted(row_phase, column_phase);
        std::fill(rows[0], rows[above], lane_t{});
        std::fill(rows[below], rows[wanted], lane_t{});
      }
      if (below == above) continue;
      if (g_.w.stride == 2 && phases(g_.w) == 2 && g_.w.size > 1) {
        split(source, target(0), target(1), below - above, g_.w.size);
        continue;
      }
      for (int64_t column_phase = 0; column_phase < phases(g_.w); ++column_phase) {
        const Phase columns(g_.w, column_phase);
        if (columns.count == 0) continue;
        pick(source.from(0, columns.first), target(columns.first), g_.w.stride, below - above, columns.count);
      }
    }
  }

  int64_t pitch_;  // of rows of windows and of a phase's rows
  int64_t phase_;  // lanes of a phase
  Buffer<tag_t> tags_;
  Buffer<tag_t> kept_;
  Buffer<lane_t> sorted_;
  Buffer<lane_t> taken_;
};

// Channels-last maps. Lanes are channels, those of a row of windows side by side.
template <class lane_t>
class ChannelsLastGather : GatherBase<lane_t> {
  using Base = GatherBase<lane_t>;
  using Base::args_;
  using Base::columns_beside_;
  using Base::g_;
  using Base::planes_;
  using Base::rows_below_;
  using Base::select_;
  using Base::sources_;
  using typename Base::tag_t;

 public:
  ChannelsLastGather(const PoolGeometry& geometry, const GatherArgs& args, int64_t)
      : Base(geometry, args),
        margin_(columns_beside_ * planes_.lanes),
        pitch_(planes_.grid_row + 2 * margin_),
        tags_((rows_below_ + 1) * pitch_),
        kept_(planes_.grid_row) {
    std::fill_n(tags_.data(), (rows_below_ + 1) * pitch_, static_cast<tag_t>(kNoOffset));
  }

  void operator()(int64_t plane, int64_t begin, int64_t end) {
    const auto t = static_cast<int32_t>(plane % g_.t.windows);
    int64_t prepared = begin;
    for (auto i = static_cast<int32_t>(begin); i < end; ++i) {
      bool started = false;
      for (int32_t frame = g_.t.begin(t); frame < g_.t.end(t); ++frame) {
        const int32_t dt = frame - g_.t.start(t);
        if (args_.frames) prepared = i;
        if (!started || args_.frames) prepare(plane, i, dt, prepared);
        take(Base::map(plane, frame), i, Base::first_offset(dt), started, Base::values(plane, i).data);
        started = true;
      }
    }
  }

 private:
  tag_t* tags_row(int64_t i) const { return tags_.data() + i % (rows_below_ + 1) * pitch_ + margin_; }

  // Tags of row i without those that have lost; the rows before `prepared` have tags already.
  void prepare(int64_t plane, int64_t i, int32_t dt, int64_t& prepared) {
    for (; prepared <= std::min<int64_t>(i + rows_below_, g_.h.windows - 1); ++prepared) {
      Base::tags(plane, prepared, dt, {tags_row(prepared), 0}, 1);
    }
    std::copy_n(tags_row(i), planes_.grid_row, kept_.data());
    const auto row_below = [&](int32_t rows) { return i + rows < g_.h.windows ? tags_row(i + rows) : nullptr; };
    Base::keep_winners(tags_row(i), row_below, planes_.lanes, kept_.data(), planes_.grid_row);
  }

  void take(const lane_t* map, int32_t i, int32_t first_offset, bool started, lane_t* target) {
    const int64_t channels = planes_.lanes;
    for_windows_alike(g_.w, {0, g_.w.windows}, [&](const Range& j, const Range& positions) {
      sources_.clear();
      for (int32_t r = g_.h.begin(i); r < g_.h.end(i); ++r) {
        for (int64_t dc = positions.begin; dc < positions.end; ++dc) {
          const int64_t column = j.begin * g_.w.stride - g_.w.padding + dc;
          sources_.push_back({{map + r * planes_.map_row + column * channels, g_.w.stride * channels},
                              {kept_.data() + j.begin * channels, channels},
                              first_offset + (r - g_.h.start(i)) * g_.w.kernel + static_cast<int32_t>(dc)});
        }
      }
      select_(sources_, started, {target + j.begin * channels, channels}, j.size(), channels);
    });
  }

  const int64_t margin_;  // tags beside a row, which point nowhere
  const int64_t pitch_;
  Buffer<tag_t> tags_;
  Buffer<tag_t> kept_;
};

template <class Gather>
void gather_rows(const PoolGeometry& g, const GatherArgs& args, int64_t element_size) {
  const Planes planes(g);
  const int64_t row_bytes = planes.map_row * g.h.stride * element_size;
  const int64_t most = std::clamp<int64_t>(kTileBytes / row_bytes, 1, g.h.windows);
  const int64_t tiles = (g.h.windows + most - 1) / most;
  parallel_rows(planes.volumes * g.t.windows * tiles, most * row_bytes, [&](int64_t begin, int64_t end) {
    Gather gather(g, args, most);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t first = unit % tiles * most;
      gather(unit / tiles, first, std::min<int64_t>(first + most, g.h.windows));
    }
  });
}

}  // namespace

// Values are only copied, so half types share one kernel.
void Cpu::gather(const PoolGeometry& geometry, ScalarType dtype, const GatherArgs& args, int) {
  dispatch(dtype, [&](auto zero) {
    using lane_t = typename Lane<decltype(zero)>::value_t;
    if (geometry.channels_last) {
      gather_rows<ChannelsLastGather<lane_t>>(geometry, args, sizeof(lane_t));
    } else {
      gather_rows<ContiguousGather<lane_t>>(geometry, args, sizeof(lane_t));
    }
  });
}

}  // namespace tased
