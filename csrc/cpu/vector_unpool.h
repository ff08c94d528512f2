// Contiguous maps and their windows on AVX-512, a vector of windows or of positions at a time: windows read the map by
// one permutation of two vectors for each row that they see, and rows of the map are written whole.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "vector.h"

namespace tased {

// All windows that cover a frame of a map. `frame`: which of theirs that is.
template <class bits_t>
struct PlaneOfWindows {
  Rows<const bits_t> values;
  Rows<const uint8_t> offsets;
  Rows<const uint8_t> frames;
  int32_t frame;
};

#if defined(__x86_64__)

// Reads a plane of a map for rows of windows: each window takes the position that its offset tells.
template <class bits_t>
class VectorRead {
  using V = Vector<sizeof(bits_t)>;
  using mask_t = typename V::mask_t;
  static constexpr int64_t kLanes = 64 / sizeof(bits_t);

 public:
  // Whether that is faster than one window after another: some 7 instructions a row of the block against 8 a window.
  static bool pays(const PoolGeometry& g) {
    return vector_level() == Level::kAvx512 && g.t.kernel == 1 && g.w.size <= kMostColumns &&
           7 * g.h.kernel <= 8 * windows_at_once(g.w);
  }

  explicit VectorRead(const PoolGeometry& g) : g_(g) {
    const Axis& w = g.w;
    for (int64_t k = 0; k < kLanes; ++k) starts_[k] = static_cast<bits_t>(k * w.stride);
    const Parts parts(w.windows, std::max<int64_t>(windows_at_once(w), 1));
    for (int64_t n = 0; n < parts.count(); ++n) {
      const Range windows = parts[n];
      const int64_t column = w.start(static_cast<int32_t>(windows.begin));
      const auto on_map = [&](int64_t first) {
        return lanes_where(kLanes, [&](int64_t k) { return 0 <= first + k && first + k < w.size; });
      };
      blocks_.push_back({windows.begin, column, static_cast<mask_t>(first_lanes(windows.size())),
                         static_cast<mask_t>(on_map(column)), static_cast<mask_t>(on_map(column + kLanes))});
    }
  }

  // The rows `i` of windows; the others begin with the first of these. A window that has lost (1), if any may, or
  // points nowhere reads zero. Meanwhile what lies `ahead` of the map is on its way into the cache.
  TASED_AVX512 void operator()(const Range& i, const bits_t* map, int64_t ahead, Rows<const uint8_t> offsets,
                               Rows<const uint8_t> lost, Rows<bits_t> values) const {
    const __m512i starts = _mm512_load_si512(starts_);
    const __m512i kernel = V::all(g_.w.kernel);
    const __m512i one = V::all(1);
    const Axis h = g_.h;
    const int64_t pitch = g_.w.size;
    const int64_t step = h.stride * pitch;
    const int64_t step_bytes = std::min(h.stride, h.size) * pitch * static_cast<int64_t>(sizeof(bits_t));
    const bits_t* next = map + i.begin * step + ahead;
    const Block* const blocks_end = blocks_.data() + blocks_.size();
    for (auto window = static_cast<int32_t>(i.begin); window < i.end; ++window) {
      const int32_t begin = h.begin(window);
      const int32_t end = h.end(window);
      const __m512i first_offset = V::all(int64_t{begin - h.start(window)} * g_.w.kernel);
      prefetch(next, step_bytes);
      for (const Block* block = blocks_.data(); block != blocks_end; ++block) {
        __m512i column = V::subtract(V::load_bytes(block->windows, offsets.data + block->first), first_offset);
        __m512i value = _mm512_setzero_si512();
        const bits_t* row = map + begin * pitch + block->column;
        for (int32_t r = begin; r < end; ++r) {
          const __m512i low = V::load(block->low, row);
          const __m512i high = V::load(block->high, row + kLanes);
          value = V::select(V::below(column, kernel), V::permute(low, V::add(starts, column), high), value);
          column = V::subtract(column, kernel);
          row += pitch;
        }
        if (lost.data) {
          const __m512i loses = V::load_bytes(block->windows, lost.data + block->first);
          value = _mm512_and_si512(value, V::subtract(loses, one));
        }
        V::store(values.data + block->first, block->windows, value);
      }
      next += step;
      offsets.data += offsets.pitch;
      values.data += values.pitch;
      if (lost.data) lost.data += lost.pitch;
    }
  }

