// Lanes selected by tags: a lane's value counts if its tag is a certain offset. Unpooling selects the window that
// points to a position, its gradient the position to which a window points.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "vector.h"

namespace tased {

// A tag that is no offset.
constexpr int32_t kNoOffset = -1;

template <class lane_t, class tag_t>
struct Source {
  Rows<const lane_t> value;
  Rows<const tag_t> tag;
  int32_t offset;
};

// The last source whose tag is its offset, or with kSum the sum of them all in order; zero if there is none.
// kContinued: the target holds what came before.
template <class lane_t, class tag_t, bool kSum, int kSources, bool kContinued>
struct SelectLoop {
  struct Row {
    const lane_t* value;
    const tag_t* tag;
    tag_t offset;
  };

  template <int n>
  static TASED_INLINE void meet(const Row* rows, int64_t k, lane_t& result) {
    if constexpr (n < kSources) {
      const lane_t value = rows[n].value[k];
      const bool mine = rows[n].tag[k] == rows[n].offset;
      if constexpr (kSum) {
        result += mine ? value : lane_t{};
      } else {
        result = mine ? value : result;
      }
      meet<n + 1>(rows, k, result);
    }
  }

  static TASED_INLINE void run(const Source<lane_t, tag_t>* sources, Rows<lane_t> target, int64_t rows, int64_t lanes) {
    for (int64_t r = 0; r < rows; ++r) {
      Row rows_at[kSources];
#pragma GCC unroll 16
      for (int n = 0; n < kSources; ++n) {
        rows_at[n] = {sources[n].value[r], sources[n].tag[r], static_cast<tag_t>(sources[n].offset)};
      }
      lane_t* to = target[r];
      const auto select = [&](int64_t k) __attribute__((always_inline)) {
        lane_t result = kContinued ? to[k] : lane_t{};
        meet<0>(rows_at, k, result);
        to[k] = result;
      };
      if constexpr (kSum && kContinued) {  // once for every lane
        TASED_INDEPENDENT
        for (int64_t k = 0; k < lanes; ++k) select(k);
      } else {
        for_lanes<64 / sizeof(lane_t)>(lanes, select);
      }
    }
  }
};

#if defined(__x86_64__)

// The same on AVX-512, where tags of one byte make masks of lanes at once.
template <class lane_t, bool kSum, int kSources, bool kContinued>
struct SelectVectors {
  using V = Vector<sizeof(lane_t)>;
  using M = VectorMeet<lane_t, kSum ? Meet::kSum : Meet::kLastWindow>;
  static constexpr int64_t kLanes = 64 / sizeof(lane_t);

  TASED_AVX512 static void run(const Source<lane_t, uint8_t>* sources, Rows<lane_t> target, int64_t rows,
                               int64_t lanes) {
    const auto rest = static_cast<typename V::mask_t>(first_lanes(lanes % kLanes));
    for (int64_t r = 0; r < rows; ++r) {
      const lane_t* value[kSources];
      const uint8_t* tag[kSources];
#pragma GCC unroll 16
      for (int n = 0; n < kSources; ++n) {
        value[n] = sources[n].value[r];
        tag[n] = sources[n].tag[r];
      }
      lane_t* to = target[r];
      int64_t k = 0;
      for (; k + kLanes <= lanes; k += kLanes) {
        auto result = kContinued ? M::of(load_vector(to + k)) : M::zero();
#pragma GCC unroll 16
        for (int n = 0; n < kSources; ++n) {
          const auto mine = V::equal_bytes(tag[n] + k, sources[n].offset);
          result = M::meet(mine, M::of(load_vector(value[n] + k)), result);
        }
        _mm512_storeu_si512(to + k, M::bits(result));
      }
      if (rest == 0) continue;
      auto result = kContinued ? M::of(V::load(rest, to + k)) : M::zero();
      for (int n = 0; n < kSources; ++n) {
        const auto mine = V::equal_bytes(rest, tag[n] + k, sources[n].offset);
        result = M::meet(mine, M::of(V::load(rest, value[n] + k)), result);
      }
      V::store(to + k, rest, M::bits(result));
    }
  }
};

#endif

// Whether windows of so many positions are best told by tags of one byte, of which one is no offset.
inline bool bytes_tell(int64_t positions) { return vector_level() == Level::kAvx512 && positions < 256; }

// The loops above for any number of sources, zero among them.
template <class lane_t, class tag_t, bool kSum>
class SelectOf {
 public:
  std::vector<Source<lane_t, tag_t>> sources;

