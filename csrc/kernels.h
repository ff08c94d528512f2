// What a backend computes: four kernels on dense arrays. Every operator, forward and backward, is one of them. Shapes
// in comments are logical; memory order is the geometry's. Null outputs are not asked for.
#pragma once

#include <torch/headeronly/core/ScalarType.h>

#include <cstdint>

#include "geometry.h"

namespace tased {

using torch::headeronly::ScalarType;

// Which element is a window's best. kTemporalFirst (Auxiliary pooling): the maximum over the frames of each position,
// then the best position; ties go to the first position, then to its first frame. kVolume (3-D max-pooling): the best
// of the window's frames, rows and columns in row-major order; its values are always asked for.
enum class Scan { kTemporalFirst, kVolume };

struct PoolArgs {
  Scan scan;
  const void* map;  // [N, C, T, H, W]
  // outputs
  void* values;      // [N, C, t, h, w]
  uint8_t* offsets;  // [N, C, t, h, w] kTemporalFirst: row * kw + column; kVolume: (frame * kh + row) * kw + column
  uint8_t* frames;   // [N, C, t, h, w] kTemporalFirst: the frame within the window
};

// Puts every window's value at its arg-max element. Where windows meet: kLastWindow keeps the last one in row-major
// order (max-unpooling; its windows have one frame), kSum adds them in row-major order (the gradient of max-pooling).
enum class Meet { kLastWindow, kSum };

struct ScatterArgs {
  Meet meet;
  const void* values;      // [N, C, t, h, w]
  const uint8_t* offsets;  // [N, C, t, h, w] within the window's area where frames are given, else within its volume
  const uint8_t* frames;   // [N, C, t, h, w] or null
  // outputs
  void* map;  // [N, C, T, H, W], written whole
};

// Reads every window's value at its arg-max element: the transpose of scatter. With winners_only a window that
// kLastWindow would overwrite reads zero; frames are null and the offsets lie in one frame then (kt = st = 1).
struct GatherArgs {
  bool winners_only;
  const void* map;         // [N, C, T, H, W]
  const uint8_t* offsets;  // [N, C, t, h, w]
  const uint8_t* frames;   // [N, C, t, h, w] or null
  // outputs
  void* values;  // [N, C, t, h, w]
};

// Auxiliary pooling and max-unpooling in one pass; the pooled map itself is never stored.
struct PoolUnpoolArgs {
  const void* map;     // [N, C, T, H, W] the encoder's
  const void* values;  // [N, C, t, h, w] the decoder's
  // outputs
  uint8_t* switches;  // [N, C, t, h, w] or null
  void* unpooled;     // [N, C, t, H, W], written whole
};

// A backend implements these for float32, float64, float16 and bfloat16; `device` is the device's index.
#define TASED_BACKEND(name)                                                                                          \
  struct name {                                                                                                      \
    static void pool(const PoolGeometry& geometry, ScalarType dtype, const PoolArgs& args, int device);              \
    static void scatter(const PoolGeometry& geometry, ScalarType dtype, const ScatterArgs& args, int device);        \
    static void gather(const PoolGeometry& geometry, ScalarType dtype, const GatherArgs& args, int device);          \
    static void pool_unpool(const PoolGeometry& geometry, ScalarType dtype, const PoolUnpoolArgs& args, int device); \
  }

TASED_BACKEND(Cpu);
TASED_BACKEND(Cuda);

}  // namespace tased