 private:
  struct Block {
    int64_t first;   // window
    int64_t column;  // its first column
    mask_t windows;
    mask_t low;  // columns of the map in the first vector
    mask_t high;
  };

  // So many that their columns lie in two vectors.
  static int64_t windows_at_once(const Axis& w) {
    return 2 * kLanes < w.kernel ? 0 : std::min<int64_t>((2 * kLanes - w.kernel) / w.stride + 1, kLanes);
  }

  const PoolGeometry g_;
  alignas(64) bits_t starts_[kLanes];  // of windows
  std::vector<Block> blocks_;
};

// Half types add up as floats.
template <class scalar_t>
struct VectorMeetOfHalf {
  using Floats = VectorFloats<scalar_t>;
  static constexpr __mmask8 kAll = 0xff;
  struct values_t {
    __m512 low;
    __m512 high;
  };
  TASED_AVX512 static TASED_INLINE values_t zero() { return {_mm512_setzero_ps(), _mm512_setzero_ps()}; }
  TASED_AVX512 static TASED_INLINE values_t of(__m512i bits) {
    return {Floats::of(_mm512_maskz_extracti64x4_epi64(kAll, bits, 0)),
            Floats::of(_mm512_maskz_extracti64x4_epi64(kAll, bits, 1))};
  }
  TASED_AVX512 static TASED_INLINE __m512i bits(const values_t& x) {
    const bool nan = _mm512_cmp_ps_mask(x.low, x.high, _CMP_UNORD_Q) != 0;
    if (__builtin_expect(nan, false)) return joined(Floats::halves(x.low), Floats::halves(x.high));
    return joined(Floats::rounded(x.low), Floats::rounded(x.high));
  }
  TASED_AVX512 static TASED_INLINE values_t meet(__mmask32 mine, const values_t& x, const values_t& result) {
    return {_mm512_mask_add_ps(result.low, static_cast<__mmask16>(mine), result.low, x.low),
            _mm512_mask_add_ps(result.high, static_cast<__mmask16>(_kshiftri_mask32(mine, 16)), result.high, x.high)};
  }

 private:
  TASED_AVX512 static TASED_INLINE __m512i joined(__m256i low, __m256i high) {
    return _mm512_maskz_inserti64x4(kAll, _mm512_maskz_inserti64x4(kAll, _mm512_setzero_si512(), low, 0), high, 1);
  }
};
template <>
struct VectorMeet<Half, Meet::kSum> : VectorMeetOfHalf<Half> {};
template <>
struct VectorMeet<BFloat16, Meet::kSum> : VectorMeetOfHalf<BFloat16> {};

// Writes rows of a frame of a map from the windows that cover it, whose frames do not overlap: every position takes
// what those that point to it come to. Columns of one phase, which are a stride apart, have their windows side by side.
template <class scalar_t, Meet kMeet>
class VectorWrite {
  using bits_t = tag_of<scalar_t>;
  using V = Vector<sizeof(scalar_t)>;
  using M = VectorMeet<scalar_t, kMeet>;
  using mask_t = typename V::mask_t;
  static constexpr int64_t kLanes = 64 / sizeof(bits_t);
  static constexpr int kMostStride = 2;
  static constexpr int kMostShifts = 3;

 public:
  // Whether that is faster than one window after another: where few windows cover a position.
  static bool pays(const PoolGeometry& g) {
    return vector_level() == Level::kAvx512 && g.w.size <= kMostColumns && g.w.stride <= kMostStride &&
           shifts(g.w) <= kMostShifts && g.h.kernel <= int64_t{3} * g.h.stride && !g.t.overlapping();
  }