  void operator()(bool continued, Rows<lane_t> target, int64_t rows, int64_t lanes) const {
    static const Loops first = make_loops<false>();
    static const Loops next = make_loops<true>();
    if (sources.empty() && !continued) {
      for (int64_t r = 0; r < rows; ++r) std::fill_n(target[r], lanes, lane_t{});
    }
    const auto dense = [&](const auto& one) { return one.value.pitch == lanes && one.tag.pitch == lanes; };
    if (rows > 1 && target.pitch == lanes && std::all_of(sources.begin(), sources.end(), dense)) {
      lanes *= rows;
      rows = 1;
    }
    for (size_t done = 0; done < sources.size();) {
      const Loops& loops = continued ? next : first;
      size_t count = std::min(sources.size() - done, kMost);
      while (loops[count] == nullptr) --count;
      loops[count](sources.data() + done, target, rows, lanes);
      continued = true;
      done += count;
    }
  }

 private:
  using Loop = void (*)(const Source<lane_t, tag_t>*, Rows<lane_t>, int64_t, int64_t);
  static constexpr size_t kMost = 9;
  using Loops = std::array<Loop, kMost + 1>;  // by the number of sources; null where there is none

  template <bool kContinued>
  static Loops make_loops() {
    Loops loops{};
    loops[1] = make_loop<1, kContinued>();
    loops[2] = make_loop<2, kContinued>();
    loops[3] = make_loop<3, kContinued>();
    loops[4] = make_loop<4, kContinued>();
    loops[9] = make_loop<9, kContinued>();
    return loops;
  }

  template <int kSources, bool kContinued>
  static Loop make_loop() {
#if defined(__x86_64__)
    if constexpr (std::is_same_v<tag_t, uint8_t>) return SelectVectors<lane_t, kSum, kSources, kContinued>::run;
#endif
    return at_vector_level<SelectLoop<lane_t, tag_t, kSum, kSources, kContinued>>();
  }
};

// Offsets as tags; with frames only those of one frame.
template <class tag_t, bool kFrames>
struct TagLoop {
  static TASED_INLINE void run(Rows<const uint8_t> offsets, Rows<const uint8_t> frames, int32_t frame,
                               Rows<tag_t> target, int64_t rows, int64_t lanes) {
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* offset = offsets[r];
      const uint8_t* from = frames[r];
      tag_t* to = target[r];
      const auto wanted = static_cast<uint8_t>(frame);
      for_lanes<64 / sizeof(tag_t)>(lanes, [&](int64_t k) __attribute__((always_inline)) {
        if constexpr (kFrames) {
          to[k] = from[k] == wanted ? static_cast<tag_t>(offset[k]) : static_cast<tag_t>(kNoOffset);
        } else {
          to[k] = static_cast<tag_t>(offset[k]);
        }
      });
    }
  }
};

// The offsets of windows that may point where the window itself points with `own`, which they do with `other`.
struct RivalLanes {
  const uint8_t* offsets;
  uint8_t own;
  uint8_t other;
};

// A window that points where a later one, its rival, points as well has lost its position: 1, else what it was.
template <int kRivals>
struct LoseLoop {
  template <int n>
  static TASED_INLINE uint8_t lost(const RivalLanes* rivals, uint8_t offset, int64_t k) {
    if constexpr (n < kRivals) {
      return ((offset == rivals[n].own) & (rivals[n].offsets[k] == rivals[n].other)) | lost<n + 1>(rivals, offset, k);
    } else {
      return 0;
    }
  }

  static TASED_INLINE void run(const uint8_t* offsets, const RivalLanes* all, uint8_t* lost_lanes, int64_t lanes) {
    RivalLanes rivals[kRivals];
#pragma GCC unroll 16
    for (int n = 0; n < kRivals; ++n) rivals[n] = all[n];
    TASED_INDEPENDENT
    for (int64_t k = 0; k < lanes; ++k) lost_lanes[k] |= lost<0>(rivals, offsets[k], k);
  }
};

inline void lose(const uint8_t* offsets, const std::vector<RivalLanes>& rivals, uint8_t* lost, int64_t lanes) {
  static const auto one = at_vector_level<LoseLoop<1>>();
  static const auto four = at_vector_level<LoseLoop<4>>();
  static const auto eight = at_vector_level<LoseLoop<8>>();
  std::fill_n(lost, lanes, uint8_t{0});
  for (size_t done = 0; done < rivals.size();) {
    const size_t left = rivals.size() - done;
    (left >= 8 ? eight : left >= 4 ? four : one)(offsets, rivals.data() + done, lost, lanes);
    done += left >= 8 ? 8 : left >= 4 ? 4 : 1;
  }
}

template <class tag_t>
void make_tags(Rows<const uint8_t> offsets, Rows<const uint8_t> frames, int32_t frame, Rows<tag_t> target, int64_t rows,
               int64_t lanes) {
  static const auto plain = at_vector_level<TagLoop<tag_t, false>>();
  static const auto of_frame = at_vector_level<TagLoop<tag_t, true>>();
  (frames.data ? of_frame : plain)(offsets, frames, frame, target, rows, lanes);
}

}  // namespace tased
