// Cuda::pool_unpool: Auxiliary pooling and max-unpooling in one kernel on a GPU. The kernels and their launches' plan
// are in pool_unpool.cuh.
#include "launch.h"
#include "pool_unpool.cuh"

namespace tased {

void Cuda::pool_unpool(const PoolGeometry& geometry, ScalarType dtype, const PoolUnpoolArgs& args, int device) {
  CudaLauncher launcher(device);
  launch_pool_unpool(geometry, dtype, args, launcher);
}

}  // namespace tased
