// What the kernels take from CUDA: packs, the two functions through which they touch global memory, shared memory.
// Another compiler than nvcc finds CUDA's words in simt.h of tests/simt instead, which runs the very same kernels on
// the host, counts the bytes they move and checks every address.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "scalar.h"

#if defined(__CUDACC__)
#define TASED_DEVICE __device__ __forceinline__
#else
#include "simt.h"
#define TASED_DEVICE inline
#endif

namespace tased {

constexpr int32_t kMaxThreads = 512;
constexpr int32_t kSharedBytes = 48 * 1024;  // of a block without asking the driver for more

// Neighbouring elements that move together, 16 bytes of them wherever alignment allows.
template <class value_t, int kSize>
struct alignas(sizeof(value_t) * kSize) Pack {
  value_t at[kSize];
};

template <class scalar_t>
constexpr int32_t kPackSize = 16 / sizeof(scalar_t);

// A pack moves as one machine word of its size, whatever its elements.
template <class value_t>
using word_of = std::conditional_t<
    sizeof(value_t) == 16, uint4,
    std::conditional_t<sizeof(value_t) == 8, uint2,
                       std::conditional_t<sizeof(value_t) == 4, uint32_t,
                                          std::conditional_t<sizeof(value_t) == 2, uint16_t, uint8_t>>>>;

template <class to_t, class from_t>
TASED_DEVICE to_t bits_as(const from_t& from) {
  static_assert(sizeof(to_t) == sizeof(from_t));
  to_t to;
  memcpy(&to, &from, sizeof(to_t));
  return to;
}

// Global memory, by intrinsics that the compiler does not split. What is loaded is never written by the same kernel, so
// it may come through the read-only cache.
template <class value_t>
TASED_DEVICE value_t load(const value_t* address) {
  const auto* word = reinterpret_cast<const word_of<value_t>*>(address);
#if defined(__CUDACC__)
  return bits_as<value_t>(__ldg(word));
#else
  simt::on_load(address, sizeof(value_t));
  return bits_as<value_t>(*word);
#endif
}

template <class value_t>
TASED_DEVICE void store(value_t* address, const value_t& value) {
  auto* word = reinterpret_cast<word_of<value_t>*>(address);
#if defined(__CUDACC__)
  __stwb(word, bits_as<word_of<value_t>>(value));
#else
  simt::on_store(address, sizeof(value_t));
  *word = bits_as<word_of<value_t>>(value);
#endif
}

// The block's dynamic shared memory.
TASED_DEVICE unsigned char* shared_memory() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char tased_shared_memory[];
  return tased_shared_memory;
#else
  return simt::shared_memory();
#endif
}

template <class value_t>
TASED_DEVICE void store_shared(void* address, const value_t& value) {
  *static_cast<word_of<value_t>*>(address) = bits_as<word_of<value_t>>(value);
}

// What is compared: a half type as the float that it is, which takes the device less than order_key does. The order is
// the same.
template <class scalar_t>
TASED_DEVICE auto comparable(scalar_t value) {
  if constexpr (sizeof(scalar_t) == 2) {
    return static_cast<float>(value);
  } else {
    return value;
  }
}

// Quotients by a number that the host knows, without a division: exact for dividends below 2^31.
struct Divider {
  int32_t divisor;
  uint32_t magic;
  uint32_t shift;

  static Divider by(int32_t divisor) {
    uint32_t log2 = 0;
    while ((int64_t{1} << log2) < divisor) ++log2;
    return {divisor, static_cast<uint32_t>((uint64_t{1} << (31 + log2)) / divisor + 1), 31 + log2};
  }
  TASED_DEVICE int32_t quotient(int32_t dividend) const {
    return static_cast<int32_t>((static_cast<uint64_t>(static_cast<uint32_t>(dividend)) * magic) >> shift);
  }
  TASED_DEVICE int32_t remainder(int32_t dividend) const { return dividend - quotient(dividend) * divisor; }
};

}  // namespace tased
