// Cpu::scatter: threads share runs of rows of the map's frames; scatter_tiles.h builds them. No two threads write to
// one place, and the order in which windows meet is fixed.
#include "parallel.h"
#include "scatter_tiles.h"

namespace tased {
namespace {

template <class Scatter>
void scatter_rows(const PoolGeometry& g, const ScatterArgs& args, int64_t element_size) {
  const Planes planes(g);
  const int64_t row_bytes = planes.map_row * element_size;
  const int64_t most = std::clamp<int64_t>(kTileBytes / row_bytes, g.h.stride, std::max(g.h.size, g.h.stride));
  const int64_t tiles = (g.h.size + most - 1) / most;
  parallel_rows(planes.volumes * g.t.size * tiles, most * row_bytes, [&](int64_t begin, int64_t end) {
    Scatter scatter(g, args, most);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t first = unit % tiles * most;
      const int64_t frame = unit / tiles;
      scatter(frame / g.t.size, static_cast<int32_t>(frame % g.t.size), first,
              std::min<int64_t>(first + most, g.h.size));
    }
  });
}

template <class scalar_t, Meet kMeet>
void scatter_scalar(const PoolGeometry& g, const ScatterArgs& args) {
  if (g.channels_last) {
    scatter_rows<ChannelsLastScatter<scalar_t, kMeet>>(g, args, sizeof(scalar_t));
  } else {
    scatter_rows<ContiguousScatter<scalar_t, kMeet>>(g, args, sizeof(scalar_t));
  }
}

}  // namespace

void Cpu::scatter(const PoolGeometry& geometry, ScalarType dtype, const ScatterArgs& args, int) {
  dispatch(dtype, [&](auto zero) {
    using scalar_t = decltype(zero);
    if (args.meet == Meet::kSum) {
      scatter_scalar<scalar_t, Meet::kSum>(geometry, args);
    } else {
      scatter_scalar<scalar_t, Meet::kLastWindow>(geometry, args);
    }
  });
}

}  // namespace tased
