// Auxiliary pooling and max-unpooling in one pass: a block walks down its tile in steps. A step's temporal maxima go to
// shared memory, its windows' switches as well, and from them whole packs of the unpooled rows are written; decoder
// values are read where a switch points. Windows at the seams of two tiles are pooled by both, and their switches
// stored by the one where they begin.
#pragma once

#include "dispatch.cuh"
#include "maxima.cuh"
#include "meet.cuh"
#include "plan.cuh"

namespace tased {

template <class scalar_t, class index_t>
struct PoolUnpoolParams {
  PoolGeometry geometry;
  Tiling tiling;
  Packing packs;                         // of the map, halo included
  Packing windows;                       // of the grid, halo included
  Packing unpooled_packs;                // of the tile
  View<const scalar_t, index_t> map;     // [N, C, T, H, W]
  View<const scalar_t, index_t> values;  // [N, C, t, h, w]
  // outputs
  uint8_t* switches;                 // [N, C, t, h, w] or null
  View<scalar_t, index_t> unpooled;  // [N, C, t, H, W]
};

template <class scalar_t, class Variant>
__global__ void __launch_bounds__(kMaxThreads, Variant::kBlocks)
    pool_unpool_kernel(const PoolUnpoolParams<scalar_t, typename Variant::index_t> params) {
  using index_t = typename Variant::index_t;
  const Axis &axis = params.geometry.t, h = Variant::fixed(params.geometry.h), w = Variant::fixed(params.geometry.w);
  const Tile tile = params.tiling.tile(blockIdx.x, h.size, w.size);
  const Range window_columns = windows_covering(w, tile.columns);
  const bool any = window_columns.begin < window_columns.end;
  const Range columns =
      any ? params.packs.whole({w.begin(window_columns.begin), w.end(window_columns.end - 1)}) : Range{0, 0};
  using TileMaxima = Maxima<scalar_t, Variant, false>;
  TileMaxima maxima(params.tiling.map, columns.begin, shared_memory());
  const WindowBytes switches(params.tiling.windows, window_columns.begin,
                             shared_memory() + TileMaxima::bytes_of_values(params.tiling.map));

  for_frames<index_t>(params.tiling.outer, axis.windows, [&](index_t volume, int32_t t) {
    const index_t grid = params.values.strides.frame_at(volume, t) + tile.lane;
    const KeptWindows<scalar_t, index_t> windows{switches, params.values.from(grid)};
    const auto map = params.map.from(params.map.strides.frame_at(volume, axis.begin(t)) + tile.lane);
    const auto unpooled = params.unpooled.from(params.unpooled.strides.frame_at(volume, t) + tile.lane);
    int32_t loaded = 0;
    const auto pool = [&](Range rows) {
      if (rows.begin < rows.end) {
        const Range map_rows{max(loaded, h.begin(rows.begin)), h.end(rows.end - 1)};
        maxima.load_rows(params.packs, map_rows, columns, tile, map, axis.end(t) - axis.begin(t));
        loaded = map_rows.end;
      }
      __syncthreads();
      for_items(params.windows, rows, window_columns, tile.lanes, [&](const Place& place) {
        const auto offset = static_cast<uint8_t>(maxima.best_offset(h, w, place));
        switches.at(place) = offset;
        const bool begins_here = tile.rows.has(h.begin(place.row)) && tile.columns.has(w.begin(place.column));
        if (params.switches && begins_here) store(params.switches + grid + params.values.strides.at(place), offset);
      });
    };
    walk(h, params.tiling.step, tile.rows, pool, [&](Range rows) {
      write_rows<Meet::kLastWindow, Variant>(h, w, params.unpooled_packs, rows, tile, windows, unpooled);
    });
  });
}

template <class scalar_t, class Variant, class Launcher>
void launch_pool_unpool_of(const PoolGeometry& geometry, const PoolUnpoolArgs& args, Launcher& launcher) {
  using index_t = typename Variant::index_t;
  constexpr int32_t kSize = kPackSize<scalar_t>;
  constexpr int32_t kBytes = sizeof(scalar_t);
  const int32_t frames = geometry.t.windows;
  const Tiling tiling =
      Planner(geometry, {false, kSize, 32 / kBytes, frames, kBytes, 1}, launcher.multiprocessors()).plan();
  PoolUnpoolParams<scalar_t, index_t> params{};
  params.geometry = geometry;
  params.tiling = tiling;
  params.packs = packing(geometry, tiling, tiling.map.columns, kSize);
  params.windows = packing(geometry, tiling, tiling.windows.columns, 1);
  params.unpooled_packs = packing(geometry, tiling, tiling.strip, kSize);
  params.map = map_view<index_t>(geometry, static_cast<const scalar_t*>(args.map), kSize);
  params.values = grid_view<index_t>(geometry, static_cast<const scalar_t*>(args.values), kSize);
  params.switches = args.switches;
  params.unpooled = view_of<index_t>(geometry, static_cast<scalar_t*>(args.unpooled), kSize, frames, geometry.h.size,
                                     geometry.w.size);
  const int64_t items = int64_t{tiling.map.rows.divisor} * params.packs.per_row.divisor;
  const Launch launch = plan_launch(
      tiling, frames, items, Maxima<scalar_t, Variant, false>::bytes_of_values(tiling.map) + tiling.windows.elements());
  launcher("pool_unpool", pool_unpool_kernel<scalar_t, Variant>, launch, params);
}

template <class Launcher>
void launch_pool_unpool(const PoolGeometry& geometry, ScalarType dtype, const PoolUnpoolArgs& args,
                        Launcher& launcher) {
  with_scalar(dtype, [&](auto scalar) {
    with_variant(geometry, launcher.index_limit(), [&](auto variant) {
      launch_pool_unpool_of<decltype(scalar), decltype(variant)>(geometry, args, launcher);
    });
  });
}

}  // namespace tased
