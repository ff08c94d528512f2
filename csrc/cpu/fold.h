// From a map as it lies in memory to keys, the maximum over frames, which Auxiliary pooling begins with; and back.
#pragma once

#include "best.h"

namespace tased {

// Tags are (frame << kFrameShift) + offset in the window.
constexpr int32_t kFrameShift = 8;

// kFrames: how many frames, or 0 where only the argument tells. kTagged: tags tell the frame.
template <class scalar_t, int kFrames, bool kValues, bool kTagged>
struct FoldLoop {
  using L = Lane<scalar_t>;
  using value_t = typename L::value_t;
  using tag_t = typename L::tag_t;
  using key_t = typename L::template key_t<kValues>;
  using order_t = typename L::template order_t<kValues || !L::kHalf>;  // floats become order_keys once folded
  using compared_t = typename order_t::key_t;

  // Which NaN it is and where from makes no difference.
  static constexpr bool kOnlyOrder = kFrames > 0 && !kValues && !L::kHalf && !kTagged;

  static constexpr int64_t kLine = 64 / sizeof(value_t);
  static constexpr int64_t kBlock = 4 * kLine;

  struct One {
    compared_t key;
    tag_t tag;
  };

  static TASED_INLINE One load(const value_t* value, int64_t frame) {
    One one{{}, static_cast<tag_t>(frame << kFrameShift)};
    if constexpr (!L::kHalf) {
      one.key = *value;
    } else if constexpr (kValues) {
      one.key = order_t::key(*value);
    } else {
      one.key = L::order(*value);
    }
    return one;
  }

  struct Target {
    key_t* key;
    tag_t* tag;
  };

  static TASED_INLINE void store(const One& best, const Target& target, int64_t k) {
    if constexpr (std::is_same_v<key_t, compared_t>) {
      target.key[k] = best.key;
    } else {
      target.key[k] = L::order(best.key);
    }
    if constexpr (kTagged) target.tag[k] = best.tag;
  }

  template <int frame>
  static TASED_INLINE void meet(const value_t* value, int64_t frame_pitch, One& best) {
    if constexpr (frame < kFrames) {
      keep_better<order_t, kTagged>(best, load(value + frame * frame_pitch, frame));
      meet<frame + 1>(value, frame_pitch, best);
    }
  }

  // Two frames at a time. Whether one but the first is NaN.
  template <int frame>
  static TASED_INLINE bool meet_values(const value_t* value, int64_t frame_pitch, value_t& best) {
    if constexpr (frame >= kFrames) {
      return false;
    } else {
      constexpr int next = std::min(frame + 1, kFrames - 1);
      const value_t one = value[frame * frame_pitch];
      const value_t other = value[next * frame_pitch];
      const value_t greater = other > one ? other : one;
      best = greater > best ? greater : best;
      return __builtin_isunordered(one, other) | meet_values<frame + 2>(value, frame_pitch, best);
    }
  }

  static TASED_INLINE void fold(const value_t* map, int64_t frame_pitch, int64_t frames, const Target& target,
                                int64_t lanes) {
    if constexpr (kOnlyOrder) {
      TASED_INDEPENDENT
      for (int64_t k = 0; k < lanes; ++k) {
        value_t best = map[k];
        const bool nan = meet_values<1>(map + k, frame_pitch, best);
        const key_t key = L::order(best);
        target.key[k] = nan ? std::numeric_limits<key_t>::max() : key;
      }
    } else if constexpr (kFrames > 0) {
      TASED_INDEPENDENT
      for (int64_t k = 0; k < lanes; ++k) {
        One best = load(map + k, 0);
        meet<1>(map + k, frame_pitch, best);
        store(best, target, k);
      }
    } else {
      compared_t keys[kBlock];
      tag_t tags[kBlock];
      for (int64_t f = 0; f < frames; ++f) {
        TASED_INDEPENDENT
        for (int64_t k = 0; k < lanes; ++k) {
          const One one = load(map + f * frame_pitch + k, f);
          One best = one;
          if (f > 0) {
            best = {keys[k], tags[k]};
            keep_better<order_t, kTagged>(best, one);
          }
          keys[k] = best.key;
          if constexpr (kTagged) tags[k] = best.tag;
        }
      }
      TASED_INDEPENDENT
      for (int64_t k = 0; k < lanes; ++k) store({keys[k], tags[k]}, target, k);
    }
  }

