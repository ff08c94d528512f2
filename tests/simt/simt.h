// CUDA's words for a host compiler, so that csrc/cuda/*.cuh runs here as it is: every thread of a block is a fiber that
// runs until the next barrier. Global accesses are checked against the arrays that were lent to the kernel, and
// counted: in bytes, and in the sectors that a GPU moves.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __syncthreads() ::simt::barrier(__FILE__, __LINE__)

struct uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct dim3 {
  uint32_t x, y, z;
  dim3(uint32_t x = 1, uint32_t y = 1, uint32_t z = 1) : x(x), y(y), z(z) {}
};

// Of the thread that runs.
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

inline int32_t min(int32_t a, int32_t b) { return a < b ? a : b; }
inline int32_t max(int32_t a, int32_t b) { return a < b ? b : a; }

// Pairs of half types, and the comparisons that give a mask over each.
struct __half2 {
  c10::Half x, y;
};
struct __nv_bfloat162 {
  c10::BFloat16 x, y;
};

namespace simt {

constexpr uint32_t pair_mask(bool low, bool high) { return (low ? 0xffffu : 0u) | (high ? 0xffff0000u : 0u); }

template <class pair_t>
uint32_t greater_mask(pair_t a, pair_t b) {
  return pair_mask(static_cast<float>(a.x) > static_cast<float>(b.x),
                   static_cast<float>(a.y) > static_cast<float>(b.y));
}

// Not equal or unordered.
template <class pair_t>
uint32_t unequal_mask(pair_t a, pair_t b) {
  return pair_mask(!(static_cast<float>(a.x) == static_cast<float>(b.x)),
                   !(static_cast<float>(a.y) == static_cast<float>(b.y)));
}

}  // namespace simt

inline uint32_t __hgt2_mask(__half2 a, __half2 b) { return simt::greater_mask(a, b); }
inline uint32_t __hgt2_mask(__nv_bfloat162 a, __nv_bfloat162 b) { return simt::greater_mask(a, b); }
inline uint32_t __hneu2_mask(__half2 a, __half2 b) { return simt::unequal_mask(a, b); }
inline uint32_t __hneu2_mask(__nv_bfloat162 a, __nv_bfloat162 b) { return simt::unequal_mask(a, b); }

namespace simt {

constexpr size_t kSectorBytes = 32;  // what a GPU's caches and memory move at least

// Memory that a kernel may load from or store to, and what it did there, in bytes.
struct Array {
  std::string name;
  const char* begin;
  size_t bytes;
  bool output;
  int64_t moved = 0;      // by all accesses: loads of an input, stores to an output
  int64_t by_blocks = 0;  // in sectors, each once for every block that touches it: what goes through the L2 cache
  int64_t once = 0;       // in sectors, each once: what goes to memory where the L2 cache holds what blocks share
};

struct Traffic {
  std::vector<Array> arrays;
  int64_t wide_loaded = 0;  // bytes, of them in accesses of 16
  int64_t wide_stored = 0;
  int64_t launches = 0;
  // Of the last launch.
  std::string kernel;      // its symbol
  int64_t index_bits = 0;  // that its offsets into the tensors have
  dim3 grid;
  int64_t threads = 0;          // of a block
  int64_t played_threads = 0;   // of all blocks that ran
  int64_t working_threads = 0;  // of them that touched global memory
  int64_t shared_bytes = 0;     // of a block
};

// How a launch is played. Two seeds differ in the order of blocks and threads and in what shared memory holds at first.
struct Play {
  uint64_t seed = 0;             // 0: one after another
  uint32_t most_blocks = 65535;  // along y and z
  uint32_t last_blocks = 0;      // run only these many of the grid, the last ones; 0: all
};

// The symbol of a kernel, which nvcc gives it as well.
std::string symbol_of(const void* kernel);

void launch(const std::string& name, dim3 grid, uint32_t threads, size_t shared_bytes, const Play& play,
            Traffic& traffic, const std::function<void()>& kernel);

// What kernels call.
void barrier(const char* file, int line);
void on_load(const void* address, size_t bytes);
void on_store(const void* address, size_t bytes);
unsigned char* shared_memory();

}  // namespace simt
