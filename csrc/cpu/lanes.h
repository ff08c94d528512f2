// Rows of lanes, what every CPU loop works on. A lane is a window or a position (contiguous maps) or a channel
// (channels_last). Lanes of one loop are equally wide, so that it runs on vectors of one width.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>

#include "../kernels.h"
#include "../scalar.h"
#include "level.h"

namespace tased {

struct Range {
  int64_t begin;
  int64_t end;
  int64_t size() const { return end - begin; }
};

inline bool operator==(const Range& a, const Range& b) { return a.begin == b.begin && a.end == b.end; }

// Parts of an axis, of equal size up to one.
class Parts {
 public:
  Parts(int64_t total, int64_t most) : total_(total) {
    most = std::max<int64_t>(most, 1);
    count_ = (total + most - 1) / most;
  }
  Range operator[](int64_t k) const {
    if (count_ == 1) return {0, total_};  // without two divisions
    return {total_ * k / count_, total_ * (k + 1) / count_};
  }
  int64_t count() const { return count_; }
  int64_t largest() const { return (total_ + count_ - 1) / count_; }

 private:
  int64_t total_;
  int64_t count_;
};

// The part of window `k` of an axis that lies on the map, as positions of the window.
inline Range inside(const Axis& axis, int64_t k) {
  const auto window = static_cast<int32_t>(k);
  return {axis.begin(window) - axis.start(window), axis.end(window) - axis.start(window)};
}

// Windows that lie on the map alike, run by run: visit(the windows, their positions on the map).
template <class Visit>
void for_windows_alike(const Axis& axis, const Range& windows, const Visit& visit) {
  for (Range run{windows.begin, windows.begin}; run.begin < windows.end; run.begin = run.end) {
    const Range positions = inside(axis, run.begin);
    do {
      ++run.end;
    } while (run.end < windows.end && inside(axis, run.end) == positions);
    visit(run, positions);
  }
}

// Positions whose windows are alike but for the borders, a stride apart, run by run: visit(the first, how many, the
// windows that cover the first; those of the others are the next ones).
template <class Visit>
void for_positions_alike(const Axis& axis, const Visit& visit) {
  const auto windows_at = [&](int64_t k) {
    const auto position = static_cast<int32_t>(k);
    return Range{axis.first_covering(position), axis.last_covering(position) + 1};
  };
  for (int64_t phase = 0; phase < std::min(axis.size, axis.stride); ++phase) {
    for (int64_t first = phase; first < axis.size;) {
      const Range windows = windows_at(first);
      int64_t count = 0;
      int64_t next = first;
      do {
        ++count;
        next += axis.stride;
      } while (next < axis.size && windows_at(next) == Range{windows.begin + count, windows.end + count});
      visit(first, count, windows);
      first = next;
    }
  }
}

// Rows at a fixed distance; none if `data` is null.
template <class T>
struct Rows {
  T* data = nullptr;
  int64_t pitch = 0;

  TASED_INLINE T* at(int64_t row, int64_t lane) const { return data ? data + row * pitch + lane : nullptr; }
  TASED_INLINE T* operator[](int64_t row) const { return at(row, 0); }
  TASED_INLINE Rows from(int64_t row, int64_t lane = 0) const { return {at(row, lane), pitch}; }
  operator Rows<const T>() const { return {data, pitch}; }
};

template <class T>
Rows<const T> read_only(const Rows<T>& rows) {
  return rows;
}

template <int kSize>
struct IntOfSize;
template <>
struct IntOfSize<2> {
  using type = int16_t;
};
template <>
struct IntOfSize<4> {
  using type = int32_t;
};
template <>
struct IntOfSize<8> {
  using type = int64_t;
};
template <class T>
using tag_of = typename IntOfSize<sizeof(T)>::type;

// Keys that are floats or order_keys.
template <class key>
struct Order {
  using key_t = key;
  static constexpr bool kEqualIsSame = std::is_integral_v<key_t>;
  static TASED_INLINE bool better(key_t candidate, key_t best) { return is_better(candidate, best); }
};

// Keys of half types from which the value can be told, to the bit: from the lowest, -inf, on to the greatest numbers,
// then every NaN. Comparing takes care that zeros are equal, and NaN as well.
template <class bits, bits infinity>
struct ReversibleOrder {
  using key_t = bits;
  static constexpr bool kEqualIsSame = false;
  static constexpr auto kGreatest = std::numeric_limits<key_t>::max();
  static constexpr auto kLowest = std::numeric_limits<key_t>::min();
  static constexpr auto kNaNs = static_cast<key_t>(kGreatest - infinity);  // of either sign
  static constexpr auto kInfinity = static_cast<key_t>(infinity - kNaNs);
  static constexpr auto kNegativeZero = static_cast<key_t>(-kNaNs - 1);

