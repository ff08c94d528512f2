// Pooling of contiguous maps on AVX-512, some rows of windows at a time: the maximum over frames, whose columns come
// apart by phase on the way, then across the columns of every row of the map, then down the rows of the windows. Each
// stage finds in L1 what the one before it made. Few maps have a NaN; without any, comparing is simple.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "best.h"
#include "vector.h"

namespace tased {

#if defined(__x86_64__)

// How lanes of vectors are compared where none is NaN: as floats, or half types by integers that order like them. The
// greater of two equal ones is the second. Unordered tells whether a lane was seen for which this order does not hold.
template <class scalar_t, bool kValues>
struct VectorOrder;

#define TASED_VECTOR_FUNCTION(result, declaration) TASED_AVX512 static TASED_INLINE result declaration
#define TASED_VECTOR_ORDER(scalar, type, lanes)                                                                       \
  template <bool kValues>                                                                                             \
  struct VectorOrder<scalar, kValues> {                                                                               \
    using mask_t = __mmask##lanes;                                                                                    \
    using bits_t = Scalar<scalar>::bits_t;                                                                            \
    static constexpr bits_t kLowest = Scalar<scalar>::kInfinity | std::numeric_limits<bits_t>::min();                 \
    TASED_VECTOR_FUNCTION(__m512i, key(__m512i x)) { return x; }                                                      \
    TASED_VECTOR_FUNCTION(mask_t, above(mask_t mask, __m512i a, __m512i b)) {                                         \
      return _mm512_mask_cmp_##type##_mask(mask, _mm512_castsi512_##type(a), _mm512_castsi512_##type(b), _CMP_GT_OQ); \
    }                                                                                                                 \
    TASED_VECTOR_FUNCTION(__m512i, greater(mask_t mask, __m512i a, __m512i b)) {                                      \
      return _mm512_cast##type##_si512(_mm512_mask_max_##type(                                                        \
          _mm512_castsi512_##type(b), mask, _mm512_castsi512_##type(a), _mm512_castsi512_##type(b)));                 \
    }                                                                                                                 \
    struct Unordered {                                                                                                \
      mask_t nan = 0;                                                                                                 \
      TASED_AVX512 TASED_INLINE void see(__m512i a, __m512i b) {                                                      \
        nan = static_cast<mask_t>(                                                                                    \
            nan | _mm512_cmp_##type##_mask(_mm512_castsi512_##type(a), _mm512_castsi512_##type(b), _CMP_UNORD_Q));    \
      }                                                                                                               \
      TASED_AVX512 TASED_INLINE bool any() const { return nan != 0; }                                                 \
    };                                                                                                                \
  }
TASED_VECTOR_ORDER(float, ps, 16);
TASED_VECTOR_ORDER(double, pd, 8);
#undef TASED_VECTOR_ORDER

// Order keys make no difference between zeros; where values are asked for, negative zeros have no order.
template <class scalar_t, bool kValues>
struct VectorOrderOfHalf {
  using mask_t = __mmask32;
  using Reversible = typename Lane<scalar_t>::Reversible;
  static constexpr int16_t kInfinity = kValues ? Reversible::kInfinity : Scalar<scalar_t>::kInfinity;
  static constexpr int16_t kLowest = Lane<scalar_t>::template kLowest<kValues>;

