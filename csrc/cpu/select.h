// Lanes selected by tags: a lane's value counts if its tag is a certain offset. Unpooling selects the window that
// points to a position, its gradient the position to which a window points.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "lanes.h"

namespace tased {

// A tag that is no offset.
constexpr int32_t kNoOffset = -1;

template <class lane_t>
using tag_of = typename IntOfSize<sizeof(lane_t)>::type;

template <class lane_t>
struct Source {
  Rows<const lane_t> value;
  Rows<const tag_of<lane_t>> tag;
  int32_t offset;
};

// The last source whose tag is its offset, or with kSum the sum of them all in order; zero if there is none.
// kContinued: the target holds what came before.
template <class lane_t, bool kSum, int kSources, bool kContinued>
struct SelectLoop {
  using tag_t = tag_of<lane_t>;

  struct Row {
    const lane_t* value;
    const tag_t* tag;
    tag_t offset;
  };

  static TASED_INLINE Row row(const Source<lane_t>& source, int64_t r) {
    return {source.value[r], source.tag[r], static_cast<tag_t>(source.offset)};
  }

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

  static TASED_INLINE void run(const Source<lane_t>* sources, Rows<lane_t> target, int64_t rows, int64_t lanes) {
    for (int64_t r = 0; r < rows; ++r) {
      Row rows_at[kSources];
#pragma GCC unroll 16
      for (int n = 0; n < kSources; ++n) rows_at[n] = row(sources[n], r);
      lane_t* to = target[r];
      TASED_INDEPENDENT
      for (int64_t k = 0; k < lanes; ++k) {
        lane_t result = kContinued ? to[k] : lane_t{};
        meet<0>(rows_at, k, result);
        to[k] = result;
      }
    }
  }
};

// Two selections at once, that of the even columns of a row from the first kEven sources, that of the odd ones from the
// next kOdd.
template <class lane_t, bool kSum, int kEven, int kOdd>
struct SelectPairsLoop {
  using Even = SelectLoop<lane_t, kSum, kEven, false>;
  using Odd = SelectLoop<lane_t, kSum, kOdd, false>;

  static TASED_INLINE void run(const Source<lane_t>* sources, Rows<lane_t> target, int64_t rows, int64_t pairs) {
    for (int64_t r = 0; r < rows; ++r) {
      typename Even::Row even[kEven];
      typename Odd::Row odd[kOdd];
#pragma GCC unroll 16
      for (int n = 0; n < kEven; ++n) even[n] = Even::row(sources[n], r);
#pragma GCC unroll 16
      for (int n = 0; n < kOdd; ++n) odd[n] = Odd::row(sources[kEven + n], r);
      lane_t* to = target[r];
      TASED_INDEPENDENT
      for (int64_t k = 0; k < pairs; ++k) {
        lane_t first{};
        lane_t second{};
        Even::template meet<0>(even, k, first);
        Odd::template meet<0>(odd, k, second);
        to[2 * k] = first;
        to[2 * k + 1] = second;
      }
    }
  }
};

// The loops above for any number of sources, zero among them.
template <class lane_t, bool kSum>
class SelectOf {
 public:
  using Sources = std::vector<Source<lane_t>>;

