// Builds rows of a map from the windows that meet them. Windows are prepared as lanes of values and tags, with windows
// that point nowhere around them where the grid ends (contiguous), so that the loops know no borders.
#pragma once

#include <cstdint>
#include <vector>

#include "../kernels.h"
#include "moves.h"
#include "select.h"

namespace tased {

// What both layouts have in common.
template <class scalar_t, Meet kMeet>
class ScatterBase {
 public:
  // From now on of other maps and windows of the same geometry.
  void reset(const ScatterArgs& args) { args_ = args; }

 protected:
  static constexpr bool kSum = kMeet == Meet::kSum;
  // What lies in memory: scalars that add up, or bits that move.
  using stored_t = std::conditional_t<kSum, scalar_t, typename Lane<scalar_t>::value_t>;
  using lane_t = std::conditional_t<kSum, typename Scalar<scalar_t>::sum_t, stored_t>;
  using tag_t = tag_of<lane_t>;

  ScatterBase(const PoolGeometry& geometry, const ScatterArgs& args)
      : g_(geometry),
        planes_(geometry),
        args_(args),
        rows_behind_((geometry.h.kernel - 1) / geometry.h.stride),
        columns_behind_((geometry.w.kernel - 1) / geometry.w.stride) {}

  Rows<const stored_t> values(int64_t plane, int64_t i) const {
    return planes_.grid_rows(static_cast<const stored_t*>(args_.values), plane, i);
  }
  Rows<stored_t> map(int64_t plane, int64_t r) const {
    return planes_.map_rows(static_cast<stored_t*>(args_.map), plane, r);
  }
  // Rows of windows as tags: the offsets, or with frames those of frame `dt` alone.
  void tags(int64_t plane, int64_t i, int32_t dt, Rows<tag_t> target, int64_t rows, int64_t lanes) const {
    make_tags<tag_t>(planes_.grid_rows(args_.offsets, plane, i), planes_.grid_rows(args_.frames, plane, i), dt, target,
                     rows, lanes);
  }
  // The offset at which a window sees what is the first offset of its frame `dt`.
  int32_t first_offset(int32_t dt) const { return args_.frames ? 0 : dt * g_.window_area(); }

  const PoolGeometry g_;
  const Planes planes_;
  ScatterArgs args_;
  const int64_t rows_behind_;  // a position's windows are the last one that covers it and so many before
  const int64_t columns_behind_;
  SelectOf<lane_t, kSum> select_;
  typename SelectOf<lane_t, kSum>::Sources sources_;
};

// Contiguous maps. Lanes are positions of equal phase, whole rows of them.
template <class scalar_t, Meet kMeet>
class ContiguousScatter : ScatterBase<scalar_t, kMeet> {
  using Base = ScatterBase<scalar_t, kMeet>;
  using Base::columns_behind_;
  using Base::g_;
  using Base::kSum;
  using Base::planes_;
  using Base::rows_behind_;
  using Base::select_;
  using Base::sources_;
  using typename Base::lane_t;
  using typename Base::stored_t;
  using typename Base::tag_t;

 public:
  using Base::reset;

  ContiguousScatter(const PoolGeometry& geometry, const ScatterArgs& args, int64_t most_rows)
      : Base(geometry, args),
        first_column_(g_.w.padding / g_.w.stride),
        pitch_((g_.w.size - 1 + g_.w.padding) / g_.w.stride - first_column_ + 1 + columns_behind_),
        most_rows_((most_rows - 1) / g_.h.stride + 2),
        windows_((most_rows_ + rows_behind_ + 1) * pitch_ + columns_behind_),
        times_((g_.t.kernel - 1) / g_.t.stride + 1),
        values_(times_ * windows_),
        tags_(times_ * windows_),
        met_(phases(g_.h) * phases(g_.w) * most_rows_ * pitch_),
        zeros_(g_.w.size) {
    std::fill_n(values_.data(), times_ * windows_, lane_t{});
    std::fill_n(tags_.data(), times_ * windows_, static_cast<tag_t>(kNoOffset));
    std::fill_n(zeros_.data(), g_.w.size, lane_t{});
  }

