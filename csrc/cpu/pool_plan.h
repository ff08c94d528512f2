// How a pooling is cut into tiles.
#pragma once

#include "parallel.h"
#include "pool_tiles.h"

namespace tased {

struct PoolPlan {
  Parts times;
  Parts rows;
  Parts columns;
  Parts channels;

  // Each temporal window is pooled for itself, or, `by_frame`, all of them from frames that were pooled once.
  PoolPlan(const PoolGeometry& g, int64_t element_size, bool by_frame)
      : times(g.t.windows, by_frame ? g.t.windows : 1), rows(1, 1), columns(1, 1), channels(1, 1) {
    if (g.channels_last) {
      constexpr int64_t kRunBytes = 4096;               // of channels that lie side by side
      constexpr int64_t kRowBytes = 2 * kTileBytes;     // of a row of windows, as wide as its part of the map
      constexpr int64_t kFramesBytes = 8 * kTileBytes;  // of the frames that are kept
      channels = Parts(g.channels, kRunBytes / element_size);
      const int64_t column_bytes = channels.largest() * element_size * g.w.stride;
      columns = Parts(g.w.windows, kRowBytes / column_bytes);
      const int64_t row_bytes = column_bytes * columns.largest();
      rows = Parts(g.h.windows, by_frame ? std::max<int64_t>(kFramesBytes / row_bytes, 4) : g.h.windows);
    } else {
      rows = Parts(g.h.windows, kTileBytes / (element_size * g.w.size * g.h.stride));
      columns = Parts(g.w.windows, g.w.windows);
    }
  }

  int64_t units(const PoolGeometry& g) const {
    return (g.channels_last ? g.batch : g.batch * g.channels) * times.count() * rows.count() * columns.count() *
           channels.count();
  }

  Tile most() const { return {0, {0, rows.largest()}, {0, columns.largest()}, {0, channels.largest()}}; }

  // Calls visit(tile, temporal windows).
  template <class Visit>
  void at(int64_t unit, const Visit& visit) const {
    const auto part = [&](const Parts& parts) {
      if (parts.count() == 1) return parts[0];
      const Range range = parts[unit % parts.count()];
      unit /= parts.count();
      return range;
    };
    Tile tile{};
    tile.channels = part(channels);
    tile.j = part(columns);
    tile.i = part(rows);
    const Range t = part(times);
    tile.volume = unit;
    visit(tile, t);
  }
};

}  // namespace tased
