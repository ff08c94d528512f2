// Pooling, and pooling with unpooling, of one element type. Each type is compiled in a file of its own
// (pool_float32.cpp …): most of the library's vector loops are in these.
#pragma once

#include "../kernels.h"

namespace tased {

template <class scalar_t>
void pool(const PoolGeometry& geometry, const PoolArgs& args);

template <class scalar_t>
void pool_unpool(const PoolGeometry& geometry, const PoolUnpoolArgs& args);

}  // namespace tased
