// The best of several candidates for every lane, with a tag that tells which one it was: what pooling is made of.
// Candidates come in scanning order.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "lanes.h"

namespace tased {

// Lanes that are compared by key; tags tell where they come from.
template <class key_t, class tag_t>
struct Lanes {
  Rows<key_t> key;
  Rows<tag_t> tag;

  Lanes from(int64_t row) const { return {key.from(row), tag.from(row)}; }
  Lanes pitched(int64_t pitch) const { return {{key.data, pitch}, {tag.data, pitch}}; }
  bool dense(int64_t lanes) const { return key.pitch == lanes && (!tag.data || tag.pitch == lanes); }
};

// kConstant: a candidate's tag is its number. kEach: every lane of it has a tag, to which the number is added.
enum class Tags { kNone, kConstant, kEach };

template <class key_t, class tag_t>
struct Candidate {
  Lanes<key_t, tag_t> lanes;
  int32_t number;
};

// Keeps the better of two in `best`. Where equal keys stand for the same, their maximum need not wait for the
// comparison; nor need that of floats whose tags nobody asks for.
template <class Order, bool kTagged, class One>
TASED_INLINE void keep_better(One& best, const One& one) {
  using key_t = typename Order::key_t;
  if constexpr (!std::is_integral_v<key_t> && !kTagged) {
    const key_t greater = best.key < one.key ? one.key : best.key;
    best.key = is_nan(one.key) ? one.key : greater;
    return;
  }
  const bool better = Order::better(one.key, best.key);
  if constexpr (Order::kEqualIsSame) {
    best.key = best.key < one.key ? one.key : best.key;
  } else {
    best.key = better ? one.key : best.key;
  }
  best.tag = better ? one.tag : best.tag;
}

// kContinued: the first candidate is the best so far.
template <class Order, class tag_t, int kCandidates, bool kContinued, Tags kTags>
struct BestLoop {
  using key_t = typename Order::key_t;

  struct Row {
    const key_t* key;
    const tag_t* tag;
    tag_t number;
  };
  struct One {
    key_t key;
    tag_t tag;
  };

  template <int n>
  static TASED_INLINE One load(const Row& row, int64_t k) {
    One one{row.key[k], tag_t{}};
    if constexpr (kTags == Tags::kEach) {
      one.tag = static_cast<tag_t>(row.tag[k] + row.number);
    } else if constexpr (kTags == Tags::kConstant) {
      one.tag = kContinued && n == 0 ? row.tag[k] : row.number;
    }
    return one;
  }

  template <int n>
  static TASED_INLINE void meet(const Row* rows, int64_t k, One& best) {
    if constexpr (n < kCandidates) {
      keep_better<Order, kTags != Tags::kNone>(best, load<n>(rows[n], k));
      meet<n + 1>(rows, k, best);
    }
  }

  static TASED_INLINE void run(const Candidate<key_t, tag_t>* candidates, const Lanes<key_t, tag_t>& target,
                               int64_t rows, int64_t lanes) {
    for (int64_t r = 0; r < rows; ++r) {
      Row row[kCandidates];
#pragma GCC unroll 16
      for (int n = 0; n < kCandidates; ++n) {
        const Lanes<key_t, tag_t>& from = candidates[n].lanes;
        row[n] = {from.key[r], from.tag[r], static_cast<tag_t>(candidates[n].number)};
      }
      key_t* key = target.key[r];
      tag_t* tag = target.tag[r];
      for_lanes<64 / sizeof(key_t)>(lanes, [&](int64_t k) __attribute__((always_inline)) {
        One best = load<0>(row[0], k);
        meet<1>(row, k, best);
        key[k] = best.key;
        if constexpr (kTags != Tags::kNone) tag[k] = best.tag;
      });
    }
  }
};

// The loops above for any number of candidates: several at a time, the best so far being the first of the next ones.
template <class scalar_t, bool kValues, bool kTags>
class BestOf {
  using L = Lane<scalar_t>;
  using order_t = typename L::template order_t<kValues>;
  using key_t = typename order_t::key_t;
  using tag_t = typename L::tag_t;
  static constexpr Tags kConstant = kTags ? Tags::kConstant : Tags::kNone;
  static constexpr Tags kEach = kTags ? Tags::kEach : Tags::kNone;

 public:
  using Candidates = std::vector<Candidate<key_t, tag_t>>;

  // Every lane of the candidates has a tag of its own or not.
  void operator()(const Candidates& candidates, bool tagged, const Lanes<key_t, tag_t>& target, int64_t rows,
                  int64_t lanes) const {
    static const Loops constant = make_loops<kConstant>();
    static const Loops each = make_loops<kEach>();
    const Loops& loops = tagged ? each : constant;
    const auto dense = [&](const Candidate<key_t, tag_t>& one) { return one.lanes.dense(lanes); };
    if (rows > 1 && target.dense(lanes) && std::all_of(candidates.begin(), candidates.end(), dense)) {
      lanes *= rows;
      rows = 1;
    }
    size_t done = largest(loops.first, candidates.size());
    loops.first[done](candidates.data(), target, rows, lanes);
    std::array<Candidate<key_t, tag_t>, kMost> group;
    while (done < candidates.size()) {
      const int count = largest(loops.next, candidates.size() - done + 1);
      group[0] = {target, 0};
      std::copy_n(candidates.begin() + static_cast<int64_t>(done), count - 1, group.begin() + 1);
      loops.next[count](group.data(), target, rows, lanes);
      done += count - 1;
    }
  }

 private:
  using Loop = void (*)(const Candidate<key_t, tag_t>*, const Lanes<key_t, tag_t>&, int64_t, int64_t);
  static constexpr int kMost = 9;
  struct Loops {  // by the number of candidates; null where there is none
    std::array<Loop, kMost + 1> first{};
    std::array<Loop, kMost + 1> next{};
  };

  template <Tags kKind>
  static Loops make_loops() {
    Loops loops;
    add<kKind, 1>(loops);
    add<kKind, 2>(loops);
    add<kKind, 3>(loops);
    add<kKind, 4>(loops);
    add<kKind, 9>(loops);
    return loops;
  }

  template <Tags kKind, int kCandidates>
  static void add(Loops& loops) {
    loops.first[kCandidates] = at_vector_level<BestLoop<order_t, tag_t, kCandidates, false, kKind>>();
    if constexpr (kCandidates > 1) {
      loops.next[kCandidates] = at_vector_level<BestLoop<order_t, tag_t, kCandidates, true, kKind>>();
    }
  }

  // The most candidates that one loop takes of so many.
  static int largest(const std::array<Loop, kMost + 1>& loops, size_t candidates) {
    int count = static_cast<int>(std::min<size_t>(candidates, kMost));
    while (loops[count] == nullptr) --count;
    return count;
  }
};

}  // namespace tased
