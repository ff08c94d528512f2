// How the .cu files launch a plan: on the tensor's device, on PyTorch's current stream, and with the launch checked.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include <limits>

#include "plan.cuh"

namespace tased {

class CudaLauncher {
 public:
  explicit CudaLauncher(int device) : guard_(device) {
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream_));
    STD_CUDA_CHECK(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, device));
  }

  int32_t multiprocessors() const { return multiprocessors_; }
  int64_t index_limit() const { return std::numeric_limits<int32_t>::max(); }

  template <class Params>
  void operator()(const char* /*name*/, void (*kernel)(Params), const Launch& launch, const Params& params) const {
    kernel<<<launch.grid, launch.threads, launch.shared_bytes, static_cast<cudaStream_t>(stream_)>>>(params);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }

 private:
  torch::stable::accelerator::DeviceGuard guard_;
  void* stream_ = nullptr;
  int multiprocessors_ = 0;
};

}  // namespace tased
