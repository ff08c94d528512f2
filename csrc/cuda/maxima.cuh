// The first half of Auxiliary pooling: temporal maxima of a tile in shared memory, and the windows' best positions
// among them. Each thread takes a pack of neighbouring elements through the frames with four loads in flight, so that
// every element comes from global memory once; then each takes a window.
#pragma once

#include "tile.cuh"

namespace tased {

// Replaces what `candidate` betters in `best`, and its frame in `frames`, element by element; all of it if it is the
// first. Selections, no branches, since loads that follow a branch wait for it.
template <class scalar_t, int kSize>
struct Merge {
  using frame_t = uint32_t;

  TASED_DEVICE static void merge(const Pack<scalar_t, kSize>& candidate, uint32_t frame, Pack<scalar_t, kSize>& best,
                                 Pack<frame_t, kSize>& frames) {
#pragma unroll
    for (int v = 0; v < kSize; ++v) {
      const bool better = (frame == 0) | is_better(candidate.at[v], best.at[v]);
      best.at[v] = better ? candidate.at[v] : best.at[v];
      frames.at[v] = better ? frame : frames.at[v];
    }
  }
};

// The half types two at a time, with is_better (greater, or NaN) as a mask over the pair.
template <class scalar_t, class pair_t, int kSize>
struct MergePairs {
  using frame_t = uint16_t;

  TASED_DEVICE static void merge(const Pack<scalar_t, kSize>& candidate, uint32_t frame, Pack<scalar_t, kSize>& best,
                                 Pack<frame_t, kSize>& frames) {
    using Words = Pack<uint32_t, kSize / 2>;
    const auto from = bits_as<Words>(candidate);
    auto to = bits_as<Words>(best);
    auto to_frames = bits_as<Words>(frames);
    const uint32_t first = frame == 0 ? ~0u : 0u;
#pragma unroll
    for (int v = 0; v < kSize / 2; ++v) {
      const auto pair = bits_as<pair_t>(from.at[v]);
      const uint32_t mask = first | __hgt2_mask(pair, bits_as<pair_t>(to.at[v])) | __hneu2_mask(pair, pair);
      to.at[v] = (from.at[v] & mask) | (to.at[v] & ~mask);
      to_frames.at[v] = (frame * 0x10001 & mask) | (to_frames.at[v] & ~mask);
    }
    best = bits_as<Pack<scalar_t, kSize>>(to);
    frames = bits_as<Pack<frame_t, kSize>>(to_frames);
  }
};

template <int kSize>
struct Merge<Half, kSize> : MergePairs<Half, __half2, kSize> {};
template <int kSize>
struct Merge<BFloat16, kSize> : MergePairs<BFloat16, __nv_bfloat162, kSize> {};

template <class scalar_t, class Variant, bool kFrames>
class Maxima {
 public:
  using index_t = typename Variant::index_t;
  static constexpr int kSize = kPackSize<scalar_t>;
  using Packed = Pack<scalar_t, kSize>;

  TASED_DEVICE Maxima(const Ring& ring, int32_t first_column, unsigned char* memory)
      : values_(reinterpret_cast<scalar_t*>(memory)),
        frames_(memory + bytes_of_values(ring)),
        first_column_(first_column),
        ring_(ring) {}

  TASED_HOST_DEVICE static int32_t bytes_of_values(const Ring& ring) {
    return ring.elements() * static_cast<int32_t>(sizeof(scalar_t));
  }

  // Takes `rows` of the map in: of `count` frames from that of `first` on, which is at the tile's first lane.
  TASED_DEVICE void load_rows(const Packing& packing, Range rows, Range columns, const Tile& tile,
                              const View<const scalar_t, index_t>& first, int32_t count) {
    for_items(packing, rows, columns, tile.lanes, [&](const Place& place) {
      const scalar_t* from = first.at(place);
      const int32_t index = ring_.at(place, first_column_);
      if (first.aligned) {
        keep<4>(index, count, [&](int32_t frame) {
          return load(reinterpret_cast<const Packed*>(from + frame * first.strides.frame));
        });
      } else {
        keep<1>(index, count, [&](int32_t frame) {
          Packed pack{};
#pragma unroll
          for (int v = 0; v < kSize; ++v) {
            if (v < place.valid) pack.at[v] = load(from + frame * first.strides.frame + v);
          }
          return pack;
        });
      }
    });
  }

