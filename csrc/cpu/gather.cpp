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

template <class lane_t>
class Gather {
  using tag_t = tag_of<lane_t>;

 public:
  Gather(const PoolGeometry& geometry, const GatherArgs& args)
      : g_(geometry),
        planes_(geometry),
        args_(args),
        lanes_(planes_.lanes),
        rows_below_((geometry.h.kernel - 1) / geometry.h.stride),
        margin_((geometry.w.kernel - 1) / geometry.w.stride * lanes_),
        tags_pitch_(planes_.grid_row + 2 * margin_),
        tags_rows_(rows_below_ + 1),
        tags_(tags_rows_ * tags_pitch_),
        kept_(tags_pitch_) {
    if (args.winners_only) rivals_ = all_rivals(geometry);
    std::fill_n(tags_.data(), tags_rows_ * tags_pitch_, static_cast<tag_t>(kNoOffset));
    if (g_.channels_last) return;
    pitch_ = g_.w.windows + (g_.w.kernel - 1) / g_.w.stride;
    for (int64_t phase = 0; phase < phases(g_.w); ++phase) {
      const Phase columns(g_.w, phase);
      pitch_ = std::max(pitch_, columns.place + columns.count);
    }
    run_ = g_.h.kernel * pitch_;
    sorted_.reset(phases(g_.w) * run_);
    std::fill_n(sorted_.data(), phases(g_.w) * run_, lane_t{});
  }

  // Row i of the windows in `plane` of the grid. Rows of a plane come in ascending order.
  void operator()(int64_t plane, int32_t i) {
    const auto t = static_cast<int32_t>(plane % g_.t.windows);
    const int64_t volume = plane / g_.t.windows;
    lane_t* target = static_cast<lane_t*>(args_.values) + plane * planes_.grid_plane + i * planes_.grid_row;
    bool started = false;
    for (int32_t frame = g_.t.begin(t); frame < g_.t.end(t); ++frame) {
      const int32_t dt = frame - g_.t.start(t);
      const Rows<const tag_t> tags{prepare(plane, i, dt, !started), 0};
      const lane_t* map = static_cast<const lane_t*>(args_.map) + (volume * g_.t.size + frame) * planes_.map_plane;
      const int32_t first_offset = args_.frames ? 0 : dt * g_.window_area();
      if (g_.channels_last) {
        take_channels(map, i, first_offset, tags.data, started, target);
      } else {
        take_windows(map, plane * g_.t.size + frame, i, first_offset, tags.data, started, target);
      }
      started = true;
    }
  }

 private:
  tag_t* tags_row(int64_t i) const { return tags_.data() + i % tags_rows_ * tags_pitch_ + margin_; }

  // Tags of window row i, those of windows that have lost taken out.
  const tag_t* prepare(int64_t plane, int32_t i, int32_t dt, bool first) {
    if (!first && !args_.frames) return kept_.data() + margin_;
    const int64_t last = std::min<int64_t>(i + (args_.winners_only ? rows_below_ : 0), g_.h.windows - 1);
    if (plane != plane_ || i < i_ || args_.frames) prepared_ = i;
    plane_ = plane;
    i_ = i;
    for (; prepared_ <= last; ++prepared_) {
      const int64_t place = plane * planes_.grid_plane + prepared_ * planes_.grid_row;
      make_tags<tag_t>({args_.offsets + place, 0}, {args_.frames ? args_.frames + place : nullptr, 0}, dt,
                       {tags_row(prepared_), 0}, 1, planes_.grid_row);
    }
    const tag_t* tags = tags_row(i);
    tag_t* kept = kept_.data() + margin_;
    std::copy_n(tags, planes_.grid_row, kept);
    static const auto lose = at_vector_level<LoseLoop<tag_t>>();
    for (const Rival& rival : rivals_) {
      if (i + rival.i >= g_.h.windows) continue;
      lose(tags, tags_row(i + rival.i) + rival.j * lanes_, rival.own, rival.offset, kept, planes_.grid_row);
    }
    return kept;
  }