  // Rows begin … end - 1 of a map's frame.
  void operator()(int64_t volume, int32_t frame, int64_t begin, int64_t end) {
    const int64_t first = (begin + g_.h.padding) / g_.h.stride;
    const int64_t rows = (end - 1 + g_.h.padding) / g_.h.stride - first + 1;
    const int32_t t_first = g_.t.first_covering(frame);
    const int32_t t_last = g_.t.last_covering(frame);
    for (int32_t t = t_first; t <= t_last; ++t) {
      prepare(volume * g_.t.windows + t, frame - g_.t.start(t), first, rows, (t - t_first) * windows_);
    }
    if (write_pairs(volume * g_.t.size + frame, frame, first, begin, end)) return;
    for (int64_t row_phase = 0; row_phase < phases(g_.h); ++row_phase) {
      for (int64_t column_phase = 0; column_phase < phases(g_.w); ++column_phase) {
        sources_.clear();
        for (int32_t t = t_first; t <= t_last; ++t) {
          add(row_phase, column_phase, Base::first_offset(frame - g_.t.start(t)), (t - t_first) * windows_);
        }
        select_(sources_, false, met(row_phase, column_phase), 1, rows * pitch_);
      }
    }
    join(volume * g_.t.size + frame, first, begin, end);
  }

 private:
  // Windows of rows first - rows_behind_ … first + rows - 1, those beyond the grid pointing nowhere.
  void prepare(int64_t plane, int32_t dt, int64_t first, int64_t rows, int64_t place) {
    const int64_t top = first - rows_behind_;
    const int64_t begin = std::clamp<int64_t>(top, 0, g_.h.windows);
    const int64_t end = std::clamp<int64_t>(first + rows, begin, g_.h.windows);
    const Rows<tag_t> tags{tags_.data() + place, pitch_};
    std::fill(tags[0], tags[begin - top], static_cast<tag_t>(kNoOffset));
    std::fill(tags[end - top], tags[rows + rows_behind_], static_cast<tag_t>(kNoOffset));
    if (begin == end) return;
    const int64_t column = columns_behind_ - first_column_;
    const int64_t columns = std::min<int64_t>(g_.w.windows, pitch_ - column);  // further ones begin beyond the map
    Base::tags(plane, begin, dt, tags.from(begin - top, column), end - begin, columns);
    convert<stored_t, lane_t>(Base::values(plane, begin),
                              Rows<lane_t>{values_.data() + place, pitch_}.from(begin - top, column), end - begin,
                              columns);
  }

  // The windows that meet positions of these phases, in ascending order.
  void add(int64_t row_phase, int64_t column_phase, int64_t first_offset, int64_t place) {
    for (int64_t u = (g_.h.kernel - 1 - row_phase) / g_.h.stride; u >= 0; --u) {
      for (int64_t v = (g_.w.kernel - 1 - column_phase) / g_.w.stride; v >= 0; --v) {
        const int64_t lane = place + (rows_behind_ - u) * pitch_ + columns_behind_ - v;
        const int64_t offset =
            first_offset + (row_phase + u * g_.h.stride) * g_.w.kernel + column_phase + v * g_.w.stride;
        sources_.push_back(
            {{values_.data() + lane, pitch_}, {tags_.data() + lane, pitch_}, static_cast<int32_t>(offset)});
      }
    }
  }