  // The offset of the best position of a window, whose rows are all in.
  TASED_DEVICE int32_t best_offset(const Axis& h, const Axis& w, const Place& window) const {
    const int32_t top = h.start(window.row);
    const int32_t left = w.start(window.column);
    const Range ys{h.begin(window.row) - top, h.end(window.row) - top};
    const Range xs{w.begin(window.column) - left, w.end(window.column) - left};
    int32_t offset = ys.begin * w.kernel + xs.begin;
    int32_t row = ring_.rows.remainder(top + ys.begin);
    auto best = comparable(values_[ring_.at({top + ys.begin, left + xs.begin, window.lane}, first_column_)]);
    // Loops of known length unroll, whole windows and clipped ones alike.
#pragma unroll(Variant::kUnroll)
    for (int32_t y = Variant::kFixed ? 0 : ys.begin; y < (Variant::kFixed ? h.kernel : ys.end); ++y) {
      if (Variant::kFixed && !ys.has(y)) continue;
      const scalar_t* line = values_ + (row * ring_.columns + left - first_column_) * ring_.lanes + window.lane;
#pragma unroll(Variant::kUnroll)
      for (int32_t x = Variant::kFixed ? 0 : xs.begin; x < (Variant::kFixed ? w.kernel : xs.end); ++x) {
        if (Variant::kFixed && !xs.has(x)) continue;
        const auto candidate = comparable(line[x * ring_.lanes]);
        if (!is_better(candidate, best)) continue;
        best = candidate;
        offset = y * w.kernel + x;
      }
      row = row + 1 < ring_.rows.divisor ? row + 1 : 0;
    }
    return offset;
  }

  TASED_DEVICE scalar_t value(const Place& place) const { return values_[ring_.at(place, first_column_)]; }
  TASED_DEVICE uint8_t frame(const Place& place) const { return frames_[ring_.at(place, first_column_)]; }

 private:
  using Frames = Pack<typename Merge<scalar_t, kSize>::frame_t, kSize>;

  // The best of a pack's `count` frames, with kInFlight loads under way at a time; `read` gives a frame's pack.
  template <int kInFlight, class Read>
  TASED_DEVICE void keep(int32_t index, int32_t count, const Read& read) {
    Packed best{};
    Frames frames{};
    take<kInFlight>(0, count, read, best, frames);
    store_shared(values_ + index, best);
    if constexpr (kFrames) {
      Pack<uint8_t, kSize> bytes;
#pragma unroll
      for (int v = 0; v < kSize; ++v) bytes.at[v] = static_cast<uint8_t>(frames.at[v]);
      store_shared(frames_ + index, bytes);
    }
  }

  // Merges the frames from `begin` on, so many at a time; what is left over by ever fewer.
  template <int kInFlight, class Read>
  TASED_DEVICE static void take(int32_t begin, int32_t count, const Read& read, Packed& best, Frames& frames) {
#pragma unroll 1
    for (; begin + kInFlight <= count; begin += kInFlight) {
      Packed batch[kInFlight];
#pragma unroll
      for (int f = 0; f < kInFlight; ++f) batch[f] = read(begin + f);
#pragma unroll
      for (int f = 0; f < kInFlight; ++f) Merge<scalar_t, kSize>::merge(batch[f], begin + f, best, frames);
    }
    if constexpr (kInFlight > 1) take<kInFlight / 2>(begin, count, read, best, frames);
  }

  scalar_t* values_;  // [rows, columns, lanes]
  uint8_t* frames_;   // [rows, columns, lanes]
  int32_t first_column_;
  Ring ring_;
};

}  // namespace tased