  // Contiguous: rows of the map, their columns sorted by phase, are brought into a ring as the windows come to them.
  void take_windows(const lane_t* map, int64_t id, int32_t i, int32_t first_offset, const tag_t* tags, bool started,
                    lane_t* target) {
    if (id != map_id_ || i < map_i_) map_rows_ = 0;
    map_id_ = id;
    map_i_ = i;
    for (int64_t r = std::max<int64_t>(map_rows_, g_.h.begin(i)); r < g_.h.end(i); ++r) {
      for (int64_t phase = 0; phase < phases(g_.w); ++phase) {
        const Phase columns(g_.w, phase);
        if (columns.count == 0) continue;
        pick<lane_t>({map + r * planes_.map_row + columns.first, 0},
                     {sorted_.data() + phase * run_ + r % g_.h.kernel * pitch_ + columns.place, 0}, g_.w.stride, 1,
                     columns.count);
      }
    }
    map_rows_ = g_.h.end(i);
    sources_.clear();
    for (int32_t r = g_.h.begin(i); r < g_.h.end(i); ++r) {
      for (int32_t dc = 0; dc < g_.w.kernel; ++dc) {
        const lane_t* values = sorted_.data() + dc % g_.w.stride * run_ + r % g_.h.kernel * pitch_ + dc / g_.w.stride;
        sources_.push_back({{values, 0}, {tags, 0}, first_offset + (r - g_.h.start(i)) * g_.w.kernel + dc});
      }
    }
    select_(sources_, started, {target, 0}, 1, g_.w.windows);
  }

  void take_channels(const lane_t* map, int32_t i, int32_t first_offset, const tag_t* tags, bool started,
                     lane_t* target) {
    for (int32_t j = 0; j < g_.w.windows;) {
      const int32_t begin = g_.w.begin(j) - g_.w.start(j);
      const int32_t end = g_.w.end(j) - g_.w.start(j);
      int32_t count = 1;
      while (j + count < g_.w.windows && g_.w.begin(j + count) - g_.w.start(j + count) == begin &&
             g_.w.end(j + count) - g_.w.start(j + count) == end) {
        ++count;
      }
      sources_.clear();
      for (int32_t r = g_.h.begin(i); r < g_.h.end(i); ++r) {
        for (int32_t dc = begin; dc < end; ++dc) {
          const lane_t* values = map + r * planes_.map_row + (g_.w.start(j) + dc) * lanes_;
          sources_.push_back({{values, g_.w.stride * lanes_},
                              {tags + j * lanes_, lanes_},
                              first_offset + (r - g_.h.start(i)) * g_.w.kernel + dc});
        }
      }
      select_(sources_, started, {target + j * lanes_, lanes_}, count, lanes_);
      j += count;
    }
  }

  const PoolGeometry g_;
  const Planes planes_;
  const GatherArgs args_;
  const int64_t lanes_;
  const int64_t rows_below_;  // rows of windows that may have rivals of a row
  const int64_t margin_;      // tags beside a row, which point nowhere
  const int64_t tags_pitch_;
  const int64_t tags_rows_;
  Buffer<tag_t> tags_;
  Buffer<tag_t> kept_;
  std::vector<Rival> rivals_;
  int64_t pitch_ = 0;
  int64_t run_ = 0;
  Buffer<lane_t> sorted_;
  int64_t plane_ = -1;
  int64_t i_ = 0;
  int64_t prepared_ = 0;  // rows of tags before this one are there
  int64_t map_id_ = -1;
  int64_t map_i_ = 0;
  int64_t map_rows_ = 0;  // and rows of the map
  SelectOf<lane_t, false> select_;
  typename SelectOf<lane_t, false>::Sources sources_;
};

template <class lane_t>
void gather_rows(const PoolGeometry& g, const GatherArgs& args) {
  const Planes planes(g);
  const int64_t rows = planes.volumes * g.t.windows * g.h.windows;
  const int64_t bytes = planes.map_row * std::min(g.h.stride, g.h.kernel) * static_cast<int64_t>(sizeof(lane_t));
  parallel_rows(rows, bytes, [&](int64_t begin, int64_t end) {
    Gather<lane_t> gather(g, args);
    for (int64_t row = begin; row < end; ++row) {
      gather(row / g.h.windows, static_cast<int32_t>(row % g.h.windows));
    }
  });
}

}  // namespace

// Values are only copied, so half types share one kernel.
void Cpu::gather(const PoolGeometry& geometry, ScalarType dtype, const GatherArgs& args, int) {
  dispatch(dtype, [&](auto zero) { gather_rows<typename Lane<decltype(zero)>::value_t>(geometry, args); });
}

}  // namespace tased
