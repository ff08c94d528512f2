// From the pooled grid to the map. Max-unpooling (Meet::kLastWindow, windows of one frame): a block walks down its tile
// in steps whose switches it keeps in shared memory, so that they come from global memory once. The gradient of
// max-pooling (Meet::kSum): offsets come straight from global memory, whose caches serve the windows that overlap in
// time and plane.
#pragma once

#include "dispatch.cuh"
#include "meet.cuh"
#include "plan.cuh"

namespace tased {

template <class scalar_t, class index_t>
struct ScatterParams {
  PoolGeometry geometry;
  Tiling tiling;
  Packing packs;                         // of the map
  Packing windows;                       // of the grid
  View<const scalar_t, index_t> values;  // [N, C, t, h, w]
  View<const uint8_t, index_t> offsets;  // [N, C, t, h, w]
  const uint8_t* frames;                 // [N, C, t, h, w] or null
  // outputs
  View<scalar_t, index_t> map;  // [N, C, T, H, W]
};

template <class bits_t, class Variant>
__global__ void __launch_bounds__(kMaxThreads, Variant::kBlocks)
    scatter_last_kernel(const ScatterParams<bits_t, typename Variant::index_t> params) {
  using index_t = typename Variant::index_t;
  const Axis h = Variant::fixed(params.geometry.h);
  const Axis w = Variant::fixed(params.geometry.w);
  const Tile tile = params.tiling.tile(blockIdx.x, h.size, w.size);
  const Range columns = params.windows.whole(windows_covering(w, tile.columns));
  const WindowBytes switches(params.tiling.windows, columns.begin, shared_memory());
  for_frames<index_t>(params.tiling.outer, params.geometry.t.size, [&](index_t volume, int32_t t) {
    const index_t grid = params.offsets.strides.frame_at(volume, t) + tile.lane;
    const KeptWindows<bits_t, index_t> windows{switches, params.values.from(grid)};
    const auto map = params.map.from(params.map.strides.frame_at(volume, t) + tile.lane);
    const auto take_in = [&](Range rows) {
      __syncthreads();
      switches.load_rows(params.windows, rows, columns, tile, params.offsets.from(grid));
    };
    walk(h, params.tiling.step, tile.rows, take_in,
         [&](Range rows) { write_rows<Meet::kLastWindow, Variant>(h, w, params.packs, rows, tile, windows, map); });
  });
}

template <class scalar_t, class Variant>
__global__ void __launch_bounds__(kMaxThreads, 1)
    scatter_sum_kernel(const ScatterParams<scalar_t, typename Variant::index_t> params) {
  using index_t = typename Variant::index_t;
  const Axis &t = params.geometry.t, h = Variant::fixed(params.geometry.h), w = Variant::fixed(params.geometry.w);
  const Tile tile = params.tiling.tile(blockIdx.x, h.size, w.size);
  for_frames<index_t>(params.tiling.outer, t.size, [&](index_t volume, int32_t frame) {
    const index_t grid = params.offsets.strides.frame_at(volume, 0) + tile.lane;
    const GlobalWindows<scalar_t, index_t> windows{params.offsets.memory + grid,
                                                   params.frames ? params.frames + grid : nullptr,
                                                   params.values.from(grid),
                                                   t,
                                                   frame,
                                                   h.kernel * w.kernel,
                                                   windows_covering(t, {frame, frame + 1})};
    write_rows<Meet::kSum, Variant>(h, w, params.packs, tile.rows, tile, windows,
                                    params.map.from(params.map.strides.frame_at(volume, frame) + tile.lane));
  });
}

template <class scalar_t, class Variant, class Launcher>
void launch_scatter_of(const PoolGeometry& geometry, const ScatterArgs& args, Launcher& launcher) {
  using index_t = typename Variant::index_t;
  constexpr int32_t kSize = kPackSize<scalar_t>;
  constexpr bool kLast = std::is_integral_v<scalar_t>;
  const Demand demand{false, kSize, kLast ? 32 : kLanes, geometry.t.size, 0, kLast ? 1 : 0};
  const Tiling tiling = Planner(geometry, demand, launcher.multiprocessors()).plan();
  ScatterParams<scalar_t, index_t> params{};
  params.geometry = geometry;
  params.tiling = tiling;
  params.packs = packing(geometry, tiling, tiling.strip, kSize);
  params.windows = packing(geometry, tiling, tiling.windows.columns, WindowBytes::kSize);
  params.values = grid_view<index_t>(geometry, static_cast<const scalar_t*>(args.values), kSize);
  params.offsets = grid_view<index_t>(geometry, args.offsets, WindowBytes::kSize);
  params.frames = args.frames;
  params.map = map_view<index_t>(geometry, static_cast<scalar_t*>(args.map), kSize);

  const int64_t rows = std::min<int64_t>(int64_t{tiling.step} * geometry.h.stride, tiling.band);
  const Launch launch =
      plan_launch(tiling, demand.frames, rows * params.packs.per_row.divisor, kLast ? tiling.windows.elements() : 0);
  if constexpr (kLast) {
    launcher("scatter_last", scatter_last_kernel<scalar_t, Variant>, launch, params);
  } else {
    launcher("scatter_sum", scatter_sum_kernel<scalar_t, Variant>, launch, params);
  }
}

template <class Launcher>
void launch_scatter(const PoolGeometry& geometry, ScalarType dtype, const ScatterArgs& args, Launcher& launcher) {
  const auto launch = [&](auto scalar) {
    with_variant(geometry, launcher.index_limit(), [&](auto variant) {
      launch_scatter_of<decltype(scalar), decltype(variant)>(geometry, args, launcher);
    });
  };
  if (args.meet == Meet::kSum) {
    with_scalar(dtype, launch);
  } else {
    with_bits(dtype, launch);
  }
}

}  // namespace tased