  // At stride 2 even and odd columns are selected side by side and go straight to the map, where there are loops for
  // it.
  bool write_pairs(int64_t plane, int32_t frame, int64_t first, int64_t begin, int64_t end) {
    if constexpr (!std::is_same_v<lane_t, stored_t>) {
      return false;
    } else {
      constexpr int64_t kVector = 64 / sizeof(lane_t);
      if (g_.w.stride != 2 || g_.w.kernel < 2 || g_.w.size % 2 != 0 || g_.w.size / 2 < kVector ||
          g_.h.kernel < g_.h.stride) {
        return false;
      }
      for (int64_t r = begin; r < std::min(end, begin + g_.h.stride); ++r) {
        sources_.clear();
        size_t even = 0;
        for (int64_t c = 0; c < 2; ++c) {
          const int64_t shift =
              ((r + g_.h.padding) / g_.h.stride - first) * pitch_ + (c + g_.w.padding) / 2 - first_column_;
          for (int32_t t = g_.t.first_covering(frame); t <= g_.t.last_covering(frame); ++t) {
            add((r + g_.h.padding) % g_.h.stride, (c + g_.w.padding) % 2, Base::first_offset(frame - g_.t.start(t)),
                (t - g_.t.first_covering(frame)) * windows_ + shift);
          }
          if (c == 0) even = sources_.size();
        }
        const auto loop = pairs_loop<lane_t, kSum>(even, sources_.size() - even);
        if (loop == nullptr) return false;
        loop(sources_.data(), {Base::map(plane, r).data, g_.h.stride * planes_.map_row},
             (end - 1 - r) / g_.h.stride + 1, g_.w.size / 2);
      }
      return true;
    }
  }

  Rows<lane_t> met(int64_t row_phase, int64_t column_phase) const {
    return {met_.data() + (row_phase * phases(g_.w) + column_phase) * most_rows_ * pitch_, pitch_};
  }

  // Phases become rows of the map.
  void join(int64_t plane, int64_t first, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < std::min(end, begin + g_.h.stride); ++r) {
      const int64_t row_phase = (r + g_.h.padding) % g_.h.stride;
      const int64_t rows = (end - 1 - r) / g_.h.stride + 1;
      const Rows<stored_t> target{Base::map(plane, r).data, g_.h.stride * planes_.map_row};
      const auto column = [&](int64_t c) {
        const int64_t column_phase = (c + g_.w.padding) % g_.w.stride;
        if (row_phase >= g_.h.kernel || column_phase >= g_.w.kernel) return Rows<const lane_t>{zeros_.data(), 0};
        return Rows<const lane_t>(
            met(row_phase, column_phase)
                .from((r + g_.h.padding) / g_.h.stride - first, (c + g_.w.padding) / g_.w.stride - first_column_));
      };
      if (g_.w.stride == 2) {
        tased::join(column(0), column(1), target, rows, g_.w.size);
        continue;
      }
      for (int64_t c = 0; c < std::min(g_.w.size, g_.w.stride); ++c) {
        spread(column(c), target.from(0, c), g_.w.stride, rows, (g_.w.size - 1 - c) / g_.w.stride + 1);
      }
    }
  }

  const int64_t first_column_;  // of the places of columns
  const int64_t pitch_;
  const int64_t most_rows_;  // of a phase
  const int64_t windows_;    // lanes of one frame's windows
  const int64_t times_;      // frames of windows that may meet a frame of the map
  Buffer<lane_t> values_;
  Buffer<tag_t> tags_;
  Buffer<lane_t> met_;
  Buffer<lane_t> zeros_;
};

// Channels-last maps. Lanes are channels.
template <class scalar_t, Meet kMeet>
class ChannelsLastScatter : ScatterBase<scalar_t, kMeet> {
  using Base = ScatterBase<scalar_t, kMeet>;
  using Base::columns_behind_;
  using Base::g_;
  using Base::kSum;
  using Base::planes_;
  using Base::rows_behind_;
  using Base::select_;
  using Base::sources_;
  using typename Base::lane_t;
  using typename Base::stored_t;
  using typename Base::tag_t;
  static constexpr bool kConverted = !std::is_same_v<lane_t, stored_t>;

 public:
  using Base::reset;

  ChannelsLastScatter(const PoolGeometry& geometry, const ScatterArgs& args, int64_t)
      : Base(geometry, args),
        times_((g_.t.kernel - 1) / g_.t.stride + 1),
        slots_(times_ * (rows_behind_ + 1)),
        tags_(slots_ * planes_.grid_row),
        values_(kConverted ? slots_ * planes_.grid_row : 0),
        line_(kConverted ? planes_.map_row : 0),
        prepared_(slots_, -1) {}

