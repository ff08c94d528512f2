// Pools one row of windows at a time, in vectors: over the windows of the row (contiguous maps) or over channels
// (channels_last). Rows of the map that windows share are prepared once and kept in a small ring that stays in cache:
// for Scan::kTemporalFirst a prepared row is the maximum over the window's frames, for Scan::kVolume one row of each
// frame.
#pragma once

#include <cstdint>
#include <vector>

#include "../kernels.h"
#include "lanes.h"

namespace tased {

// Where a map and its pooled grid lie in memory, as planes of rows: one plane a (batch, channel, frame), or, with
// channels last, a (batch, frame) whose columns are vectors of channels.
struct Planes {
  int64_t lanes;      // scalars a column: 1, or the channels
  int64_t map_row;    // scalars of a map row
  int64_t map_plane;  // scalars of a map plane
  int64_t grid_row;
  int64_t grid_plane;
  int64_t volumes;  // planes of equal frame: batch * channels, or batch

  explicit Planes(const PoolGeometry& g)
      : lanes(g.channels_last ? g.channels : 1),
        map_row(g.w.size * lanes),
        map_plane(map_row * g.h.size),
        grid_row(g.w.windows * lanes),
        grid_plane(grid_row * g.h.windows),
        volumes(g.channels_last ? g.batch : g.batch * g.channels) {}
};

template <class scalar_t, Scan kScan, bool kFrames>
class PoolRows {
  using L = Lanes<scalar_t>;
  using lane_t = typename L::lane_t;
  using index_t = typename L::index_t;

 public:
  // Rows that are asked for; null where not.
  struct Output {
    lane_t* values;
    uint8_t* offsets;
    uint8_t* frames;
  };

  PoolRows(const PoolGeometry& geometry, const void* map)
      : g_(geometry),
        planes_(geometry),
        phases_(geometry.w, geometry.w.windows + (geometry.w.kernel - 1) / geometry.w.stride + 1),
        map_(static_cast<const lane_t*>(map)),
        row_length_(geometry.channels_last ? planes_.map_row : phases_.numel()),
        slots_(geometry.h.kernel) {
    const int64_t lanes = geometry.channels_last ? geometry.channels : geometry.w.windows;
    best_.resize(lanes);
    offset_.resize(lanes);
    if (kFrames) frame_.resize(lanes);
    if (geometry.channels_last && kScan == Scan::kVolume) return;  // its windows read the map itself
    ring_.assign((kScan == Scan::kVolume ? geometry.t.kernel : 1) * slots_ * row_length_, L::kLowest);
    if (kFrames) ring_frames_.assign(slots_ * row_length_, 0);
    if (geometry.channels_last) return;
    line_.resize(planes_.map_row);
    if (kFrames) line_frames_.resize(planes_.map_row);
    first_column_.resize(lanes);
    for (int32_t j = 0; j < geometry.w.windows; ++j) {
      first_column_[j] = static_cast<index_t>(geometry.w.begin(j) - geometry.w.start(j));
    }
  }

  // Pools row i of the windows in `plane` of the grid (volume * t.windows + temporal window).
  TASED_INLINE void operator()(int64_t plane, int32_t i, const Output& output) {
    if (plane != plane_) {
      plane_ = plane;
      prepared_ = 0;
    }
    frame_begin_ = g_.t.begin(static_cast<int32_t>(plane % g_.t.windows));
    frame_end_ = g_.t.end(static_cast<int32_t>(plane % g_.t.windows));
    frame_start_ = g_.t.start(static_cast<int32_t>(plane % g_.t.windows));
    first_frame_ = map_ + (plane / g_.t.windows) * g_.t.size * planes_.map_plane;
    if (!ring_.empty()) {
      for (int32_t r = std::max(prepared_, g_.h.begin(i)); r < g_.h.end(i); ++r) prepare(r);
      prepared_ = std::max(prepared_, g_.h.end(i));
    }
    if (g_.channels_last) {
      pool_columns(i, output);
    } else {
      pool_row(i, output);
    }
  }

