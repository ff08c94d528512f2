// Cpu::gather: threads share the rows of windows; each window looks up its arg-max element. A window's rivals, the
// later windows that reach the same element, depend on its offset alone and are listed once.
#include <vector>

#include "parallel.h"
#include "pool_rows.h"

namespace tased {
namespace {

// Another window, (i, j) away, and the offset at which it sees the same element.
struct Rival {
  int32_t i;
  int32_t j;
  int32_t offset;
};

struct Element {
  int32_t dt;
  int32_t dr;
  int32_t dc;
  std::vector<Rival> rivals;
};

// What each offset means: the element's place within the window and, if asked for, the later windows that share it.
std::vector<Element> elements(const PoolGeometry& g, bool offsets_span_time, bool with_rivals) {
  const int32_t area = g.window_area();
  std::vector<Element> all(static_cast<size_t>(area * (offsets_span_time ? g.t.kernel : 1)));
  for (int32_t offset = 0; offset < static_cast<int32_t>(all.size()); ++offset) {
    Element& element = all[offset];
    element = {offset / area, offset % area / g.w.kernel, offset % g.w.kernel, {}};
    if (!with_rivals) continue;
    for (int32_t i = 0; i * g.h.stride <= element.dr; ++i) {
      const int32_t before =
          i == 0 ? -1 : (g.w.kernel - 1 - element.dc) / g.w.stride;  // windows to the left, in a later row
      for (int32_t j = i == 0 ? 1 : -before; j * g.w.stride <= element.dc; ++j) {
        element.rivals.push_back({i, j, (element.dr - i * g.h.stride) * g.w.kernel + element.dc - j * g.w.stride});
      }
    }
  }
  return all;
}

template <class lane_t>
void gather_lanes(const PoolGeometry& g, const GatherArgs& args) {
  const Planes planes(g);
  const std::vector<Element> element_at = elements(g, args.frames == nullptr, args.winners_only);
  const auto* map = static_cast<const lane_t*>(args.map);
  auto* values = static_cast<lane_t*>(args.values);

  const auto gather_one = [&](int64_t plane, int32_t i, int32_t j, int64_t lane) {
    const int64_t grid = plane * planes.grid_plane + i * planes.grid_row + j * planes.lanes + lane;
    if (args.offsets[grid] >= element_at.size()) return lane_t{};
    const Element& element = element_at[args.offsets[grid]];
    const int32_t dt = args.frames ? args.frames[grid] : element.dt;
    const int32_t t = g.t.start(static_cast<int32_t>(plane % g.t.windows)) + dt;
    const int32_t r = g.h.start(i) + element.dr;
    const int32_t c = g.w.start(j) + element.dc;
    if (dt >= g.t.kernel || t < 0 || t >= g.t.size || r < 0 || r >= g.h.size || c < 0 || c >= g.w.size) {
      return lane_t{};
    }
    for (const Rival& rival : element.rivals) {
      if (i + rival.i >= g.h.windows || j + rival.j < 0 || j + rival.j >= g.w.windows) continue;
      const int64_t other = grid + rival.i * planes.grid_row + rival.j * planes.lanes;
      if (args.offsets[other] == rival.offset) return lane_t{};
    }
    const int64_t volume = plane / g.t.windows;
    return map[(volume * g.t.size + t) * planes.map_plane + r * planes.map_row + c * planes.lanes + lane];
  };

  const int64_t rows = planes.volumes * g.t.windows * g.h.windows;
  parallel_rows(rows, planes.grid_row * 2 * sizeof(lane_t), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      lane_t* target = values + row * planes.grid_row;
      for (int32_t j = 0; j < g.w.windows; ++j) {
        for (int64_t lane = 0; lane < planes.lanes; ++lane) {
          *target++ = gather_one(row / g.h.windows, static_cast<int32_t>(row % g.h.windows), j, lane);
        }
      }
    }
  });
}

}  // namespace

// Values are only copied, so half types share one kernel.
void Cpu::gather(const PoolGeometry& geometry, ScalarType dtype, const GatherArgs& args, int) {
  dispatch(dtype, [&](auto zero) { gather_lanes<typename Scalar<decltype(zero)>::key_t>(geometry, args); });
}

}  // namespace tased