  void operator()(int64_t volume, int32_t frame, int64_t begin, int64_t end) {
    std::fill(prepared_.begin(), prepared_.end(), -1);
    for (int64_t r = begin; r < end; ++r) {
      stored_t* row = Base::map(volume * g_.t.size + frame, r).data;
      if constexpr (kConverted) {
        meet(volume, frame, static_cast<int32_t>(r), line_.data());
        convert<lane_t, stored_t>({line_.data(), planes_.map_row}, {row, planes_.map_row}, 1, planes_.map_row);
      } else {
        meet(volume, frame, static_cast<int32_t>(r), row);
      }
    }
  }

 private:
  struct WindowRow {
    const lane_t* values;
    const tag_t* tags;
    int32_t first_offset;
  };

  WindowRow prepare(int64_t volume, int32_t frame, int32_t t, int32_t r, int32_t i) {
    const int64_t plane = volume * g_.t.windows + t;
    const int64_t slot = t % times_ * (rows_behind_ + 1) + i % (rows_behind_ + 1);
    tag_t* tags = tags_.data() + slot * planes_.grid_row;
    const int64_t lanes = planes_.grid_row;
    const int32_t dt = frame - g_.t.start(t);
    const int64_t id = plane * g_.h.windows + i;
    const lane_t* values = nullptr;
    if constexpr (kConverted) {
      values = values_.data() + slot * lanes;
    } else {
      values = Base::values(plane, i).data;
    }
    if (prepared_[slot] != id) {
      prepared_[slot] = id;
      Base::tags(plane, i, dt, {tags, lanes}, 1, lanes);
      if constexpr (kConverted) {
        convert<stored_t, lane_t>(Base::values(plane, i), {values_.data() + slot * lanes, lanes}, 1, lanes);
      }
    }
    return {values, tags, Base::first_offset(dt) + (r - g_.h.start(i)) * g_.w.kernel};
  }

  void meet(int64_t volume, int32_t frame, int32_t r, lane_t* row) {
    const int64_t channels = planes_.lanes;
    window_rows_.clear();
    for (int32_t t = g_.t.first_covering(frame); t <= g_.t.last_covering(frame); ++t) {
      for (int32_t i = g_.h.first_covering(r); i <= g_.h.last_covering(r); ++i) {
        window_rows_.push_back(prepare(volume, frame, t, r, i));
      }
    }
    const auto windows_at = [&](int64_t column) {
      const auto c = static_cast<int32_t>(column);
      return Range{g_.w.first_covering(c), g_.w.last_covering(c) + 1};
    };
    for (int64_t c = 0; c < std::min(g_.w.size, g_.w.stride); ++c) {
      // Columns c, c + stride, … have windows alike, but for the borders.
      for (int64_t begin = c; begin < g_.w.size;) {
        const Range windows_here = windows_at(begin);
        int64_t count = 1;
        while (begin + count * g_.w.stride < g_.w.size &&
               windows_at(begin + count * g_.w.stride) == Range{windows_here.begin + count, windows_here.end + count}) {
          ++count;
        }
        sources_.clear();
        for (const WindowRow& windows : window_rows_) {
          for (int64_t j = windows_here.begin; j < windows_here.end; ++j) {
            const int64_t dc = begin + g_.w.padding - j * g_.w.stride;
            sources_.push_back({{windows.values + j * channels, channels},
                                {windows.tags + j * channels, channels},
                                windows.first_offset + static_cast<int32_t>(dc)});
          }
        }
        select_(sources_, false, {row + begin * channels, g_.w.stride * channels}, count, channels);
        begin += count * g_.w.stride;
      }
    }
  }

  const int64_t times_;
  const int64_t slots_;
  Buffer<tag_t> tags_;
  Buffer<lane_t> values_;
  Buffer<lane_t> line_;
  std::vector<int64_t> prepared_;  // which window row is in a slot
  std::vector<WindowRow> window_rows_;
};

}  // namespace tased