  TASED_VECTOR_FUNCTION(__m512i, key(__m512i x)) {
    if constexpr (!kValues) {
      return _mm512_mask_sub_epi16(x, _mm512_movepi16_mask(x), _mm512_set1_epi16(INT16_MIN), x);
    } else {
      const __m512i turned = _mm512_and_si512(_mm512_srai_epi16(x, 15), _mm512_set1_epi16(INT16_MAX));
      return _mm512_sub_epi16(_mm512_xor_si512(x, turned), _mm512_set1_epi16(Reversible::kNaNs));
    }
  }
  TASED_VECTOR_FUNCTION(mask_t, above(mask_t mask, __m512i a, __m512i b)) {
    return _mm512_mask_cmpgt_epi16_mask(mask, a, b);
  }
  TASED_VECTOR_FUNCTION(__m512i, greater(mask_t mask, __m512i a, __m512i b)) {
    return _mm512_mask_max_epi16(b, mask, a, b);
  }
  struct Unordered {
    __m512i least = __m512i{};
    __m512i greatest = __m512i{};
    mask_t zero = 0;
    TASED_AVX512 TASED_INLINE void see(__m512i a, __m512i b) {
      greatest = _mm512_max_epi16(greatest, _mm512_max_epi16(a, b));
      if constexpr (!kValues) {
        least = _mm512_min_epi16(least, _mm512_min_epi16(a, b));
      } else {
        const __m512i negative_zero = _mm512_set1_epi16(Reversible::kNegativeZero);
        zero |= _mm512_cmpeq_epi16_mask(a, negative_zero) | _mm512_cmpeq_epi16_mask(b, negative_zero);
      }
    }
    TASED_AVX512 TASED_INLINE bool any() const {
      return (zero | _mm512_cmplt_epi16_mask(least, _mm512_set1_epi16(kLowest)) |
              _mm512_cmpgt_epi16_mask(greatest, _mm512_set1_epi16(kInfinity))) != 0;
    }
  };
};
#undef TASED_VECTOR_FUNCTION
template <bool kValues>
struct VectorOrder<Half, kValues> : VectorOrderOfHalf<Half, kValues> {};
template <bool kValues>
struct VectorOrder<BFloat16, kValues> : VectorOrderOfHalf<BFloat16, kValues> {};

// Keys are what Lane says only where values are asked for; else nobody reads them.
template <class scalar_t, bool kValues, bool kTags>
class VectorPool {
  using L = Lane<scalar_t>;
  using O = VectorOrder<scalar_t, kValues>;
  using V = Vector<sizeof(scalar_t)>;
  using bits_t = typename L::tag_t;
  using key_t = typename L::template key_t<kValues>;
  using mask_t = typename V::mask_t;
  static constexpr int64_t kLanes = 64 / sizeof(scalar_t);
  static constexpr auto kAll = static_cast<mask_t>(-1);
  static constexpr int kMostStride = 2;

 public:
  // Whether that is faster than lanes of a whole plane: where vectors are full enough.
  static bool pays(const PoolGeometry& g) {
    return vector_level() == Level::kAvx512 && g.w.size <= kMostColumns && g.w.stride <= kMostStride &&
           2 * g.w.windows >= blocks(g.w.windows) * kLanes;
  }

  explicit VectorPool(const PoolGeometry& g)
      : g_(g),
        window_blocks_(blocks(g.w.windows)),
        margin_(blocks(g.w.kernel) * kLanes),
        phase_pitch_(std::max(blocks((g.w.size + g.w.stride - 1) / g.w.stride), window_blocks_) * kLanes + 2 * margin_),
        across_pitch_(window_blocks_ * kLanes) {
    constexpr int64_t kGroupBytes = int64_t{6} << 10;
    const int64_t row_bytes = (g.w.stride * phase_pitch_ + 2 * across_pitch_) * static_cast<int64_t>(sizeof(scalar_t));
    group_ = std::clamp<int64_t>(kGroupBytes / (row_bytes * g.h.stride), 1, g.h.windows);
    const int64_t rows = (group_ - 1) * g.h.stride + g.h.kernel;
    while (ring_ < rows) ring_ *= 2;
    phases_.reset(rows * g.w.stride * phase_pitch_);
    std::fill_n(phases_.data(), rows * g.w.stride * phase_pitch_, O::kLowest);
    keys_.reset(ring_ * across_pitch_);
    if (kTags) tags_.reset(ring_ * across_pitch_);
    for (int64_t k = 0; k < kLanes; ++k) {
      of_phase_[0][k] = static_cast<bits_t>(2 * k);
      of_phase_[1][k] = static_cast<bits_t>(2 * k + 1);
    }
    const int64_t rest = g.w.size % (g.w.stride * kLanes);
    for (int64_t n = 0; n < kMostStride; ++n) {
      rest_[n] = static_cast<mask_t>(lanes_where(kLanes, [&](int64_t k) { return n * kLanes + k < rest; }));
    }
    for (int64_t dc = 0; dc < g.w.kernel; ++dc) {
      const int64_t phase = (dc + g.w.padding * (g.w.stride - 1)) % g.w.stride;
      const int64_t shift = (dc - g.w.padding - phase) / g.w.stride;
      places_.push_back(phase * phase_pitch_ + margin_ + shift);
    }
    for (int64_t k = 0; k < across_pitch_; ++k) {
      first_.push_back(static_cast<bits_t>(std::max<int64_t>(g.w.padding - k * g.w.stride, 0)));
    }
    for (int64_t block = 0; block < window_blocks_; ++block) {
      const auto is_window = [&](int64_t k) { return block * kLanes + k < g.w.windows; };
      windows_.push_back(static_cast<mask_t>(lanes_where(kLanes, is_window)));
    }
    rows_.resize(g.h.kernel);
  }

