// The rules that every backend shares: which positions a window covers, which windows cover a position, which value
// wins a window, and which window wins a position. Plain structs and inline functions for host and device; nothing of
// torch.
#pragma once

#include <cstdint>
#include <type_traits>

#if defined(__CUDACC__)
#define TASED_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define TASED_HOST_DEVICE inline __attribute__((always_inline))
#endif

namespace tased {

// A window's switch is one byte, so a window can tell this many positions apart.
constexpr int32_t kMaxWindowVolume = 256;
// Axes stay below this, so that starts and ends of windows fit 32 bits; offsets into a whole map take 64.
constexpr int64_t kMaxAxisSize = int64_t{1} << 30;

// One axis (time, rows or columns) of a map and of its pooled grid. Windows at the borders reach into the padding;
// begin() and end() give the part of them that lies on the map.
struct Axis {
  int32_t size;     // positions on the map
  int32_t windows;  // windows of the pooled grid
  int32_t kernel;
  int32_t stride;
  int32_t padding;

  TASED_HOST_DEVICE int32_t start(int32_t window) const { return window * stride - padding; }
  TASED_HOST_DEVICE int32_t begin(int32_t window) const { return start(window) > 0 ? start(window) : 0; }
  TASED_HOST_DEVICE int32_t end(int32_t window) const {
    const int32_t stop = start(window) + kernel;
    return stop < size ? stop : size;
  }

  // The windows that cover a position are first_covering(position) … last_covering(position); none if first > last.
  TASED_HOST_DEVICE int32_t first_covering(int32_t position) const {
    const int32_t reach = position + padding - kernel;  // the last window start that falls short of the position
    return reach < 0 ? 0 : reach / stride + 1;
  }
  TASED_HOST_DEVICE int32_t last_covering(int32_t position) const {
    const int32_t last = (position + padding) / stride;
    return last < windows ? last : windows - 1;
  }

  TASED_HOST_DEVICE bool overlapping() const { return kernel > stride; }
};

// A pooling of maps (batch, channels, t, h, w). Memory is (batch, channels, t, h, w) row-major, or, with channels_last,
// (batch, t, h, w, channels) row-major; the pooled grid has the same order.
struct PoolGeometry {
  int64_t batch;
  int64_t channels;
  Axis t;
  Axis h;
  Axis w;
  bool channels_last;

  TASED_HOST_DEVICE int32_t window_area() const { return h.kernel * w.kernel; }
  TASED_HOST_DEVICE int64_t map_area() const { return int64_t{h.size} * w.size; }
  TASED_HOST_DEVICE int64_t grid_area() const { return int64_t{h.windows} * w.windows; }
  TASED_HOST_DEVICE int64_t map_numel() const { return batch * channels * t.size * map_area(); }
  TASED_HOST_DEVICE int64_t grid_numel() const { return batch * channels * t.windows * grid_area(); }
};

// A float as an integer that orders like its value: -0 equals +0, and every NaN is the greatest integer, above all
// numbers. `infinity` is the format's bit pattern of +inf.
template <class bits_t>
TASED_HOST_DEVICE bits_t order_key(bits_t bits, bits_t infinity) {
  constexpr int kSignBit = 8 * sizeof(bits_t) - 1;
  constexpr auto kGreatest = static_cast<bits_t>(~(bits_t{1} << kSignBit));
  const auto magnitude = static_cast<bits_t>(bits & kGreatest);
  const auto sign = static_cast<bits_t>(bits >> kSignBit);  // 0 or -1
  const auto key = static_cast<bits_t>((magnitude ^ sign) - sign);
  return magnitude > infinity ? kGreatest : key;
}

TASED_HOST_DEVICE bool is_nan(float key) { return key != key; }
TASED_HOST_DEVICE bool is_nan(double key) { return key != key; }

// The only comparison of the poolings: in scanning order a later candidate replaces the best one only if it is greater
// or NaN. So ties go to the first position, and among several NaN the last one wins. Associative: the best of two runs
// is the later run's best if that is better than the earlier run's. A key is a float, a double or an order_key.
template <class key_t>
TASED_HOST_DEVICE bool is_better(key_t candidate, key_t best) {
  if constexpr (std::is_integral_v<key_t>) {
    constexpr int kSignBit = 8 * sizeof(key_t) - 1;
    constexpr auto kBelowNaN = static_cast<key_t>(~(key_t{1} << kSignBit) - 1);
    return candidate > (best < kBelowNaN ? best : kBelowNaN);  // one comparison and a minimum
  } else {
    return (candidate > best) | is_nan(candidate);  // no short circuit: vectorises
  }
}

}  // namespace tased
