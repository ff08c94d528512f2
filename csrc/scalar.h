// The four element types: how each is compared (as which key) and in which type its gradients are summed.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "geometry.h"

namespace tased {

using Half = c10::Half;
using BFloat16 = c10::BFloat16;

// key_t: what is_better compares. sum_t: what overlapping gradients add up in, rounded once at the end.
template <class scalar_t>
struct Scalar {
  using key_t = scalar_t;
  using sum_t = scalar_t;
  TASED_HOST_DEVICE static key_t key(scalar_t value) { return value; }
};

template <class scalar_t, uint16_t infinity>
struct HalfScalar {
  using key_t = int16_t;
  using sum_t = float;
  static constexpr uint16_t kInfinity = infinity;
  TASED_HOST_DEVICE static key_t key(scalar_t value) {
    return half_key(static_cast<int16_t>(value.x), static_cast<int16_t>(infinity));
  }
};

template <>
struct Scalar<Half> : HalfScalar<Half, 0x7c00> {};
template <>
struct Scalar<BFloat16> : HalfScalar<BFloat16, 0x7f80> {};

template <class scalar_t>
TASED_HOST_DEVICE bool value_is_better(scalar_t candidate, scalar_t best) {
  return is_better(Scalar<scalar_t>::key(candidate), Scalar<scalar_t>::key(best));
}

}  // namespace tased
