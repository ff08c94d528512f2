// Pooling on the device. Scan::kTemporalFirst: a block walks down its tile in steps; the step's temporal maxima go to
// shared memory, then each thread takes windows. Scan::kVolume over several frames: each thread takes the windows of a
// pack of channels (one window where contiguous) straight from global memory, whose caches serve the overlap.
#pragma once

#include "dispatch.cuh"
#include "kernels.h"
#include "maxima.cuh"
#include "plan.cuh"

namespace tased {

template <class scalar_t, class index_t>
struct PoolParams {
  PoolGeometry geometry;
  Tiling tiling;
  Packing packs;                      // of the map
  Packing windows;                    // of the grid
  View<const scalar_t, index_t> map;  // [N, C, T, H, W]
  // outputs
  View<scalar_t, index_t> values;  // [N, C, t, h, w] or null, as the others
  uint8_t* offsets;                // [N, C, t, h, w]
  uint8_t* frames;                 // [N, C, t, h, w]
};

template <class scalar_t, class Variant, bool kFrames>
__global__ void __launch_bounds__(kMaxThreads, Variant::kBlocks)
    pool_kernel(const PoolParams<scalar_t, typename Variant::index_t> params) {
  using index_t = typename Variant::index_t;
  const Axis &axis = params.geometry.t, h = Variant::fixed(params.geometry.h), w = Variant::fixed(params.geometry.w);
  const Tile tile = params.tiling.tile(blockIdx.x, h.windows, w.windows);
  const Range columns = params.packs.whole({w.begin(tile.columns.begin), w.end(tile.columns.end - 1)});
  Maxima<scalar_t, Variant, kFrames> maxima(params.tiling.map, columns.begin, shared_memory());
  for_frames<index_t>(params.tiling.outer, axis.windows, [&](index_t volume, int32_t t) {
    const auto map = params.map.from(params.map.strides.frame_at(volume, axis.begin(t)) + tile.lane);
    const index_t grid = params.values.strides.frame_at(volume, t) + tile.lane;
    int32_t loaded = 0;
    for (int32_t first = tile.rows.begin; first < tile.rows.end; first += params.tiling.step) {
      const Range step{first, min(first + params.tiling.step, tile.rows.end)};
      const Range rows{max(loaded, h.begin(step.begin)), h.end(step.end - 1)};
      maxima.load_rows(params.packs, rows, columns, tile, map, axis.end(t) - axis.begin(t));
      loaded = rows.end;
      __syncthreads();
      for_items(params.windows, step, tile.columns, tile.lanes, [&](const Place& place) {
        const int32_t offset = maxima.best_offset(h, w, place);
        const Place best{h.start(place.row) + offset / w.kernel, w.start(place.column) + offset % w.kernel, place.lane};
        const index_t at = grid + params.values.strides.at(place);
        if (params.values.memory) store(params.values.memory + at, maxima.value(best));
        if (params.offsets) store(params.offsets + at, static_cast<uint8_t>(offset));
        if constexpr (kFrames) store(params.frames + at, maxima.frame(best));
      });
      __syncthreads();
    }
  });
}

// A window of temporal window t in each of a pack of channels; `volume` and `grid` are where those begin.
template <int kSize, class scalar_t, class index_t>
TASED_DEVICE void pool_volume(const PoolParams<scalar_t, index_t>& params, const View<const scalar_t, index_t>& volume,
                              index_t grid, int32_t t, const Place& window) {
  using Packed = Pack<scalar_t, kSize>;
  const Axis &axis = params.geometry.t, &h = params.geometry.h, &w = params.geometry.w;
  Packed best{};
  Pack<int32_t, kSize> offset{};
  bool first = true;
  for (int32_t frame = axis.begin(t); frame < axis.end(t); ++frame) {
    for (int32_t row = h.begin(window.row); row < h.end(window.row); ++row) {
      const int32_t y = (frame - axis.start(t)) * h.kernel + row - h.start(window.row);
#pragma unroll 4
      for (int32_t column = w.begin(window.column); column < w.end(window.column); ++column) {
        const scalar_t* from = volume.at({row, column, window.lane}) + frame * volume.strides.frame;
        const Packed candidate = load(reinterpret_cast<const Packed*>(from));
#pragma unroll
        for (int v = 0; v < kSize; ++v) {
          if (!first && !is_better(comparable(candidate.at[v]), comparable(best.at[v]))) continue;
          best.at[v] = candidate.at[v];
          offset.at[v] = y * w.kernel + column - w.start(window.column);
        }
        first = false;
      }
    }
  }
  const index_t at = grid + params.values.strides.at(window);
  if (params.values.memory) store(reinterpret_cast<Packed*>(params.values.memory + at), best);
  if (params.offsets) {
    Pack<uint8_t, kSize> bytes;
#pragma unroll
    for (int v = 0; v < kSize; ++v) bytes.at[v] = static_cast<uint8_t>(offset.at[v]);
    store(reinterpret_cast<Pack<uint8_t, kSize>*>(params.offsets + at), bytes);
  }
}

template <class scalar_t, class index_t, int kSize>
__global__ void __launch_bounds__(kMaxThreads, 1) pool_volume_kernel(const PoolParams<scalar_t, index_t> params) {
  const Tile tile = params.tiling.tile(blockIdx.x, params.geometry.h.windows, params.geometry.w.windows);
  for_frames<index_t>(params.tiling.outer, params.geometry.t.windows, [&](index_t volume, int32_t t) {
    const auto map = params.map.from(params.map.strides.frame_at(volume, 0) + tile.lane);
    const index_t grid = params.values.strides.frame_at(volume, t) + tile.lane;
    for_items(params.windows, tile.rows, tile.columns, tile.lanes,
              [&](const Place& window) { pool_volume<kSize>(params, map, grid, t, window); });
  });
}

template <class scalar_t, class index_t>
PoolParams<scalar_t, index_t> pool_params(const PoolGeometry& geometry, const PoolArgs& args, const Tiling& tiling) {
  constexpr int32_t kSize = kPackSize<scalar_t>;
  return {geometry,
          tiling,
          packing(geometry, tiling, tiling.map.columns, kSize),
          packing(geometry, tiling, tiling.strip, 1),
          map_view<index_t>(geometry, static_cast<const scalar_t*>(args.map), kSize),
          grid_view<index_t>(geometry, static_cast<scalar_t*>(args.values), kSize),
          args.offsets,
          args.frames};
}

template <class scalar_t, class Variant, class Launcher>
void launch_pool_tiles(const PoolGeometry& geometry, const PoolArgs& args, Launcher& launcher) {
  constexpr int32_t kSize = kPackSize<scalar_t>;
  constexpr int32_t kBytes = sizeof(scalar_t);
  const int64_t frames = geometry.t.windows;
  const int32_t bytes = kBytes + (args.frames ? 1 : 0);
  const Tiling tiling =
      Planner(geometry, {true, kSize, 32 / kBytes, frames, bytes, 0}, launcher.multiprocessors()).plan();
  const auto params = pool_params<scalar_t, typename Variant::index_t>(geometry, args, tiling);
  const int64_t rows = tiling.map.rows.divisor;
  const Launch launch =
      plan_launch(tiling, frames, rows * params.packs.per_row.divisor, int64_t{tiling.map.elements()} * bytes);
  if (args.frames) {
    launcher("pool", pool_kernel<scalar_t, Variant, true>, launch, params);
  } else {
    launcher("pool", pool_kernel<scalar_t, Variant, false>, launch, params);
  }
}

template <class scalar_t, class index_t, class Launcher>
void launch_pool_volume(const PoolGeometry& geometry, const PoolArgs& args, Launcher& launcher) {
  constexpr int32_t kSize = kPackSize<scalar_t>;
  const int64_t frames = geometry.t.windows;
  const Tiling tiling = Planner(geometry, {true, kSize, kLanes, frames, 0, 0}, launcher.multiprocessors()).plan();
  auto params = pool_params<scalar_t, index_t>(geometry, args, tiling);
  const bool packs = geometry.channels_last && params.map.aligned && params.values.aligned &&
                     grid_view<index_t>(geometry, args.offsets, kSize).aligned;
  if (packs) params.windows = packing(geometry, tiling, tiling.strip, kSize);
  const Launch launch = plan_launch(tiling, frames, int64_t{tiling.band} * params.windows.per_row.divisor, 0);
  if (packs) {
    launcher("pool_volume", pool_volume_kernel<scalar_t, index_t, kSize>, launch, params);
  } else {
    launcher("pool_volume", pool_volume_kernel<scalar_t, index_t, 1>, launch, params);
  }
}

template <class Launcher>
void launch_pool(const PoolGeometry& geometry, ScalarType dtype, const PoolArgs& args, Launcher& launcher) {
  // Over one frame the two scans are one.
  const bool tiles = args.scan == Scan::kTemporalFirst || geometry.t.kernel == 1;
  with_scalar(dtype, [&](auto scalar) {
    using scalar_t = decltype(scalar);
    if (tiles) {
      with_variant(geometry, launcher.index_limit(),
                   [&](auto variant) { launch_pool_tiles<scalar_t, decltype(variant)>(geometry, args, launcher); });
    } else {
      with_index(geometry, launcher.index_limit(), [&](auto variant) {
        launch_pool_volume<scalar_t, typename decltype(variant)::index_t>(geometry, args, launcher);
      });
    }
  });
}

}  // namespace tased