 private:
  struct Candidate {
    const lane_t* value;
    const index_t* frame;
    index_t offset;
  };

  TASED_INLINE const lane_t* map_row(int32_t frame, int32_t r) const {
    return first_frame_ + frame * planes_.map_plane + r * planes_.map_row;
  }
  TASED_INLINE int64_t slot(int32_t depth, int32_t r) const { return (depth * slots_ + r % slots_) * row_length_; }

  // Brings row r of the map into the ring.
  TASED_INLINE void prepare(int32_t r) {
    if constexpr (kScan == Scan::kVolume) {
      for (int32_t f = frame_begin_; f < frame_end_; ++f) {
        phases_.split(map_row(f, r), ring_.data() + slot(f - frame_begin_, r));
      }
    } else if (g_.channels_last) {
      temporal_max(r, ring_.data() + slot(0, r), kFrames ? ring_frames_.data() + slot(0, r) : nullptr);
    } else {
      temporal_max(r, line_.data(), line_frames_.data());
      phases_.split(line_.data(), ring_.data() + slot(0, r));
      if (kFrames) phases_.split(line_frames_.data(), ring_frames_.data() + slot(0, r));
    }
  }

  TASED_INLINE void temporal_max(int32_t r, lane_t* __restrict line, index_t* __restrict line_frames) const {
    std::copy_n(map_row(frame_begin_, r), planes_.map_row, line);
    if (kFrames) std::fill_n(line_frames, planes_.map_row, index_t{});
    for (int32_t f = frame_begin_ + 1; f < frame_end_; ++f) {
      const lane_t* __restrict source = map_row(f, r);
      const auto frame = static_cast<index_t>(f - frame_start_);
      for (int64_t k = 0; k < planes_.map_row; ++k) {
        const bool better = L::better(source[k], line[k]);
        line[k] = better ? source[k] : line[k];
        if (kFrames) line_frames[k] = better ? frame : line_frames[k];
      }
    }
  }

  // Contiguous: lanes are windows. The padding beside a row is -inf in the ring and never better; a window's first
  // column on the map is where its lane's offset begins.
  TASED_INLINE void pool_row(int32_t i, const Output& output) {
    candidates_.clear();
    for (int32_t depth = 0; depth < depth_now(); ++depth) {
      for (int32_t r = g_.h.begin(i); r < g_.h.end(i); ++r) {
        for (int32_t dc = 0; dc < g_.w.kernel; ++dc) {
          const int64_t place = slot(depth, r) + (dc % g_.w.stride) * phases_.length + dc / g_.w.stride;
          candidates_.push_back({ring_.data() + place, kFrames ? ring_frames_.data() + place : nullptr,
                                 static_cast<index_t>(row_offset(depth, r, i) + dc)});
        }
      }
    }
    const auto first_row = static_cast<index_t>(row_offset(0, g_.h.begin(i), i));
    std::fill(best_.begin(), best_.end(), L::kLowest);
    for (int32_t j = 0; j < g_.w.windows; ++j) offset_[j] = static_cast<index_t>(first_row + first_column_[j]);
    if (kFrames) std::fill(frame_.begin(), frame_.end(), index_t{});
    meet_candidates(0, g_.w.windows);
    store(output, 0, g_.w.windows);
  }

  // Channels last: lanes are channels, and a window's candidates are the columns on the map.
  TASED_INLINE void pool_columns(int32_t i, const Output& output) {
    const int64_t channels = planes_.lanes;
    for (int32_t j = 0; j < g_.w.windows; ++j) {
      candidates_.clear();
      for (int32_t depth = 0; depth < depth_now(); ++depth) {
        for (int32_t r = g_.h.begin(i); r < g_.h.end(i); ++r) {
          for (int32_t c = g_.w.begin(j); c < g_.w.end(j); ++c) {
            const int64_t place = kScan == Scan::kVolume ? 0 : slot(0, r) + c * channels;
            const lane_t* value =
                kScan == Scan::kVolume ? map_row(frame_begin_ + depth, r) + c * channels : ring_.data() + place;
            candidates_.push_back({value, kFrames ? ring_frames_.data() + place : nullptr,
                                   static_cast<index_t>(row_offset(depth, r, i) + c - g_.w.start(j))});
          }
        }
      }
      const Candidate& first = candidates_.front();
      std::copy_n(first.value, channels, best_.data());
      std::fill(offset_.begin(), offset_.end(), first.offset);
      if (kFrames) std::copy_n(first.frame, channels, frame_.data());
      meet_candidates(1, channels);
      store(output, j * channels, channels);
    }
  }

