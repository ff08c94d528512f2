// Vector levels: one source, compiled for several instruction sets in one file, chosen at run time. What the compiler
// vectorises are loops: structs with one always-inlined static function `run`. at_vector_level<Loop>() is that function
// compiled for the widest level that the processor has. TASED_VECTOR_LEVEL=baseline|avx2|avx512 forces a lower one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

#define TASED_INLINE inline __attribute__((always_inline))
// Iterations of the loop that follows do not depend on each other, though its pointers may be equal.
#if defined(__clang__)
#define TASED_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define TASED_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace tased {

// Calls lane(k) for every k below `lanes`, in blocks of a constant size that are vectors without a rest. The last block
// overlaps the one before it: what a lane does may happen twice. Rows of fewer lanes have smaller blocks.
template <int kBlock, class Lane>
TASED_INLINE void for_lanes(int64_t lanes, const Lane& lane) {
  if constexpr (kBlock == 1) {
    if (lanes > 0) lane(0);
  } else if (lanes < kBlock) {
    for_lanes<kBlock / 2>(lanes, lane);
  } else {
    int64_t k = 0;
    do {
      TASED_INDEPENDENT
#pragma GCC unroll 1
      for (int n = 0; n < kBlock; ++n) lane(k + n);
      const int64_t next = k + kBlock;
      k = next + kBlock <= lanes ? next : next < lanes ? lanes - kBlock : lanes;
    } while (k < lanes);
  }
}

enum class Level { kBaseline, kAvx2, kAvx512 };

inline const char* level_name(Level level) {
  switch (level) {
    case Level::kAvx512: return "avx512";
    case Level::kAvx2: return "avx2";
    default: return "baseline";
  }
}

inline Level detected_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    return Level::kAvx512;
  }
  if (__builtin_cpu_supports("avx2")) return Level::kAvx2;
#endif
  return Level::kBaseline;
}

// Read once, at the first call.
inline Level vector_level() {
  static const Level level = [] {
    const Level detected = detected_level();
    const char* forced = std::getenv("TASED_VECTOR_LEVEL");
    if (forced == nullptr || *forced == '\0') return detected;
    for (const Level candidate : {Level::kBaseline, Level::kAvx2, Level::kAvx512}) {
      if (std::string(forced) == level_name(candidate)) return std::min(candidate, detected);
    }
    throw std::runtime_error(std::string("TASED_VECTOR_LEVEL must be baseline, avx2 or avx512, but is ") + forced);
  }();
  return level;
}

#if defined(__x86_64__)
#define TASED_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#define TASED_AVX2 __attribute__((target("avx2")))
#else
#define TASED_AVX512
#define TASED_AVX2
#endif

template <class Loop, class Run = decltype(Loop::run)>
struct AtLevels;

template <class Loop, class... Args>
struct AtLevels<Loop, void(Args...)> {
  TASED_AVX512 static void avx512(Args... args) { Loop::run(args...); }
  TASED_AVX2 static void avx2(Args... args) { Loop::run(args...); }
  static void baseline(Args... args) { Loop::run(args...); }
};

// The compiled form of Loop::run for the processor.
template <class Loop>
auto at_vector_level() -> decltype(&Loop::run) {
#if defined(__x86_64__)
  switch (vector_level()) {
    case Level::kAvx512: return AtLevels<Loop>::avx512;
    case Level::kAvx2: return AtLevels<Loop>::avx2;
    default: break;
  }
#endif
  return AtLevels<Loop>::baseline;
}

}  // namespace tased