  explicit VectorWrite(const PoolGeometry& g) : g_(g), shifts_(shifts(g.w)) {
    const Axis& w = g.w;
    for (int64_t k = 0; k < kLanes; ++k) {
      by_turns_[0][k] = static_cast<bits_t>(k / 2 + k % 2 * kLanes);
      by_turns_[1][k] = static_cast<bits_t>(by_turns_[0][k] + kLanes / 2);
    }
    for (int64_t row = 0; row < g.t.kernel * g.h.kernel; ++row) {
      RowOffsets offsets{};
      for (int64_t shift = 0; shift < kMostShifts; ++shift) {
        for (int64_t phase = 0; phase < kMostStride; ++phase) {
          const int64_t column = phase + w.padding - w.stride * (first_shift(w) + shift);
          covers_[shift][phase] = 0 <= column && column < w.kernel;
          offsets.at[shift][phase] = static_cast<uint8_t>(row * w.kernel + column);
        }
      }
      offsets_.push_back(offsets);
    }
    for (int64_t column = 0; column < w.size; column += kLanes * w.stride) {
      Block block{column, column / w.stride + first_shift(w), {}, {}};
      for (int64_t n = 0; n < kMostStride; ++n) {
        const int64_t first = column + n * kLanes;
        block.columns[n] = static_cast<mask_t>(lanes_where(kLanes, [&](int64_t k) { return first + k < w.size; }));
      }
      for (int64_t shift = 0; shift < kMostShifts; ++shift) {
        const int64_t first = block.window + shift;
        block.windows[shift] = static_cast<mask_t>(
            lanes_where(kLanes, [&](int64_t k) { return 0 <= first + k && first + k < w.windows; }));
      }
      blocks_.push_back(block);
    }
  }

  void operator()(const PlaneOfWindows<bits_t>& windows, Rows<bits_t> map, const Range& rows) const {
    using Write = void (VectorWrite::*)(const PlaneOfWindows<bits_t>&, Rows<bits_t>, const Range&) const;
    static constexpr Write kWrites[kMostStride][kMostShifts] = {
        {&VectorWrite::write<1, 1>, &VectorWrite::write<1, 2>, &VectorWrite::write<1, 3>},
        {&VectorWrite::write<2, 1>, &VectorWrite::write<2, 2>, &VectorWrite::write<2, 3>}};
    (this->*kWrites[g_.w.stride - 1][shifts_ - 1])(windows, map, rows);
  }

 private:
  struct Block {
    int64_t column;
    int64_t window;               // the first that may cover it
    mask_t columns[kMostStride];  // that are there
    mask_t windows[kMostShifts];
  };
  struct RowOffsets {  // by which a window points to the columns of one of its rows
    uint8_t at[kMostShifts][kMostStride];
  };
  struct Source {  // from a row of windows on
    const bits_t* values;
    const uint8_t* offsets;
    const uint8_t* frames;
    int32_t frame;
  };

  // Column stride * q + phase lies in the windows q + shift.
  static int64_t first_shift(const Axis& w) {
    const int64_t reach = w.padding - w.kernel;
    return reach >= 0 ? reach / w.stride + 1 : -((-reach - 1) / w.stride);
  }
  static int64_t shifts(const Axis& w) { return (w.padding + w.stride - 1) / w.stride - first_shift(w) + 1; }

