// Cpu::gather: threads share rows of windows. On contiguous maps windows read by vectors, or look up their places one
// by one; with channels last the channels of a window are lanes of which each takes the position that its tag tells.
#include <optional>
#include <vector>

#include "moves.h"
#include "parallel.h"
#include "places.h"
#include "select.h"
#include "vector_unpool.h"

namespace tased {
namespace {

// What stands around the grid. No rival has such an offset: it is a later window, and sees less of the other.
constexpr uint8_t kNoWindow = 255;

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

// Contiguous maps, by vectors of windows where that is faster, else one window after another. Those that lose are told
// before, in lanes that are windows where few may be rivals of one.
template <class bits_t>
class ContiguousGather {
 public:
  ContiguousGather(const PoolGeometry& geometry, const GatherArgs& args, int64_t most_rows)
      : g_(geometry),
        planes_(geometry),
        args_(args),
        rows_below_((geometry.h.kernel - 1) / geometry.h.stride),
        columns_beside_((geometry.w.kernel - 1) / geometry.w.stride),
        pitch_(geometry.w.windows + columns_beside_),
        places_(geometry, args.frames != nullptr, planes_.map_plane) {
    if (!args.frames && VectorRead<bits_t>::pays(geometry)) read_.emplace(geometry);
    if (!args.winners_only) return;
    lost_.reset(most_rows * pitch_ + kVector);
    if (few_rivals()) {
      const int64_t windows = (most_rows + rows_below_ + 1) * pitch_ + columns_beside_ + kVector;
      offsets_.reset(windows);
      std::fill_n(offsets_.data(), windows, kNoWindow);
      const Rows<const uint8_t> offsets = first_offsets();
      for (const Rival& rival : all_rivals(geometry)) {
        rivals_.push_back(
            {offsets[rival.i] + rival.j, static_cast<uint8_t>(rival.own), static_cast<uint8_t>(rival.offset)});
      }
    } else {
      const int64_t rows = std::min<int64_t>((most_rows + rows_below_ - 1) * g_.h.stride + g_.h.kernel, g_.h.size);
      taken_.reset(rows * g_.w.size);
      std::fill_n(taken_.data(), rows * g_.w.size, 0);
    }
  }

  // Rows begin … end - 1 of the windows in `plane` of the grid.
  void operator()(int64_t plane, int64_t begin, int64_t end) {
    const auto t = static_cast<int32_t>(plane % g_.t.windows);
    const Range frames{g_.t.begin(t), g_.t.end(t)};
    if (args_.winners_only) {
      if (few_rivals()) {
        lose_to_rivals(plane, begin, end);
      } else {
        lose_places(plane, begin, end);
      }
    }
    const int64_t first_plane = plane / g_.t.windows * g_.t.size + frames.begin;
    const bits_t* map = planes_.map_rows(static_cast<const bits_t*>(args_.map), first_plane, 0).data;
    const Rows<const uint8_t> lost{args_.winners_only ? lost_.data() : nullptr, pitch_};
    const auto values = planes_.grid_rows(static_cast<bits_t*>(args_.values), plane, begin);
    if (read_ && frames.size() > 0) {  // a last window may lie beyond the map
      const auto offsets = planes_.grid_rows(args_.offsets, plane, begin);
      const int64_t ahead = g_.t.stride * planes_.map_plane;
      return (*read_)({begin, end}, map, ahead, offsets, lost, values);
    }
    for (auto i = static_cast<int32_t>(begin); i < end; ++i) {
      prefetch(map + g_.t.stride * planes_.map_plane + i * int64_t{g_.h.stride} * planes_.map_row,
               std::min(g_.h.stride, g_.h.size) * planes_.map_row * static_cast<int64_t>(sizeof(bits_t)));
      places_.look_at(frames, {0, g_.h.size}, t, i);
      bits_t* row = values[i - begin];
      const auto visit = [&](const auto& each) {
        places_.visit(planes_.grid_rows(args_.offsets, plane, i).data, planes_.grid_rows(args_.frames, plane, i).data,
                      each);
      };
      if (args_.winners_only) {
        const uint8_t* loses = lost[i - begin];
        visit([&](int64_t j, int64_t place) {  // no branch for what nobody can predict
          row[j] = place < 0 ? bits_t{} : static_cast<bits_t>(map[place] & static_cast<bits_t>(loses[j] - 1));
        });
      } else {
        visit([&](int64_t j, int64_t place) { row[j] = place < 0 ? bits_t{} : map[place]; });
      }
    }
  }

