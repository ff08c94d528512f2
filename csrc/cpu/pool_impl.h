// What pool.h declares. Threads share tiles of windows (pool_tiles.h).
#pragma once

#include "pool.h"
#include "pool_plan.h"
#include "scatter_tiles.h"

namespace tased {

// A tile is pooled for one temporal window or, where these overlap, for a run of them: frames are pooled once, then the
// windows over time.
template <class scalar_t, bool kValues, bool kTags, template <class, bool, bool> class TileOf>
void pool_tiles(const PoolGeometry& g, const PoolArgs& args) {
  using L = Lane<scalar_t>;
  using key_t = typename L::template key_t<kValues>;
  using tag_t = typename L::tag_t;
  using Pool = TileOf<scalar_t, kValues, kTags>;
  const bool by_frame = args.scan == Scan::kVolume && g.t.kernel > 1;
  const PoolPlan plan(g, sizeof(scalar_t), by_frame);
  const int64_t units = plan.units(g);
  const int64_t bytes = g.map_numel() * static_cast<int64_t>(sizeof(scalar_t)) / units;
  parallel_rows(units, bytes, [&](int64_t begin, int64_t end) {
    Tile most = plan.most();
    Pool pool(g, args, most);
    if (!by_frame) most.i = {0, Pool::rows_at_once(most)};
    const int64_t most_lanes = Pool::shape(g, most).all();
    const int64_t slots = by_frame ? g.t.kernel + 1 : 1;
    Buffer<key_t> keys(most_lanes * slots);
    Buffer<tag_t> tags(kTags ? most_lanes * slots : 0);
    const auto in_slot = [&](int64_t k, const Tile& tile, int64_t plane, void* grid) {
      const Lanes<key_t, tag_t> slot{{keys.data() + k * most_lanes, 0},
                                     {kTags ? tags.data() + k * most_lanes : nullptr, 0}};
      return Pool::target(g, tile, plane, slot, grid);
    };
    BestOf<scalar_t, kValues, kTags> best_of;
    std::vector<Candidate<key_t, tag_t>> candidates;
    const auto pool_by_frame = [&](const Tile& tile, const Range& times) {
      int32_t pooled = 0;
      for (auto t = static_cast<int32_t>(times.begin); t < times.end; ++t) {
        const int64_t plane = tile.volume * g.t.windows + t;
        candidates.clear();
        for (int32_t f = g.t.begin(t); f < g.t.end(t); ++f) {
          const Lanes<key_t, tag_t> one = in_slot(1 + f % g.t.kernel, tile, plane, nullptr);
          if (f >= pooled) {
            pool.begin();
            pool.pool(tile, {f, f + 1}, one);
          }
          candidates.push_back({one, (f - g.t.start(t)) * g.window_area()});
        }
        pooled = g.t.end(t);
        const Lanes<key_t, tag_t> result = in_slot(0, tile, plane, args.values);
        const LanesShape shape = Pool::shape(g, tile);
        best_of(candidates, true, result, shape.rows, shape.lanes);
        pool.store(tile, result, plane, args, (g.t.begin(t) - g.t.start(t)) * g.window_area());
      }
    };
    const auto pool_folded = [&](const Tile& tile, const Range& times) {
      for (auto t = static_cast<int32_t>(times.begin); t < times.end; ++t) {
        const int64_t plane = tile.volume * g.t.windows + t;
        pool.begin();
        for_rows(tile, Pool::rows_at_once(tile), [&](const Tile& rows) {
          const Lanes<key_t, tag_t> result = in_slot(0, rows, plane, args.values);
          pool.pool_to_grid(rows, {g.t.begin(t), g.t.end(t)}, result, plane, args);
        });
      }
    };
    for (int64_t unit = begin; unit < end; ++unit) {
      if (by_frame) {
        plan.at(unit, pool_by_frame);
      } else {
        plan.at(unit, pool_folded);
      }
    }
  });
}

template <class scalar_t, bool kValues, bool kTags>
void pool_layouts(const PoolGeometry& g, const PoolArgs& args) {
  if (g.channels_last) {
    pool_tiles<scalar_t, kValues, kTags, ChannelsLastTile>(g, args);
  } else {
    pool_tiles<scalar_t, kValues, kTags, ContiguousTile>(g, args);
  }
}

template <class scalar_t>
void pool(const PoolGeometry& geometry, const PoolArgs& args) {
  if (args.values == nullptr) {
    pool_layouts<scalar_t, false, true>(geometry, args);
  } else if (args.offsets == nullptr) {
    pool_layouts<scalar_t, true, false>(geometry, args);
  } else {
    pool_layouts<scalar_t, true, true>(geometry, args);
  }
}

// Threads share runs of rows of windows. The windows that meet a run's rows of the map are pooled, then the rows are
// built while the switches are in cache.
template <class scalar_t, template <class, bool, bool> class TileOf, template <class, Meet> class ScatterOf>
void pool_unpool_tiles(const PoolGeometry& g, const PoolUnpoolArgs& args) {
  using tag_t = typename Lane<scalar_t>::tag_t;
  using Pool = TileOf<scalar_t, false, true>;
  const Planes planes(g);
  const PoolPlan plan(g, sizeof(scalar_t), false);
  // One frame of the unpooled map (with channels last, of all channels), whose windows have one frame.
  const PoolGeometry one_frame{1, planes.lanes, {1, 1, 1, 1, 0}, g.h, g.w, g.channels_last};

  constexpr int64_t kFewestRows = 8;  // of windows, of which some are pooled for the run before as well
  const int64_t row_bytes = planes.map_row * static_cast<int64_t>(sizeof(scalar_t));
  const Parts runs(g.h.windows, std::max(kTileBytes / (row_bytes * g.h.stride), kFewestRows));
  const int64_t behind = (g.h.kernel - 1) / g.h.stride;
  const auto map_rows = [&](const Range& i) {
    const int64_t begin = i.begin == 0 ? 0 : i.begin * g.h.stride - g.h.padding;
    const int64_t end = i.end == g.h.windows ? g.h.size : i.end * g.h.stride - g.h.padding;
    return Range{std::clamp<int64_t>(begin, 0, g.h.size), std::clamp<int64_t>(end, 0, g.h.size)};
  };
  int64_t most_rows = 1;
  for (int64_t k = 0; k < runs.count(); ++k) most_rows = std::max(most_rows, map_rows(runs[k]).size());

  const int64_t units = planes.volumes * g.t.windows * runs.count();
  const int64_t bytes = row_bytes * g.h.size * (g.t.kernel + 1) / runs.count();
  parallel_rows(units, bytes, [&](int64_t begin, int64_t end) {
    Tile most = plan.most();
    most.i = {0, std::min<int64_t>(runs.largest() + behind, g.h.windows)};
    Buffer<uint8_t> switches(planes.grid_plane);
    const PoolArgs pool_args{Scan::kTemporalFirst, args.map, nullptr, switches.data(), nullptr};
    Pool pool(g, pool_args, most);
    ScatterArgs unpool_args{Meet::kLastWindow, nullptr, switches.data(), nullptr, nullptr};
    ScatterOf<scalar_t, Meet::kLastWindow> unpool(one_frame, unpool_args, {{0, 1}, {0, most_rows}});
    most.i = {0, Pool::rows_at_once(most)};
    const int64_t lanes = Pool::shape(g, most).all();
    Buffer<tag_t> keys(lanes);
    Buffer<tag_t> tags(lanes);
    for (int64_t unit = begin; unit < end; ++unit) {
      const Range i = runs[unit % runs.count()];
      const int64_t plane = unit / runs.count();
      const auto t = static_cast<int32_t>(plane % g.t.windows);
      Tile tile{plane / g.t.windows, {std::max<int64_t>(i.begin - behind, 0), i.end}, {}, {}};
      for (int64_t column = 0; column < plan.columns.count(); ++column) {
        tile.j = plan.columns[column];
        for (int64_t run = 0; run < plan.channels.count(); ++run) {
          tile.channels = plan.channels[run];
          const Lanes<tag_t, tag_t> scratch{{keys.data(), 0}, {tags.data(), 0}};
          pool.begin();
          for_rows(tile, Pool::rows_at_once(tile), [&](const Tile& rows) {
            const Lanes<tag_t, tag_t> result = Pool::target(g, rows, 0, scratch, nullptr);
            pool.pool_to_grid(rows, {g.t.begin(t), g.t.end(t)}, result, 0, pool_args);
          });
        }
      }
      if (args.switches) {
        const int64_t place = i.begin * planes.grid_row;
        std::copy_n(switches.data() + place, i.size() * planes.grid_row,
                    args.switches + plane * planes.grid_plane + place);
      }
      const Range rows = map_rows(i);
      if (rows.size() == 0) continue;
      using bits_t = typename Scalar<scalar_t>::bits_t;
      unpool_args.values = planes.grid_rows(static_cast<const bits_t*>(args.values), plane, 0).data;
      unpool_args.map = planes.map_rows(static_cast<bits_t*>(args.unpooled), plane, 0).data;
      unpool.reset(unpool_args);
      unpool(0, {{0, 1}, rows});
    }
  });
}

template <class scalar_t>
void pool_unpool(const PoolGeometry& geometry, const PoolUnpoolArgs& args) {
  if (geometry.channels_last) {
    pool_unpool_tiles<scalar_t, ChannelsLastTile, ChannelsLastScatter>(geometry, args);
  } else {
    pool_unpool_tiles<scalar_t, ContiguousTile, ContiguousScatter>(geometry, args);
  }
}

}  // namespace tased