  // The rows `i` of windows of some frames. Tags go to the target, or their bytes to the grid if `bytes` is not null.
  // False if a lane was seen that has no order; what is written is not the best then. Meanwhile what lies `ahead` of
  // the map is on its way into the cache.
  bool operator()(const Range& i, const typename L::value_t* map, int64_t frames, int64_t ahead,
                  const Lanes<key_t, bits_t>& target, uint8_t* bytes) {
    using Fold = bool (VectorPool::*)(const bits_t*, int64_t, const Range&) const;
    static constexpr Fold kFolds[kMostStride][5] = {
        {&VectorPool::fold<0, 1>, &VectorPool::fold<1, 1>, &VectorPool::fold<2, 1>, &VectorPool::fold<0, 1>,
         &VectorPool::fold<4, 1>},
        {&VectorPool::fold<0, 2>, &VectorPool::fold<1, 2>, &VectorPool::fold<2, 2>, &VectorPool::fold<0, 2>,
         &VectorPool::fold<4, 2>}};
    const Fold fold_rows = kFolds[g_.w.stride - 1][frames <= 4 ? frames : 0];
    const auto* bits = reinterpret_cast<const bits_t*>(map);
    int64_t prepared = 0;  // rows of the map before this one
    for (Range some{i.begin, i.begin}; some.begin < i.end; some.begin = some.end) {
      some.end = std::min(some.begin + group_, i.end);
      const Range rows{std::max<int64_t>(prepared, g_.h.begin(static_cast<int32_t>(some.begin))),
                       g_.h.end(static_cast<int32_t>(some.end - 1))};
      if ((this->*fold_rows)(bits, frames, rows)) return false;
      if (g_.w.kernel == 3) {
        across<3>(bits + ahead, frames, rows);
      } else if (g_.w.kernel == 2) {
        across<2>(bits + ahead, frames, rows);
      } else {
        across<0>(bits + ahead, frames, rows);
      }
      const int64_t done = some.begin - i.begin;
      down(some, target.from(done), bytes ? bytes + done * g_.w.windows : nullptr);
      prepared = std::max(prepared, rows.end);
    }
    return true;
  }

 private:
  struct Best {
    __m512i key;
    __m512i tag;
  };
  struct Row {
    const bits_t* key;
    const bits_t* tag;
    bits_t number;
  };
  struct Target {
    key_t* key;
    bits_t* tag;
    uint8_t* bytes;
  };

  static int64_t blocks(int64_t lanes) { return (lanes + kLanes - 1) / kLanes; }

  TASED_AVX512 static TASED_INLINE void meet(const Best& one, Best& best) {
    if constexpr (kTags) best.tag = V::select(O::above(kAll, one.key, best.key), one.tag, best.tag);
    best.key = O::greater(kAll, one.key, best.key);
  }

  template <bool kWhole>
  TASED_AVX512 static TASED_INLINE __m512i load(const bits_t* from, mask_t columns) {
    return kWhole ? load_vector(from) : V::load(columns, from);
  }

  // Of a vector of every frame, two frames at a time.
  template <int kFrames, bool kWhole>
  TASED_AVX512 static TASED_INLINE __m512i maximum(const bits_t* map, int64_t pitch, int64_t frames, mask_t columns,
                                                   typename O::Unordered& unordered) {
    if (kFrames > 0) frames = kFrames;
    __m512i best = _mm512_setzero_si512();
#pragma GCC unroll 2
    for (int64_t f = 0; f < frames; f += 2) {
      __m512i one = O::key(load<kWhole>(map + f * pitch, columns));
      if (f + 1 < frames) {
        const __m512i other = O::key(load<kWhole>(map + (f + 1) * pitch, columns));
        unordered.see(one, other);
        one = O::greater(kAll, other, one);
      } else {
        unordered.see(one, one);
      }
      best = f == 0 ? one : O::greater(kAll, one, best);
    }
    return best;
  }

