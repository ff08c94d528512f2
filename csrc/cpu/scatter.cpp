// Cpu::scatter: threads share parts of the map; scatter_tiles.h builds them. No two threads write to
// one place, and the order in which windows meet is fixed.
#include "parallel.h"
#include "scatter_tiles.h"

namespace tased {
namespace {

template <class Scatter>
void scatter_parts(const PoolGeometry& g, const ScatterArgs& args, int64_t element_size) {
  const Planes planes(g);
  const MapPart most = Scatter::most(g);
  const Parts frames(g.t.size, most.frames.size());
  const Parts rows(g.h.size, most.rows.size());
  const int64_t bytes = most.frames.size() * most.rows.size() * planes.map_row * element_size;
  parallel_rows(planes.volumes * frames.count() * rows.count(), bytes, [&](int64_t begin, int64_t end) {
    Scatter scatter(g, args, most);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t run = unit / rows.count();
      scatter(run / frames.count(), {frames[run % frames.count()], rows[unit % rows.count()]});
    }
  });
}

template <class scalar_t, Meet kMeet>
void scatter_scalar(const PoolGeometry& g, const ScatterArgs& args) {
  if (g.channels_last) {
    scatter_parts<ChannelsLastScatter<scalar_t, kMeet>>(g, args, sizeof(scalar_t));
  } else {
    scatter_parts<ContiguousScatter<scalar_t, kMeet>>(g, args, sizeof(scalar_t));
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