 private:
  static constexpr int64_t kVector = 64;  // of lanes, so that none are left over

  bool few_rivals() const { return g_.window_area() <= 32; }

  // Windows that stand beside a row, which are the next one's as well, and below the grid have no offset.
  void lose_to_rivals(int64_t plane, int64_t begin, int64_t end) {
    const Rows<uint8_t> offsets = first_offsets();
    const int64_t there = std::min<int64_t>(end + rows_below_, g_.h.windows) - begin;
    convert(planes_.grid_rows(args_.offsets, plane, begin), offsets, there, planes_.grid_row);
    std::fill(offsets[there], offsets[end + rows_below_ - begin], kNoWindow);
    lose(offsets.data, rivals_, lost_.data(), ((end - begin) * pitch_ + kVector - 1) / kVector * kVector);
  }

  // Those of the first row; others follow.
  Rows<uint8_t> first_offsets() const { return Rows<uint8_t>{offsets_.data(), pitch_}.from(0, columns_beside_); }

  // From the last window to the first, one has lost if its place was taken before.
  void lose_places(int64_t plane, int64_t begin, int64_t end) {
    const auto t = static_cast<int32_t>(plane % g_.t.windows);
    const auto last = static_cast<int32_t>(std::min<int64_t>(end + rows_below_, g_.h.windows) - 1);
    const Range rows{g_.h.begin(static_cast<int32_t>(begin)), g_.h.end(last)};
    const int32_t mark = ++mark_;
    for (int32_t i = last; i >= begin; --i) {
      places_.look_at({g_.t.begin(t), g_.t.end(t)}, rows, t, i);
      uint8_t* lost = i < end ? lost_.data() + (i - begin) * pitch_ : nullptr;
      places_.visit<true>(planes_.grid_rows(args_.offsets, plane, i).data, nullptr, [&](int64_t j, int64_t place) {
        if (place < 0) return;
        if (lost) lost[j] = taken_.data()[place] == mark;
        taken_.data()[place] = mark;
      });
    }
  }

  const PoolGeometry g_;
  const Planes planes_;
  const GatherArgs args_;
  const int64_t rows_below_;      // rows of windows that may be rivals of a row
  const int64_t columns_beside_;  // and columns
  const int64_t pitch_;
  std::optional<VectorRead<bits_t>> read_;
  Places places_;
  std::vector<RivalLanes> rivals_;
  Buffer<uint8_t> offsets_;
  Buffer<uint8_t> lost_;
  Buffer<int32_t> taken_;  // the mark of the rows that a place was last taken in
  int32_t mark_ = 0;
};

// Channels-last maps. Lanes are channels, those of a row of windows side by side. For every position of the windows in
// turn, the lanes that point there take the map's value. A window that has lost its position to a rival, a later window
// that points there as well, points nowhere.
template <class lane_t, class tag_t>
class ChannelsLastGather {
 public:
  ChannelsLastGather(const PoolGeometry& geometry, const GatherArgs& args, int64_t)
      : g_(geometry),
        planes_(geometry),
        args_(args),
        rows_below_(args.winners_only ? (geometry.h.kernel - 1) / geometry.h.stride : 0),
        margin_((geometry.w.kernel - 1) / geometry.w.stride * planes_.lanes),
        pitch_(planes_.grid_row + 2 * margin_) {
    if (!kOffsets || args.winners_only || args.frames) tags_.reset(planes_.grid_row);
    if (!args.winners_only) return;
    rivals_ = all_rivals(geometry);
    offsets_.reset((rows_below_ + 1) * pitch_);
    lost_.reset(planes_.grid_row);
    std::fill_n(offsets_.data(), (rows_below_ + 1) * pitch_, kNoWindow);
  }

  void operator()(int64_t plane, int64_t begin, int64_t end) {
    const auto t = static_cast<int32_t>(plane % g_.t.windows);
    seen_ = begin;
    for (auto i = static_cast<int32_t>(begin); i < end; ++i) {
      bool started = false;
      const tag_t* tags = nullptr;
      lane_t* values = planes_.grid_rows(static_cast<lane_t*>(args_.values), plane, i).data;
      for (int32_t frame = g_.t.begin(t); frame < g_.t.end(t); ++frame) {
        const int32_t dt = frame - g_.t.start(t);
        if (!started || args_.frames) tags = prepare_tags(plane, i, dt);
        const lane_t* map =
            planes_.map_rows(static_cast<const lane_t*>(args_.map), plane / g_.t.windows * g_.t.size + frame, 0).data;
        take(map, tags, i, args_.frames ? 0 : dt * g_.window_area(), started, values);
        started = true;
      }
      if (!started) std::fill_n(values, planes_.grid_row, lane_t{});  // a last window may lie beyond the map
    }
  }

