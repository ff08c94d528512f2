// Cpu::pool_unpool: threads share the rows of windows; after window row i is pooled (PoolRows) the map rows whose last
// window row is i are complete and written (ScatterRows). Switches live in a ring of as many window rows as meet one
// map row.
#include <vector>

#include "parallel.h"
#include "scatter_rows.h"

namespace tased {
namespace {

template <class scalar_t>
void pool_unpool_scalar(const PoolGeometry& g, const PoolUnpoolArgs& args) {
  using lane_t = typename Scalar<scalar_t>::key_t;
  const Planes planes(g);
  const int64_t rows = planes.volumes * g.t.windows * g.h.windows;
  const int32_t slots = (g.h.kernel - 1) / g.h.stride + 1;
  const int64_t bytes_per_row = planes.map_row * (g.t.kernel + 1) * std::min(g.h.kernel, g.h.stride) * sizeof(scalar_t);
  parallel_rows(rows, bytes_per_row, [&](int64_t begin, int64_t end) {
    at_vector_level([&]() TASED_INLINE_LAMBDA {
      PoolRows<scalar_t, Scan::kTemporalFirst, false> pool(g, args.map);
      ScatterRows<scalar_t, Meet::kLastWindow> unpool(g);
      std::vector<uint8_t> ring(static_cast<size_t>(slots * planes.grid_row));
      const auto switches = [&](int32_t i) { return ring.data() + (i % slots) * planes.grid_row; };

      for (int64_t row = begin; row < end; ++row) {
        const int64_t plane = row / g.h.windows;
        const auto i = static_cast<int32_t>(row % g.h.windows);
        // At the start of a run the window rows above were another thread's.
        for (int32_t k = row == begin ? std::max(i - slots + 1, 0) : i; k <= i; ++k) {
          pool(plane, k, {nullptr, switches(k), nullptr});
        }
        if (args.switches) {
          std::copy_n(switches(i), planes.grid_row, args.switches + row * planes.grid_row);
        }
        const int32_t first = i == 0 ? 0 : std::min(g.h.start(i), g.h.size);
        const int32_t last = i == g.h.windows - 1 ? g.h.size : std::min(g.h.start(i + 1), g.h.size);
        for (int32_t r = std::max(first, 0); r < last; ++r) {
          unpool.begin();
          for (int32_t k = g.h.first_covering(r); k <= g.h.last_covering(r); ++k) {
            const int64_t place = plane * planes.grid_plane + k * planes.grid_row;
            unpool.add({static_cast<const lane_t*>(args.values) + place, switches(k), nullptr}, 0, r - g.h.start(k));
          }
          unpool.finish(static_cast<scalar_t*>(args.unpooled) + plane * planes.map_plane + r * planes.map_row);
        }
      }
    });
  });
}

}  // namespace

void Cpu::pool_unpool(const PoolGeometry& geometry, ScalarType dtype, const PoolUnpoolArgs& args, int) {
  dispatch(dtype, [&](auto zero) { pool_unpool_scalar<decltype(zero)>(geometry, args); });
}

}  // namespace tased
