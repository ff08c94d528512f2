// The four element types: their bits, and in which type their gradients are summed.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "geometry.h"

namespace tased {

using Half = c10::Half;
using BFloat16 = c10::BFloat16;

// bits_t: an integer as wide, and infinity in it. sum_t: what overlapping gradients add up in, rounded once at the end.
template <class bits, bits infinity, class sum>
struct ScalarOf {
  using bits_t = bits;
  using sum_t = sum;
  static constexpr bits_t kInfinity = infinity;
};

template <class scalar_t>
struct Scalar {  // of bits that only move
  using sum_t = scalar_t;
};
template <>
struct Scalar<float> : ScalarOf<int32_t, 0x7f800000, float> {};
template <>
struct Scalar<double> : ScalarOf<int64_t, 0x7ff0000000000000, double> {};
template <>
struct Scalar<Half> : ScalarOf<int16_t, 0x7c00, float> {};
template <>
struct Scalar<BFloat16> : ScalarOf<int16_t, 0x7f80, float> {};

}  // namespace tased