  // `map`: the first frame's rows; the others lie frame_pitch apart. Meanwhile the lanes that lie `ahead` of those are
  // on their way into the cache.
  static TASED_INLINE void run(Rows<const value_t> map, int64_t frame_pitch, int64_t frames,
                               const Lanes<key_t, tag_t>& target, int64_t rows, int64_t lanes, int64_t ahead) {
    if (kFrames > 0) frames = kFrames;
    for (int64_t r = 0; r < rows; ++r) {
      const value_t* source = map[r];
      const auto fold_from = [&](int64_t k, int64_t count) __attribute__((always_inline)) {
        fold(source + k, frame_pitch, frames, {target.key.at(r, k), target.tag.at(r, k)}, count);
      };
      int64_t k = 0;
      for (; k + kBlock <= lanes; k += kBlock) {
        for (int64_t f = 0; f < frames; ++f) {
#pragma GCC unroll 4
          for (int64_t line = 0; line < kBlock; line += kLine) {
            __builtin_prefetch(source + f * frame_pitch + k + line + ahead, 0, 2);
          }
        }
        fold_from(k, kBlock);
      }
      if (k < lanes) fold_from(k, lanes - k);
    }
  }
};

// Values of their keys; both may lie in one place.
template <class Order>
struct ValueLoop {
  using key_t = typename Order::key_t;

  static TASED_INLINE void run(Rows<const key_t> keys, Rows<key_t> values, int64_t rows, int64_t lanes) {
    for (int64_t r = 0; r < rows; ++r) {
      const key_t* from = keys[r];
      key_t* to = values[r];
      TASED_INDEPENDENT
      for (int64_t k = 0; k < lanes; ++k) to[k] = Order::value(from[k]);
    }
  }
};

template <class Order>
void turn_to_values(Rows<const typename Order::key_t> keys, Rows<typename Order::key_t> values, int64_t rows,
                    int64_t lanes) {
  static const auto loop = at_vector_level<ValueLoop<Order>>();
  if (keys.pitch == lanes && values.pitch == lanes) {
    lanes *= rows;
    rows = 1;
  }
  loop(keys, values, rows, lanes);
}

template <class scalar_t, bool kValues, bool kTags>
void fold(Rows<const typename Lane<scalar_t>::value_t> map, int64_t frame_pitch, int64_t frames, bool tagged,
          const Lanes<typename Lane<scalar_t>::template key_t<kValues>, typename Lane<scalar_t>::tag_t>& target,
          int64_t rows, int64_t lanes, int64_t ahead) {
  using Loop = decltype(&FoldLoop<scalar_t, 0, kValues, false>::run);
  static const std::array<Loop, 5> plain = {at_vector_level<FoldLoop<scalar_t, 0, kValues, false>>(),
                                            at_vector_level<FoldLoop<scalar_t, 1, kValues, false>>(),
                                            at_vector_level<FoldLoop<scalar_t, 2, kValues, false>>(),
                                            at_vector_level<FoldLoop<scalar_t, 3, kValues, false>>(),
                                            at_vector_level<FoldLoop<scalar_t, 4, kValues, false>>()};
  static const std::array<Loop, 5> with_tags = {at_vector_level<FoldLoop<scalar_t, 0, kValues, kTags>>(),
                                                at_vector_level<FoldLoop<scalar_t, 1, kValues, kTags>>(),
                                                at_vector_level<FoldLoop<scalar_t, 2, kValues, kTags>>(),
                                                at_vector_level<FoldLoop<scalar_t, 3, kValues, kTags>>(),
                                                at_vector_level<FoldLoop<scalar_t, 4, kValues, kTags>>()};
  if (rows > 1 && map.pitch == lanes && target.dense(lanes)) {
    lanes *= rows;
    rows = 1;
  }
  const auto& loops = tagged ? with_tags : plain;
  loops[frames <= 4 ? frames : 0](map, frame_pitch, frames, target, rows, lanes, ahead);
}

}  // namespace tased
