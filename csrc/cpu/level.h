// Vector levels: one source, compiled for several instruction sets in one file, chosen at run time. A kernel's body is
// an always-inlined lambda, made of always-inlined functions whose loops the compiler vectorises; at_vector_level()
// inlines it into a function of the widest level that the processor has. TASED_VECTOR_LEVEL=baseline|avx2|avx512 forces
// a lower one.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

#define TASED_INLINE inline __attribute__((always_inline))
#define TASED_INLINE_LAMBDA __attribute__((always_inline))

namespace tased {

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
template <class Body>
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))) void run_avx512(const Body& body) {
  body();
}

template <class Body>
__attribute__((target("avx2"))) void run_avx2(const Body& body) {
  body();
}
#endif

template <class Body>
void at_vector_level(const Body& body) {
#if defined(__x86_64__)
  switch (vector_level()) {
    case Level::kAvx512: return run_avx512(body);
    case Level::kAvx2: return run_avx2(body);
    default: break;
  }
#endif
  body();
}

}  // namespace tased
