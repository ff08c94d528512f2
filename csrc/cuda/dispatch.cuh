// From run-time values to template parameters: dtype, window size, index width. A generic lambda takes a value of the
// type.
#pragma once

#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <stdexcept>

#include "tile.cuh"

namespace tased {

using torch::headeronly::ScalarType;

template <class F>
void with_scalar(ScalarType dtype, F&& f) {
  switch (dtype) {
    case ScalarType::Float: return f(float{});
    case ScalarType::Double: return f(double{});
    case ScalarType::Half: return f(Half{});
    case ScalarType::BFloat16: return f(BFloat16{});
    default: throw std::logic_error("a kernel for a dtype that the checks refuse");
  }
}

// For kernels that only copy: an unsigned integer of the dtype's size.
template <class F>
void with_bits(ScalarType dtype, F&& f) {
  with_scalar(dtype, [&](auto scalar) {
    if constexpr (sizeof(scalar) == 2) {
      f(uint16_t{});
    } else if constexpr (sizeof(scalar) == 4) {
      f(uint32_t{});
    } else {
      f(uint64_t{});
    }
  });
}

// Whether 32 bits hold every index, which end below `limit` then.
template <class F>
void with_index(const PoolGeometry& geometry, int64_t limit, F&& f) {
  if (std::max(geometry.map_numel(), geometry.grid_numel()) > limit) {
    f(Variant<0, 0, 0, int64_t>{});
  } else {
    f(Variant<0, 0, 0, int32_t>{});
  }
}

// The same, with the window sizes of S3D's and most other networks' poolings apart from the rest.
template <class F>
void with_variant(const PoolGeometry& geometry, int64_t limit, F&& f) {
  const Axis &h = geometry.h, &w = geometry.w;
  const auto is = [&](int32_t kernel, int32_t stride, int32_t padding) {
    return h.kernel == kernel && w.kernel == kernel && h.stride == stride && w.stride == stride &&
           h.padding == padding && w.padding == padding;
  };
  with_index(geometry, limit, [&](auto any) {
    if constexpr (sizeof(typename decltype(any)::index_t) == 4) {
      if (is(3, 2, 1)) return f(Variant<3, 2, 1, int32_t>{});
      if (is(2, 2, 0)) return f(Variant<2, 2, 0, int32_t>{});
    }
    f(any);
  });
}

}  // namespace tased