  void operator()(const Sources& sources, bool continued, Rows<lane_t> target, int64_t rows, int64_t lanes) const {
    static const Loops first = make_loops<false>();
    static const Loops next = make_loops<true>();
    if (sources.empty() && !continued) {
      for (int64_t r = 0; r < rows; ++r) std::fill_n(target[r], lanes, lane_t{});
    }
    const auto dense = [&](const Source<lane_t>& one) { return one.value.pitch == lanes && one.tag.pitch == lanes; };
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
  using Loop = void (*)(const Source<lane_t>*, Rows<lane_t>, int64_t, int64_t);
  static constexpr size_t kMost = 9;
  using Loops = std::array<Loop, kMost + 1>;  // by the number of sources; null where there is none

  template <bool kContinued>
  static Loops make_loops() {
    Loops loops{};
    loops[1] = at_vector_level<SelectLoop<lane_t, kSum, 1, kContinued>>();
    loops[2] = at_vector_level<SelectLoop<lane_t, kSum, 2, kContinued>>();
    loops[3] = at_vector_level<SelectLoop<lane_t, kSum, 3, kContinued>>();
    loops[4] = at_vector_level<SelectLoop<lane_t, kSum, 4, kContinued>>();
    loops[9] = at_vector_level<SelectLoop<lane_t, kSum, 9, kContinued>>();
    return loops;
  }
};

// The loop for so many sources of even and of odd columns, or null: those of kernels of 2 to 4 at stride 2.
template <class lane_t, bool kSum>
auto pairs_loop(size_t even, size_t odd) {
  using Loop = void (*)(const Source<lane_t>*, Rows<lane_t>, int64_t, int64_t);
  struct Entry {
    size_t even;
    size_t odd;
    Loop loop;
  };
  static const std::array<Entry, 7> entries = {{{1, 1, at_vector_level<SelectPairsLoop<lane_t, kSum, 1, 1>>()},
                                                {1, 2, at_vector_level<SelectPairsLoop<lane_t, kSum, 1, 2>>()},
                                                {2, 1, at_vector_level<SelectPairsLoop<lane_t, kSum, 2, 1>>()},
                                                {2, 2, at_vector_level<SelectPairsLoop<lane_t, kSum, 2, 2>>()},
                                                {2, 4, at_vector_level<SelectPairsLoop<lane_t, kSum, 2, 4>>()},
                                                {4, 2, at_vector_level<SelectPairsLoop<lane_t, kSum, 4, 2>>()},
                                                {4, 4, at_vector_level<SelectPairsLoop<lane_t, kSum, 4, 4>>()}}};
  for (const Entry& entry : entries) {
    if (entry.even == even && entry.odd == odd) return entry.loop;
  }
  return Loop{nullptr};
}

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
      TASED_INDEPENDENT
      for (int64_t k = 0; k < lanes; ++k) {
        if constexpr (kFrames) {
          to[k] = from[k] == wanted ? static_cast<tag_t>(offset[k]) : static_cast<tag_t>(kNoOffset);
        } else {
          to[k] = static_cast<tag_t>(offset[k]);
        }
      }
    }
  }
};

// The lanes of windows that may point where the window itself points with `own`, which they do with `other`.
template <class tag_t>
struct RivalLanes {
  const tag_t* tags;
  tag_t own;
  tag_t other;
};

// A window that points where a later one, its rival, points as well has lost its position: kept no longer.
template <class tag_t, int kRivals>
struct LoseLoop {
  template <int n>
  static TASED_INLINE bool lost(const RivalLanes<tag_t>* rivals, tag_t tag, int64_t k) {
    if constexpr (n < kRivals) {
      return ((tag == rivals[n].own) & (rivals[n].tags[k] == rivals[n].other)) | lost<n + 1>(rivals, tag, k);
    } else {
      return false;
    }
  }

  static TASED_INLINE void run(const tag_t* tags, const RivalLanes<tag_t>* all, tag_t* kept, int64_t lanes) {
    RivalLanes<tag_t> rivals[kRivals];
#pragma GCC unroll 16
    for (int n = 0; n < kRivals; ++n) rivals[n] = all[n];
    TASED_INDEPENDENT
    for (int64_t k = 0; k < lanes; ++k) {
      kept[k] = lost<0>(rivals, tags[k], k) ? static_cast<tag_t>(kNoOffset) : kept[k];
    }
  }
};

template <class tag_t>
void lose(const tag_t* tags, const std::vector<RivalLanes<tag_t>>& rivals, tag_t* kept, int64_t lanes) {
  static const auto one = at_vector_level<LoseLoop<tag_t, 1>>();
  static const auto four = at_vector_level<LoseLoop<tag_t, 4>>();
  for (size_t done = 0; done < rivals.size();) {
    const bool many = rivals.size() - done >= 4;
    (many ? four : one)(tags, rivals.data() + done, kept, lanes);
    done += many ? 4 : 1;
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