  static TASED_INLINE key_t key(bits value) { return static_cast<key_t>(turn(value) - kNaNs); }
  static TASED_INLINE bits value(key_t key) { return turn(static_cast<bits>(key + kNaNs)); }
  static TASED_INLINE bool better(key_t candidate, key_t best) {
    const key_t least = candidate == kNegativeZero + 1 ? kNegativeZero : candidate;
    return least > (best < kInfinity ? best : kInfinity);
  }

 private:
  // Negative ones the other way round.
  static TASED_INLINE bits turn(bits x) { return static_cast<bits>(x ^ ((x >> (8 * sizeof(bits) - 1)) & kGreatest)); }
};

// How a scalar lies in a lane: as a value (half types as their bits); as the key by which it is compared; and beside it
// a tag, an integer as wide. Where values are asked for they can be told from keys, else all keys are order_keys.
template <class scalar_t>
struct Lane {
  using tag_t = typename Scalar<scalar_t>::bits_t;
  static constexpr bool kHalf = sizeof(scalar_t) == 2;
  using value_t = std::conditional_t<kHalf, tag_t, scalar_t>;

  static constexpr tag_t kInfinity = Scalar<scalar_t>::kInfinity;
  using Reversible = ReversibleOrder<tag_t, kInfinity>;
  template <bool kValues>
  using order_t = std::conditional_t<kValues, std::conditional_t<kHalf, Reversible, Order<value_t>>, Order<tag_t>>;
  template <bool kValues>
  using key_t = typename order_t<kValues>::key_t;

  template <bool kValues>
  static constexpr key_t<kValues> kLowest = [] {  // of -inf
    if constexpr (!kValues) {
      return static_cast<tag_t>(-kInfinity);
    } else if constexpr (kHalf) {
      return Reversible::kLowest;
    } else {
      return -std::numeric_limits<value_t>::infinity();
    }
  }();

  // As an integer that orders like the value.
  static TASED_INLINE tag_t order(value_t value) {
    tag_t bits;
    __builtin_memcpy(&bits, &value, sizeof(bits));
    return order_key<tag_t>(bits, kInfinity);
  }
};

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

  // Rows of a plane from row r (of windows: i) on.
  template <class T>
  Rows<T> map_rows(T* map, int64_t plane, int64_t r) const {
    return Rows<T>{map, map_row}.from(0, plane * map_plane + r * map_row);
  }
  template <class T>
  Rows<T> grid_rows(T* grid, int64_t plane, int64_t i) const {
    return Rows<T>{grid, grid_row}.from(0, plane * grid_plane + i * grid_row);
  }
};

// Has memory that will be read soon on its way into the cache; any address will do.
inline void prefetch(const void* begin, int64_t bytes) {
  constexpr int64_t kLine = 64;
  for (int64_t k = 0; k < bytes; k += kLine) __builtin_prefetch(static_cast<const char*>(begin) + k, 0, 2);
}

// Scratch memory: uninitialised, aligned to cache lines.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t count) { reset(count); }

  void reset(int64_t count) {
    constexpr size_t kLine = 64;
    const size_t bytes = (static_cast<size_t>(count) * sizeof(T) + kLine) / kLine * kLine;
    data_.reset(static_cast<T*>(std::aligned_alloc(kLine, bytes)));
    if (!data_) throw std::bad_alloc();
  }
  T* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* pointer) const { std::free(pointer); }
  };
  std::unique_ptr<T, Free> data_;
};

}  // namespace tased
