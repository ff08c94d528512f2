// Rows of a map shared among torch's threads, and the element type chosen: what every CPU kernel begins with.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>

#include "../kernels.h"
#include "../scalar.h"

namespace tased {

// Bytes of a map that a core works on at a time, so that they and what is made of them stay in its caches.
constexpr int64_t kTileBytes = int64_t{1} << 15;

// Calls body(begin, end) on runs of rows, each worth at least 64 KiB of memory traffic, so that small maps stay on one
// thread.
template <class Body>
void parallel_rows(int64_t rows, int64_t bytes_per_row, const Body& body) {
  constexpr int64_t kGrainBytes = int64_t{1} << 16;
  const int64_t grain = std::max<int64_t>(kGrainBytes / std::max<int64_t>(bytes_per_row, 1), 1);
  torch::stable::parallel_for(0, rows, grain, body);
}

// Calls body(scalar_t{}).
template <class Body>
void dispatch(ScalarType dtype, const Body& body) {
  switch (dtype) {
    case ScalarType::Float: return body(float{});
    case ScalarType::Double: return body(double{});
    case ScalarType::Half: return body(Half{});
    case ScalarType::BFloat16: return body(BFloat16{});
    default: throw std::runtime_error("tased_ext has no kernel for this dtype");
  }
}

}  // namespace tased
