// From the map to the pooled grid: each thread takes a window, reads the element at its offset, and where only winners
// count looks at the later windows that cover the element. Neighbouring threads take neighbouring columns, or channels.
#pragma once

#include "dispatch.cuh"
#include "kernels.h"
#include "plan.cuh"

namespace tased {

template <class bits_t, class index_t>
struct GatherParams {
  PoolGeometry geometry;
  Tiling tiling;
  Packing windows;
  bool winners_only;
  View<const bits_t, index_t> map;       // [N, C, T, H, W]
  View<const uint8_t, index_t> offsets;  // [N, C, t, h, w]
  const uint8_t* frames;                 // [N, C, t, h, w] or null
  // outputs
  bits_t* values;  // [N, C, t, h, w]
};

// Whether a later window than `window` points to (row, column) as well; `offsets` is the frame's.
template <class index_t>
TASED_DEVICE bool overwritten(const Axis& h, const Axis& w, const View<const uint8_t, index_t>& offsets,
                              const Place& window, int32_t row, int32_t column) {
  for (int32_t i = window.row; i <= h.last_covering(row); ++i) {
    const int32_t first = i == window.row ? window.column + 1 : w.first_covering(column);
    for (int32_t j = first; j <= w.last_covering(column); ++j) {
      const int32_t offset = (row - h.start(i)) * w.kernel + column - w.start(j);
      if (load(offsets.at({i, j, window.lane})) == offset) return true;
    }
  }
  return false;
}

// The value for a window of temporal window t; `grid` and `map` are where the block's frame and volume begin.
template <class bits_t, class index_t>
TASED_DEVICE bits_t gather_window(const GatherParams<bits_t, index_t>& params, index_t grid, index_t map, int32_t t,
                                  const Place& window) {
  const Axis &axis = params.geometry.t, &h = params.geometry.h, &w = params.geometry.w;
  const auto offsets = params.offsets.from(grid);
  const int32_t area = h.kernel * w.kernel;
  int32_t offset = load(offsets.at(window));
  int32_t frame = axis.start(t);
  if (params.frames) {
    frame += load(params.frames + grid + offsets.strides.at(window));
  } else {
    frame += offset / area;
    offset %= area;
  }
  const int32_t row = h.start(window.row) + offset / w.kernel;
  const int32_t column = w.start(window.column) + offset % w.kernel;
  const bool valid = frame >= axis.begin(t) && frame < axis.end(t) && row >= h.begin(window.row) &&
                     row < h.end(window.row) && column >= w.begin(window.column) && column < w.end(window.column);
  if (!valid || (params.winners_only && overwritten(h, w, offsets, window, row, column))) return 0;
  return load(params.map.from(map + frame * params.map.strides.frame).at({row, column, window.lane}));
}

template <class bits_t, class index_t>
__global__ void __launch_bounds__(kMaxThreads, 1) gather_kernel(const GatherParams<bits_t, index_t> params) {
  const Tile tile = params.tiling.tile(blockIdx.x, params.geometry.h.windows, params.geometry.w.windows);
  for_frames<index_t>(params.tiling.outer, params.geometry.t.windows, [&](index_t volume, int32_t t) {
    const index_t grid = params.offsets.strides.frame_at(volume, t) + tile.lane;
    const index_t map = params.map.strides.frame_at(volume, 0) + tile.lane;
    for_items(params.windows, tile.rows, tile.columns, tile.lanes, [&](const Place& window) {
      store(params.values + grid + params.offsets.strides.at(window), gather_window(params, grid, map, t, window));
    });
  });
}

template <class bits_t, class index_t, class Launcher>
void launch_gather_of(const PoolGeometry& geometry, const GatherArgs& args, Launcher& launcher) {
  const int64_t frames = geometry.t.windows;
  GatherParams<bits_t, index_t> params{};
  params.geometry = geometry;
  params.tiling = Planner(geometry, {true, 1, kLanes, frames, 0, 0}, launcher.multiprocessors()).plan();
  params.windows = packing(geometry, params.tiling, params.tiling.strip, 1);
  params.winners_only = args.winners_only;
  params.map = map_view<index_t>(geometry, static_cast<const bits_t*>(args.map), 1);
  params.offsets = grid_view<index_t>(geometry, args.offsets, 1);
  params.frames = args.frames;
  params.values = static_cast<bits_t*>(args.values);
  const Launch launch =
      plan_launch(params.tiling, frames, int64_t{params.tiling.band} * params.windows.per_row.divisor, 0);
  launcher("gather", gather_kernel<bits_t, index_t>, launch, params);
}

template <class Launcher>
void launch_gather(const PoolGeometry& geometry, ScalarType dtype, const GatherArgs& args, Launcher& launcher) {
  with_bits(dtype, [&](auto bits) {
    with_index(geometry, launcher.index_limit(), [&](auto variant) {
      launch_gather_of<decltype(bits), typename decltype(variant)::index_t>(geometry, args, launcher);
    });
  });
}

}  // namespace tased
