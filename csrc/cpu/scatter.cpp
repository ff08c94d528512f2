// Cpu::scatter: threads share the rows of the map; each row is built by ScatterRows from the rows of windows that meet
// it, in ascending order, so no two threads write to one place and the order of a sum is fixed.
#include "parallel.h"
#include "scatter_rows.h"

namespace tased {
namespace {

template <class scalar_t, Meet kMeet>
void scatter_scalar(const PoolGeometry& g, const ScatterArgs& args) {
  const Planes planes(g);
  const int64_t rows = planes.volumes * g.t.size * g.h.size;
  parallel_rows(rows, planes.map_row * sizeof(scalar_t), [&](int64_t begin, int64_t end) {
    at_vector_level([&]() TASED_INLINE_LAMBDA {
      using Rows = ScatterRows<scalar_t, kMeet>;
      using lane_t = typename Scalar<scalar_t>::key_t;
      Rows scatter(g);
      for (int64_t row = begin; row < end; ++row) {
        const auto r = static_cast<int32_t>(row % g.h.size);
        const auto frame = static_cast<int32_t>(row / g.h.size % g.t.size);
        const int64_t volume = row / g.h.size / g.t.size;
        scatter.begin();
        for (int32_t t = g.t.first_covering(frame); t <= g.t.last_covering(frame); ++t) {
          for (int32_t i = g.h.first_covering(r); i <= g.h.last_covering(r); ++i) {
            const int64_t place = (volume * g.t.windows + t) * planes.grid_plane + i * planes.grid_row;
            scatter.add({static_cast<const lane_t*>(args.values) + place, args.offsets + place,
                         args.frames ? args.frames + place : nullptr},
                        frame - g.t.start(t), r - g.h.start(i));
          }
        }
        scatter.finish(static_cast<scalar_t*>(args.map) + row * planes.map_row);
      }
    });
  });
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