  // Brings the candidates from `first` on, in order, to the lanes; three at a time, since a pass over the lanes' best
  // costs as much as a candidate.
  TASED_INLINE void meet_candidates(size_t first, int64_t lanes) {
    for (; first + 3 <= candidates_.size(); first += 3) meet<3>(candidates_.data() + first, lanes);
    for (; first < candidates_.size(); ++first) meet<1>(candidates_.data() + first, lanes);
  }

  template <int kNumber>
  TASED_INLINE void meet(const Candidate* candidates, int64_t lanes) {
    lane_t* __restrict best = best_.data();
    index_t* __restrict offset = offset_.data();
    index_t* __restrict frame = frame_.data();
    Candidate local[kNumber];
    std::copy_n(candidates, kNumber, local);
    for (int64_t k = 0; k < lanes; ++k) {
      lane_t best_now = best[k];
      index_t offset_now = offset[k];
      index_t frame_now = kFrames ? frame[k] : index_t{};
      for (int n = 0; n < kNumber; ++n) {
        const lane_t value = local[n].value[k];
        const bool better = L::better(value, best_now);
        best_now = better ? value : best_now;
        offset_now = better ? local[n].offset : offset_now;
        if (kFrames) frame_now = better ? local[n].frame[k] : frame_now;
      }
      best[k] = best_now;
      offset[k] = offset_now;
      if (kFrames) frame[k] = frame_now;
    }
  }

  TASED_INLINE void store(const Output& output, int64_t place, int64_t lanes) const {
    if (output.values) std::copy_n(best_.data(), lanes, output.values + place);
    if (output.offsets) narrow(offset_.data(), output.offsets + place, lanes);
    if (kFrames) narrow(frame_.data(), output.frames + place, lanes);
  }

  static TASED_INLINE void narrow(const index_t* __restrict indices, uint8_t* __restrict bytes, int64_t lanes) {
    for (int64_t k = 0; k < lanes; ++k) bytes[k] = static_cast<uint8_t>(indices[k]);
  }

  TASED_INLINE int32_t depth_now() const { return kScan == Scan::kVolume ? frame_end_ - frame_begin_ : 1; }

  // The offset within window row i of its first column in row r of the frame at `depth`.
  TASED_INLINE int32_t row_offset(int32_t depth, int32_t r, int32_t i) const {
    const int32_t dt = kScan == Scan::kVolume ? frame_begin_ - frame_start_ + depth : 0;
    return (dt * g_.h.kernel + r - g_.h.start(i)) * g_.w.kernel;
  }

  const PoolGeometry g_;
  const Planes planes_;
  const Phases phases_;
  const lane_t* const map_;
  const int64_t row_length_;  // of a slot of the ring
  const int32_t slots_;
  std::vector<lane_t> ring_;          // [depth, slot, row]
  std::vector<index_t> ring_frames_;  // [slot, row]
  std::vector<lane_t> line_;          // one row before it is split into phases
  std::vector<index_t> line_frames_;
  std::vector<index_t> first_column_;  // of each window, where it begins on the map
  std::vector<Candidate> candidates_;
  std::vector<lane_t> best_;  // of each lane so far, with its offset and frame
  std::vector<index_t> offset_;
  std::vector<index_t> frame_;
  int64_t plane_ = -1;
  int32_t prepared_ = 0;  // rows before this one were prepared
  int32_t frame_begin_ = 0;
  int32_t frame_end_ = 0;
  int32_t frame_start_ = 0;
  const lane_t* first_frame_ = nullptr;
};

}  // namespace tased