  // The frames' maximum in rows of the map, column by column of each phase. Whether a lane has no order.
  template <int kFrames, int kStride>
  TASED_AVX512 bool fold(const bits_t* map, int64_t frames, const Range& rows) const {
    if (kFrames > 0) frames = kFrames;
    const int64_t width = g_.w.size;
    const int64_t pitch = width * g_.h.size;
    const int64_t phase_pitch = phase_pitch_;
    const int64_t whole_blocks = width / (kStride * kLanes);
    const mask_t rest[kMostStride] = {rest_[0], rest_[1]};
    const __m512i even = _mm512_load_si512(of_phase_[0]);
    const __m512i odd = _mm512_load_si512(of_phase_[1]);
    const __m512i lowest = V::all(O::kLowest);
    constexpr std::true_type kWhole{};
    constexpr std::false_type kPart{};
    typename O::Unordered unordered;
    const auto fold_vector = [&](auto whole, const bits_t* at, mask_t columns) TASED_AVX512 {
      return maximum<kFrames, whole()>(at, pitch, frames, columns, unordered);
    };
    const auto store = [&](bits_t* to, __m512i first, __m512i second) TASED_AVX512 {
      if constexpr (kStride == 1) {
        _mm512_store_si512(to, first);
      } else {
        _mm512_store_si512(to, V::permute(first, even, second));
        _mm512_store_si512(to + phase_pitch, V::permute(first, odd, second));
      }
    };
    const bits_t* row = map + rows.begin * width;
    bits_t* target = phases_.data() + margin_;
    for (int64_t r = rows.size(); r > 0; --r) {
      const bits_t* at = row;
      bits_t* to = target;
      for (int64_t block = whole_blocks; block > 0; --block) {
        const __m512i first = fold_vector(kWhole, at, kAll);
        store(to, first, kStride == 1 ? first : fold_vector(kWhole, at + kLanes, kAll));
        at += kStride * kLanes;
        to += kLanes;
      }
      if (rest[0]) {
        const __m512i first = V::select(rest[0], fold_vector(kPart, at, rest[0]), lowest);
        __m512i second = lowest;
        if (rest[1]) second = V::select(rest[1], fold_vector(kPart, at + kLanes, rest[1]), lowest);
        store(to, first, second);
      }
      row += width;
      target += kStride * phase_pitch;
    }
    return unordered.any();
  }

  // The best column of every window in rows of the map. Meanwhile the same rows of the next frames are on their way
  // into the cache: the loads of the fold would have to wait for more of them at once.
  template <int kKernel>
  TASED_AVX512 void across(const bits_t* next, int64_t frames, const Range& rows) const {
    const int64_t kernel = kKernel > 0 ? kKernel : g_.w.kernel;
    int64_t some[kKernel > 0 ? kKernel : 1];
    if (kKernel > 0) std::copy_n(places_.data(), kKernel, some);
    const int64_t* places = kKernel > 0 ? some : places_.data();
    const int64_t lanes = across_pitch_;
    const int64_t width = g_.w.size;
    const int64_t plane = width * g_.h.size;
    const int64_t row_pitch = g_.w.stride * phase_pitch_;
    const bits_t* first = first_.data();
    const bits_t* phases = phases_.data();
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      bits_t* key = keys_.data() + in_ring(r);
      bits_t* tag = tags_.data() + in_ring(r);
      for (int64_t f = 0; f < frames; ++f) prefetch(next + f * plane + r * width, width * int64_t{sizeof(bits_t)});
      for (int64_t k = 0; k < lanes; k += kLanes) {
        Best best{load_vector(phases + places[0] + k), {}};
        if constexpr (kTags) best.tag = _mm512_loadu_si512(first + k);
#pragma GCC unroll 4
        for (int64_t dc = 1; dc < kernel; ++dc) {
          meet({load_vector(phases + places[dc] + k), V::all(dc)}, best);
        }
        _mm512_store_si512(key + k, best.key);
        if constexpr (kTags) _mm512_store_si512(tag + k, best.tag);
      }
      phases += row_pitch;
    }
  }

