// Cuda::pool: pooling on a GPU, with and without Auxiliary pooling's temporal-first order. The kernels and their
// launches' plan are in pool.cuh.
#include "launch.h"
#include "pool.cuh"

namespace tased {

void Cuda::pool(const PoolGeometry& geometry, ScalarType dtype, const PoolArgs& args, int device) {
  CudaLauncher launcher(device);
  launch_pool(geometry, dtype, args, launcher);
}

}  // namespace tased
