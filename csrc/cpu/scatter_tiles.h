// Builds parts of a map from the windows that meet them.
#pragma once

#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "moves.h"
#include "parallel.h"
#include "places.h"
#include "select.h"
#include "vector_unpool.h"

namespace tased {

// Some rows of some frames.
struct MapPart {
  Range frames;
  Range rows;
};

// What lies in memory, scalars that add up or bits that move, and how it does in lanes.
template <class scalar_t, Meet kMeet>
struct ScatterTypes {
  static constexpr bool kSum = kMeet == Meet::kSum;
  using stored_t = std::conditional_t<kSum, scalar_t, typename Lane<scalar_t>::value_t>;
  using lane_t = std::conditional_t<kSum, typename Scalar<scalar_t>::sum_t, stored_t>;
  static constexpr bool kConverted = !std::is_same_v<lane_t, stored_t>;
};

// Contiguous maps. The rows of a part are written by vectors, if that is faster. Else it is cleared, then one window
// after another goes to its place there: half types that add up do so in a copy of the part.
template <class scalar_t, Meet kMeet>
class ContiguousScatter : ScatterTypes<scalar_t, kMeet> {
  using Types = ScatterTypes<scalar_t, kMeet>;
  using typename Types::lane_t;
  using typename Types::stored_t;
  using Types::kConverted;
  using Types::kSum;
  using bits_t = tag_of<stored_t>;
  using Write = VectorWrite<std::conditional_t<kSum, scalar_t, bits_t>, kMeet>;

 public:
  // How large parts are: several times as large as a window, which is visited by each of the parts that it reaches.
  static MapPart most(const PoolGeometry& g) {
    constexpr int64_t kPartBytes = 4 * kTileBytes;
    const int64_t row_bytes = g.w.size * static_cast<int64_t>(sizeof(lane_t));
    const auto fitting = [](const Axis& axis, int64_t wanted) {
      const int64_t least = axis.overlapping() ? 4 * axis.kernel : axis.stride;
      return std::min<int64_t>(std::max(wanted, least) / axis.stride * axis.stride + axis.stride - 1, axis.size);
    };
    const int64_t rows = fitting(g.h, kPartBytes / (fitting(g.t, 1) * row_bytes));
    return {{0, fitting(g.t, kPartBytes / (rows * row_bytes))}, {0, rows}};
  }

  ContiguousScatter(const PoolGeometry& geometry, const ScatterArgs& args, const MapPart& most)
      : g_(geometry),
        planes_(geometry),
        args_(args),
        frame_pitch_(kConverted ? most.rows.size() * planes_.map_row : planes_.map_plane),
        places_(geometry, args.frames != nullptr, frame_pitch_) {
    if (Write::pays(geometry)) {
      write_.emplace(geometry);
    } else if (kConverted) {
      part_.reset(most.frames.size() * frame_pitch_);
      const int64_t rows = (most.rows.size() + g_.h.kernel - 1) / g_.h.stride + 1;
      values_.reset(std::min<int64_t>(rows, g_.h.windows) * planes_.grid_row);
    }
  }

  // From now on of other maps and windows of the same geometry.
  void reset(const ScatterArgs& args) { args_ = args; }

  void operator()(int64_t volume, const MapPart& part) {
    if (write_) return write_rows(volume, part);
    const int64_t lanes = part.rows.size() * planes_.map_row;
    const auto frame = [&](int64_t f) {
      return planes_.map_rows(static_cast<stored_t*>(args_.map), volume * g_.t.size + f, part.rows.begin).data;
    };
    lane_t* target = nullptr;
    if constexpr (kConverted) {
      target = part_.data();
    } else {
      target = frame(part.frames.begin);
    }
    for (int64_t f = 0; f < part.frames.size(); ++f) std::fill_n(target + f * frame_pitch_, lanes, lane_t{});
    const int32_t t_end = g_.t.last_covering(static_cast<int32_t>(part.frames.end - 1));
    for (int32_t t = g_.t.first_covering(static_cast<int32_t>(part.frames.begin)); t <= t_end; ++t) {
      meet(volume * g_.t.windows + t, t, part, target);
    }
    if constexpr (kConverted) {
      for (int64_t f = 0; f < part.frames.size(); ++f) {
        convert<lane_t, stored_t>({target + f * frame_pitch_, lanes}, {frame(part.frames.begin + f), lanes}, 1, lanes);
      }
    }
  }