  template <int kStride, int kShifts>
  TASED_AVX512 void write(const PlaneOfWindows<bits_t>& windows, Rows<bits_t> map, const Range& rows) const {
    // Offsets count the frames as well, or those are told apart from them.
    const RowOffsets* frame = offsets_.data() + (windows.frames.data ? 0 : windows.frame * g_.h.kernel);
    for (auto r = static_cast<int32_t>(rows.begin); r < rows.end; ++r) {
      const int32_t first = g_.h.first_covering(r);
      const int32_t last = g_.h.last_covering(r);
      const RowOffsets* wanted = frame + (r - g_.h.start(first));
      const Source source{windows.values[first], windows.offsets[first], windows.frames[first], windows.frame};
      bits_t* row = map[r];
      if (first == last) {
        write_row<kStride, kShifts, 1>(source, 1, wanted, row);
      } else if (first + 1 == last) {
        write_row<kStride, kShifts, 2>(source, 2, wanted, row);
      } else {
        write_row<kStride, kShifts, 0>(source, last + 1 - first, wanted, row);
      }
    }
  }

  // A row that lies in so many rows of windows. `wanted`: of the first one; of the next ones they are a stride back.
  template <int kStride, int kShifts, int kCount>
  TASED_AVX512 TASED_INLINE void write_row(const Source& source, int64_t count, const RowOffsets* wanted,
                                           bits_t* row) const {
    if (kCount > 0) count = kCount;
    const int64_t pitch = g_.w.windows;
    const int64_t stride = g_.h.stride;
    const __m512i low = _mm512_load_si512(by_turns_[0]);
    const __m512i high = _mm512_load_si512(by_turns_[1]);
    const auto frame = static_cast<uint8_t>(source.frame);
    const Block* const end = blocks_.data() + blocks_.size();
    for (const Block* block = blocks_.data(); block != end; ++block) {
      typename M::values_t result[kStride];
      for (int phase = 0; phase < kStride; ++phase) result[phase] = M::zero();
#pragma GCC unroll 2
      for (int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 3
        for (int shift = 0; shift < kShifts; ++shift) {
          const int64_t window = i * pitch + block->window + shift;
          mask_t there = block->windows[shift];
          const typename M::values_t value = M::of(V::load(there, source.values + window));
          if constexpr (kMeet == Meet::kSum) {
            if (source.frames) there = V::equal_bytes(there, source.frames + window, frame);
          }
#pragma GCC unroll 2
          for (int phase = 0; phase < kStride; ++phase) {
            if (!covers_[shift][phase]) continue;
            const uint8_t offset = wanted[-i * stride].at[shift][phase];
            const mask_t mine = V::equal_bytes(there, source.offsets + window, offset);
            result[phase] = M::meet(mine, value, result[phase]);
          }
        }
      }
      bits_t* to = row + block->column;
      if constexpr (kStride == 1) {
        V::store(to, block->columns[0], M::bits(result[0]));
      } else {
        const __m512i even = M::bits(result[0]);
        const __m512i odd = M::bits(result[1]);
        V::store(to, block->columns[0], V::permute(even, low, odd));
        V::store(to + kLanes, block->columns[1], V::permute(even, high, odd));
      }
    }
  }

  const PoolGeometry g_;
  const int64_t shifts_;
  alignas(64) bits_t by_turns_[kMostStride][kLanes];  // columns of two phases
  bool covers_[kMostShifts][kMostStride];             // whether windows see columns so far from their first
  std::vector<RowOffsets> offsets_;                   // by row of the window
  std::vector<Block> blocks_;
};

#else

// Elsewhere one window after another is faster.
template <class bits_t>
struct VectorRead {
  static bool pays(const PoolGeometry&) { return false; }
  explicit VectorRead(const PoolGeometry&) {}
  void operator()(const Range&, const bits_t*, int64_t, Rows<const uint8_t>, Rows<const uint8_t>, Rows<bits_t>) const {}
};

template <class scalar_t, Meet kMeet>
struct VectorWrite {
  using bits_t = tag_of<scalar_t>;
  static bool pays(const PoolGeometry&) { return false; }
  explicit VectorWrite(const PoolGeometry&) {}
  void operator()(const PlaneOfWindows<bits_t>&, Rows<bits_t>, const Range&) const {}
};

#endif

}  // namespace tased