  int64_t in_ring(int64_t row) const { return (row & (ring_ - 1)) * across_pitch_; }

  // The best row of every window of the rows `i`.
  TASED_AVX512 void down(const Range& i, const Lanes<key_t, bits_t>& target, uint8_t* bytes) {
    for (int64_t k = i.begin; k < i.end; ++k) {
      const auto window = static_cast<int32_t>(k);
      const Target row{target.key[k - i.begin], target.tag[k - i.begin],
                       bytes ? bytes + (k - i.begin) * g_.w.windows : nullptr};
      const int32_t begin = g_.h.begin(window);
      const int32_t number = (begin - g_.h.start(window)) * g_.w.kernel;
      switch (const int32_t count = g_.h.end(window) - begin) {
        case 2: meet_rows<2>(begin, 2, number, row); break;
        case 3: meet_rows<3>(begin, 3, number, row); break;
        default: meet_rows<0>(begin, count, number, row);
      }
    }
  }

  // `number`: the offset of the first row.
  template <int kCount>
  TASED_AVX512 TASED_INLINE void meet_rows(int64_t begin, int64_t count, int64_t number, const Target& target) {
    Row some[kCount > 0 ? kCount : 1];
    Row* const rows = kCount > 0 ? some : rows_.data();
    if (kCount > 0) count = kCount;
#pragma GCC unroll 3
    for (int64_t k = 0; k < count; ++k) {
      const int64_t place = in_ring(begin + k);
      rows[k] = {keys_.data() + place, tags_.data() + place, static_cast<bits_t>(number + k * g_.w.kernel)};
    }
    const int64_t blocks = window_blocks_;
    const mask_t* windows = windows_.data();
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t lane = block * kLanes;
      Best best = load(rows[0], lane);
#pragma GCC unroll 3
      for (int64_t k = 1; k < count; ++k) meet(load(rows[k], lane), best);
      if constexpr (kValues) V::store(target.key + lane, windows[block], best.key);
      if constexpr (kTags) {
        if (target.bytes) {
          V::store_bytes(target.bytes + lane, windows[block], best.tag);
        } else {
          V::store(target.tag + lane, windows[block], best.tag);
        }
      }
    }
  }

  TASED_AVX512 static TASED_INLINE Best load(const Row& row, int64_t k) {
    Best one{load_vector(row.key + k), {}};
    if constexpr (kTags) one.tag = V::add(_mm512_load_si512(row.tag + k), V::all(row.number));
    return one;
  }

  const PoolGeometry g_;
  const int64_t window_blocks_;
  const int64_t margin_;  // lanes on either side of a phase
  const int64_t phase_pitch_;
  const int64_t across_pitch_;
  int64_t group_;                                     // rows of windows at a time
  int64_t ring_ = 1;                                  // rows of the map that are kept, a power of two
  alignas(64) bits_t of_phase_[kMostStride][kLanes];  // columns of two vectors
  mask_t rest_[kMostStride];                          // of the columns, beyond whole blocks of them
  std::vector<mask_t> windows_;
  std::vector<bits_t> first_;    // column of a window that is on the map
  std::vector<int64_t> places_;  // of the windows' columns among the phases
  std::vector<Row> rows_;
  Buffer<bits_t> phases_;
  Buffer<bits_t> keys_;
  Buffer<bits_t> tags_;
};

#else

// Elsewhere lanes of a whole plane are faster.
template <class scalar_t, bool kValues, bool kTags>
struct VectorPool {
  using L = Lane<scalar_t>;
  static bool pays(const PoolGeometry&) { return false; }
  explicit VectorPool(const PoolGeometry&) {}
  bool operator()(const Range&, const typename L::value_t*, int64_t, int64_t,
                  const Lanes<typename L::template key_t<kValues>, typename L::tag_t>&, uint8_t*) {
    return false;
  }
};

#endif

}  // namespace tased