 private:
  void write_rows(int64_t volume, const MapPart& part) {
    for (auto f = static_cast<int32_t>(part.frames.begin); f < part.frames.end; ++f) {
      const auto map = planes_.map_rows(static_cast<bits_t*>(args_.map), volume * g_.t.size + f, 0);
      const int32_t t = g_.t.first_covering(f);
      if (t > g_.t.last_covering(f)) {
        std::fill(map[part.rows.begin], map[part.rows.end], bits_t{});
        continue;
      }
      const int64_t plane = volume * g_.t.windows + t;
      (*write_)(
          {planes_.grid_rows(static_cast<const bits_t*>(args_.values), plane, 0),
           planes_.grid_rows(args_.offsets, plane, 0), planes_.grid_rows(args_.frames, plane, 0), f - g_.t.start(t)},
          map, part.rows);
    }
  }

  // The windows (t, ·), which lie in `plane` of the grid.
  void meet(int64_t plane, int32_t t, const MapPart& part, lane_t* target) {
    const int32_t begin = g_.h.first_covering(static_cast<int32_t>(part.rows.begin));
    const int32_t last = g_.h.last_covering(static_cast<int32_t>(part.rows.end - 1));
    if (begin > last) return;
    const auto stored = planes_.grid_rows(static_cast<const stored_t*>(args_.values), plane, begin).data;
    const lane_t* values = nullptr;
    if constexpr (kConverted) {
      const int64_t lanes = (last - begin + 1) * planes_.grid_row;
      convert<stored_t, lane_t>({stored, lanes}, {values_.data(), lanes}, 1, lanes);
      values = values_.data();
    } else {
      values = stored;
    }
    for (int32_t i = begin; i <= last; ++i) {
      places_.look_at(part.frames, part.rows, t, i);
      places_.visit(planes_.grid_rows(args_.offsets, plane, i).data, planes_.grid_rows(args_.frames, plane, i).data,
                    [&](int64_t j, int64_t place) {
                      if (place < 0) return;
                      if constexpr (kSum) {
                        target[place] += values[j];
                      } else {
                        target[place] = values[j];
                      }
                    });
      values += planes_.grid_row;
    }
  }

  const PoolGeometry g_;
  const Planes planes_;
  ScatterArgs args_;
  std::optional<Write> write_;
  const int64_t frame_pitch_;
  Places places_;
  Buffer<lane_t> part_;
  Buffer<lane_t> values_;
};

// Channels-last maps. Lanes are channels.
template <class scalar_t, Meet kMeet>
class ChannelsLastScatter : ScatterTypes<scalar_t, kMeet> {
  using Types = ScatterTypes<scalar_t, kMeet>;
  using typename Types::lane_t;
  using typename Types::stored_t;
  using Types::kConverted;
  using Types::kSum;

 public:
  // How large parts are: where windows add up, larger than one, as rows of windows are prepared for every part.
  static MapPart most(const PoolGeometry& g) {
    const int64_t row_bytes = g.w.size * g.channels * static_cast<int64_t>(sizeof(stored_t));
    const int32_t least = kSum && g.h.overlapping() ? 2 * g.h.kernel : g.h.stride;
    return {{0, 1}, {0, std::clamp<int64_t>(kTileBytes / row_bytes, least, std::max(g.h.size, least))}};
  }

  ChannelsLastScatter(const PoolGeometry& geometry, const ScatterArgs& args, const MapPart&)
      : g_(geometry),
        planes_(geometry),
        args_(args),
        rows_behind_((geometry.h.kernel - 1) / geometry.h.stride),
        times_((g_.t.kernel - 1) / g_.t.stride + 1),
        slots_(times_ * (rows_behind_ + 1)),
        bytes_(bytes_tell(geometry.window_area() * geometry.t.kernel)),
        values_(kConverted ? slots_ * planes_.grid_row : 0),
        line_(kConverted ? planes_.map_row : 0),
        prepared_(slots_, -1) {
    if (!bytes_) by<tag_of<lane_t>>().tags.reset(slots_ * planes_.grid_row);
    if (bytes_ && args.frames) by<uint8_t>().tags.reset(slots_ * planes_.grid_row);
  }

  // From now on of other maps and windows of the same geometry.
  void reset(const ScatterArgs& args) { args_ = args; }

  void operator()(int64_t volume, const MapPart& part) {
    for (auto frame = static_cast<int32_t>(part.frames.begin); frame < part.frames.end; ++frame) {
      std::fill(prepared_.begin(), prepared_.end(), -1);
      for (auto r = static_cast<int32_t>(part.rows.begin); r < part.rows.end; ++r) {
        stored_t* row = planes_.map_rows(static_cast<stored_t*>(args_.map), volume * g_.t.size + frame, r).data;
        if constexpr (kConverted) {
          meet(volume, frame, r, line_.data());
          convert<lane_t, stored_t>({line_.data(), planes_.map_row}, {row, planes_.map_row}, 1, planes_.map_row);
        } else {
          meet(volume, frame, r, row);
        }
      }
    }
  }

