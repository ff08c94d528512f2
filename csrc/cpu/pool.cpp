// Cpu::pool: threads share the rows of windows of all planes; PoolRows does a row.
#include "parallel.h"
#include "pool_rows.h"

namespace tased {
namespace {

template <class scalar_t, Scan kScan, bool kFrames>
void pool_scalar(const PoolGeometry& g, const PoolArgs& args) {
  const Planes planes(g);
  const int64_t rows = planes.volumes * g.t.windows * g.h.windows;
  const int64_t bytes_per_row = planes.map_row * g.t.kernel * std::min(g.h.kernel, g.h.stride) * sizeof(scalar_t);
  parallel_rows(rows, bytes_per_row, [&](int64_t begin, int64_t end) {
    at_vector_level([&]() TASED_INLINE_LAMBDA {
      using Rows = PoolRows<scalar_t, kScan, kFrames>;
      using lane_t = typename Scalar<scalar_t>::key_t;
      Rows pool(g, args.map);
      for (int64_t row = begin; row < end; ++row) {
        const int64_t place = row * planes.grid_row;
        pool(row / g.h.windows, static_cast<int32_t>(row % g.h.windows),
             {args.values ? static_cast<lane_t*>(args.values) + place : nullptr,
              args.offsets ? args.offsets + place : nullptr, args.frames ? args.frames + place : nullptr});
      }
    });
  });
}

}  // namespace

void Cpu::pool(const PoolGeometry& geometry, ScalarType dtype, const PoolArgs& args, int) {
  dispatch(dtype, [&](auto zero) {
    using scalar_t = decltype(zero);
    if (args.scan == Scan::kVolume) {
      pool_scalar<scalar_t, Scan::kVolume, false>(geometry, args);
    } else if (args.frames) {
      pool_scalar<scalar_t, Scan::kTemporalFirst, true>(geometry, args);
    } else {
      pool_scalar<scalar_t, Scan::kTemporalFirst, false>(geometry, args);
    }
  });
}

}  // namespace tased
