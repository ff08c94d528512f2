// Cuda::scatter: max-unpooling and the gradient of max-pooling on a GPU. The kernels and their launches' plan are in
// scatter.cuh.
#include "launch.h"
#include "scatter.cuh"

namespace tased {

void Cuda::scatter(const PoolGeometry& geometry, ScalarType dtype, const ScatterArgs& args, int device) {
  CudaLauncher launcher(device);
  launch_scatter(geometry, dtype, args, launcher);
}

}  // namespace tased