 private:
  template <class tag_t>
  struct WindowRow {
    const lane_t* values;
    const tag_t* tags;
    int32_t first_offset;
  };
  template <class tag_t>
  struct ByTags {
    Buffer<tag_t> tags;
    std::vector<WindowRow<tag_t>> windows;
    SelectOf<lane_t, tag_t, kSum> select;
  };

  template <class tag_t>
  ByTags<tag_t>& by() {
    return std::get<ByTags<tag_t>>(by_);
  }

  template <class tag_t>
  WindowRow<tag_t> prepare(int64_t volume, int32_t frame, int32_t t, int32_t r, int32_t i) {
    const int64_t plane = volume * g_.t.windows + t;
    const int64_t slot = t % times_ * (rows_behind_ + 1) + i % (rows_behind_ + 1);
    const int64_t lanes = planes_.grid_row;
    const int32_t dt = frame - g_.t.start(t);
    const int64_t id = plane * g_.h.windows + i;
    const auto stored = planes_.grid_rows(static_cast<const stored_t*>(args_.values), plane, i);
    const auto offsets = planes_.grid_rows(args_.offsets, plane, i);
    lane_t* values = values_.data() + slot * lanes;
    tag_t* tags = by<tag_t>().tags.data();
    if (tags) tags += slot * lanes;
    if (prepared_[slot] != id) {
      prepared_[slot] = id;
      if (tags) make_tags<tag_t>(offsets, planes_.grid_rows(args_.frames, plane, i), dt, {tags, lanes}, 1, lanes);
      if constexpr (kConverted) convert<stored_t, lane_t>(stored, {values, lanes}, 1, lanes);
    }
    // With frames, tags are offsets in one frame.
    const int32_t first_offset = (args_.frames ? 0 : dt * g_.window_area()) + (r - g_.h.start(i)) * g_.w.kernel;
    WindowRow<tag_t> row{values, tags, first_offset};
    if constexpr (!kConverted) row.values = stored.data;
    if constexpr (std::is_same_v<tag_t, uint8_t>) row.tags = tags ? tags : offsets.data;
    return row;
  }

  void meet(int64_t volume, int32_t frame, int32_t r, lane_t* row) {
    if (bytes_) return meet_by<uint8_t>(volume, frame, r, row);
    meet_by<tag_of<lane_t>>(volume, frame, r, row);
  }

  template <class tag_t>
  void meet_by(int64_t volume, int32_t frame, int32_t r, lane_t* row) {
    const int64_t channels = planes_.lanes;
    auto& [tags, window_rows, select] = by<tag_t>();
    window_rows.clear();
    for (int32_t t = g_.t.first_covering(frame); t <= g_.t.last_covering(frame); ++t) {
      for (int32_t i = g_.h.first_covering(r); i <= g_.h.last_covering(r); ++i) {
        window_rows.push_back(prepare<tag_t>(volume, frame, t, r, i));
      }
    }
    for_positions_alike(g_.w, [&](int64_t column, int64_t count, const Range& windows_here) {
      select.sources.clear();
      for (const WindowRow<tag_t>& windows : window_rows) {
        for (int64_t j = windows_here.begin; j < windows_here.end; ++j) {
          const int64_t dc = column - g_.w.start(static_cast<int32_t>(j));
          select.sources.push_back({{windows.values + j * channels, channels},
                                    {windows.tags + j * channels, channels},
                                    windows.first_offset + static_cast<int32_t>(dc)});
        }
      }
      select(false, {row + column * channels, g_.w.stride * channels}, count, channels);
    });
  }

  const PoolGeometry g_;
  const Planes planes_;
  ScatterArgs args_;
  const int64_t rows_behind_;  // a position's windows are the last row that covers it and so many before
  const int64_t times_;        // and so many frames of windows in all
  const int64_t slots_;
  const bool bytes_;  // whether tags are bytes, the offsets themselves or, with frames, those of one frame
  std::tuple<ByTags<uint8_t>, ByTags<tag_of<lane_t>>> by_;
  Buffer<lane_t> values_;
  Buffer<lane_t> line_;
  std::vector<int64_t> prepared_;  // which window row is in a slot
};

}  // namespace tased
