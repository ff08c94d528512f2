// Cpu::pool and Cpu::pool_unpool: the element type chosen.
#include "pool.h"

#include "parallel.h"

namespace tased {

void Cpu::pool(const PoolGeometry& geometry, ScalarType dtype, const PoolArgs& args, int) {
  dispatch(dtype, [&](auto zero) { tased::pool<decltype(zero)>(geometry, args); });
}

void Cpu::pool_unpool(const PoolGeometry& geometry, ScalarType dtype, const PoolUnpoolArgs& args, int) {
  dispatch(dtype, [&](auto zero) { tased::pool_unpool<decltype(zero)>(geometry, args); });
}

}  // namespace tased
