// Kernels with a fault each, to prove that the shim sees it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "device.cuh"

namespace simt {

struct FaultParams {
  const float* input;  // [64]
  float* output;       // [64]
};

inline void read_beyond(const FaultParams params) {
  tased::store(params.output + threadIdx.x, tased::load(params.input + threadIdx.x + 1));
}

inline void write_beyond(const FaultParams params) { tased::store(params.output + threadIdx.x + 1, 1.0f); }

inline void write_input(const FaultParams params) {
  tased::store(const_cast<float*>(params.input) + threadIdx.x, 1.0f);
}

inline void misaligned_pack(const FaultParams params) {
  tased::load(reinterpret_cast<const tased::Pack<float, 4>*>(params.input + threadIdx.x));
}

inline void early_exit(const FaultParams) {
  if (threadIdx.x == 63) return;
  __syncthreads();
}

inline void two_barriers(const FaultParams) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

// Only AddressSanitizer sees this one.
inline void write_beyond_shared(const FaultParams) { shared_memory()[256] = 0; }

// Without a barrier what a thread reads depends on the order of threads.
inline void missing_barrier(const FaultParams params) {
  auto* shared = reinterpret_cast<float*>(shared_memory());
  shared[threadIdx.x] = static_cast<float>(threadIdx.x);
  tased::store(params.output + threadIdx.x, shared[63 - threadIdx.x]);
}

inline std::vector<float> run_fault(const std::string& name, uint64_t seed) {
  static const std::map<std::string, void (*)(FaultParams)> faults{
      {"read_beyond", read_beyond},         {"write_beyond", write_beyond},
      {"write_input", write_input},         {"misaligned_pack", misaligned_pack},
      {"early_exit", early_exit},           {"two_barriers", two_barriers},
      {"missing_barrier", missing_barrier}, {"write_beyond_shared", write_beyond_shared}};
  const std::vector<float> input(64);
  std::vector<float> output(64);
  Traffic traffic;
  traffic.arrays.push_back({"input", reinterpret_cast<const char*>(input.data()), 256, false});
  traffic.arrays.push_back({"output", reinterpret_cast<const char*>(output.data()), 256, true});
  Play play;
  play.seed = seed;
  launch(name, dim3(1), 64, 256, play, traffic, [&] { faults.at(name)({input.data(), output.data()}); });
  return output;
}

}  // namespace simt