 private:
  // Tags of bytes may be the offsets themselves.
  static constexpr bool kOffsets = std::is_same_v<tag_t, uint8_t>;

  const tag_t* prepare_tags(int64_t plane, int64_t i, int32_t dt) {
    const auto offsets = planes_.grid_rows(args_.offsets, plane, i);
    if constexpr (kOffsets) {
      if (!tags_.data()) return offsets.data;
    }
    Rows<const uint8_t> frames = planes_.grid_rows(args_.frames, plane, i);
    if (args_.winners_only) {  // those that have lost are of no frame
      lose_row(plane, i);
      frames = {lost_.data(), 0};
      dt = 0;
    }
    make_tags<tag_t>(offsets, frames, dt, {tags_.data(), 0}, 1, planes_.grid_row);
    return tags_.data();
  }

  void lose_row(int64_t plane, int64_t i) {
    const auto row = [&](int64_t k) { return offsets_.data() + k % (rows_below_ + 1) * pitch_ + margin_; };
    for (; seen_ <= std::min<int64_t>(i + rows_below_, g_.h.windows - 1); ++seen_) {
      std::copy_n(planes_.grid_rows(args_.offsets, plane, seen_).data, planes_.grid_row, row(seen_));
    }
    rival_lanes_.clear();
    for (const Rival& rival : rivals_) {
      if (i + rival.i >= g_.h.windows) continue;
      rival_lanes_.push_back({row(i + rival.i) + rival.j * planes_.lanes, static_cast<uint8_t>(rival.own),
                              static_cast<uint8_t>(rival.offset)});
    }
    lose(row(i), rival_lanes_, lost_.data(), planes_.grid_row);
  }

  void take(const lane_t* map, const tag_t* tags, int32_t i, int32_t first_offset, bool started, lane_t* target) {
    const int64_t channels = planes_.lanes;
    for_windows_alike(g_.w, {0, g_.w.windows}, [&](const Range& j, const Range& positions) {
      select_.sources.clear();
      for (int32_t r = g_.h.begin(i); r < g_.h.end(i); ++r) {
        for (int64_t dc = positions.begin; dc < positions.end; ++dc) {
          const int64_t column = j.begin * g_.w.stride - g_.w.padding + dc;
          select_.sources.push_back({{map + r * planes_.map_row + column * channels, g_.w.stride * channels},
                                     {tags + j.begin * channels, channels},
                                     first_offset + (r - g_.h.start(i)) * g_.w.kernel + static_cast<int32_t>(dc)});
        }
      }
      select_(started, {target + j.begin * channels, channels}, j.size(), channels);
    });
  }

  const PoolGeometry g_;
  const Planes planes_;
  const GatherArgs args_;
  const int64_t rows_below_;  // rows of windows that may be rivals of a row
  const int64_t margin_;      // offsets beside a row
  const int64_t pitch_;
  int64_t seen_ = 0;  // rows whose offsets are there
  Buffer<uint8_t> offsets_;
  Buffer<uint8_t> lost_;
  Buffer<tag_t> tags_;
  std::vector<Rival> rivals_;
  std::vector<RivalLanes> rival_lanes_;
  SelectOf<lane_t, tag_t, false> select_;
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
void Cpu::gather(const PoolGeometry& geometry, ScalarType dtype, const GatherArgs& asked, int) {
  GatherArgs args = asked;
  args.winners_only &= geometry.h.overlapping() || geometry.w.overlapping();
  dispatch(dtype, [&](auto zero) {
    using lane_t = typename Lane<decltype(zero)>::value_t;
    if (geometry.channels_last && bytes_tell(geometry.window_area() * geometry.t.kernel)) {
      gather_rows<ChannelsLastGather<lane_t, uint8_t>>(geometry, args, sizeof(lane_t));
    } else if (geometry.channels_last) {
      gather_rows<ChannelsLastGather<lane_t, tag_of<lane_t>>>(geometry, args, sizeof(lane_t));
    } else {
      gather_rows<ContiguousGather<tag_of<lane_t>>>(geometry, args, sizeof(lane_t));
    }
  });
}

}  // namespace tased
