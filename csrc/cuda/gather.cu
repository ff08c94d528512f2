// Cuda::gather: the gradient of max-unpooling on a GPU. The kernels and their launches' plan are in gather.cuh.
#include "gather.cuh"
#include "launch.h"

namespace tased {

void Cuda::gather(const PoolGeometry& geometry, ScalarType dtype, const GatherArgs& args, int device) {
  CudaLauncher launcher(device);
  launch_gather(geometry, dtype, args, launcher);
}

}  // namespace tased
