// Cpu::pool: threads share tiles of windows (pool_tiles.h), each for one temporal window or, where these overlap, for a
// run of them: frames are pooled once, then the windows over time.
#include "pool_plan.h"

namespace tased {
namespace {

template <class scalar_t, bool kValues, bool kTags, template <class, bool, bool> class TileOf>
void pool_tiles(const PoolGeometry& g, const PoolArgs& args) {
  using L = Lane<scalar_t>;
  using key_t = typename L::template key_t<kValues>;
  using tag_t = typename L::tag_t;
  using Pool = TileOf<scalar_t, kValues, kTags>;
  const bool carried = kValues && L::kHalf;
  const bool by_frame = args.scan == Scan::kVolume && g.t.kernel > 1;
  const PoolPlan plan(g, sizeof(scalar_t), by_frame);
  const int64_t units = plan.units(g);
  const int64_t bytes = g.map_numel() * static_cast<int64_t>(sizeof(scalar_t)) / units;
  parallel_rows(units, bytes, [&](int64_t begin, int64_t end) {
    Pool pool(g, args, plan.most());
    const int64_t most_lanes = Pool::lanes(g, plan.most());
    const int64_t slots = by_frame ? g.t.kernel + 1 : 1;
    Buffer<key_t> keys(most_lanes * slots);
    Buffer<key_t> values(carried ? most_lanes * slots : 0);
    Buffer<tag_t> tags(kTags ? most_lanes * slots : 0);
    const auto slot = [&](int64_t k, int64_t pitch) {
      return Lanes<key_t, tag_t>{{keys.data() + k * most_lanes, pitch},
                                 {carried ? values.data() + k * most_lanes : nullptr, pitch},
                                 {kTags ? tags.data() + k * most_lanes : nullptr, pitch}};
    };
    BestOf<scalar_t, kValues, kTags> best_of;
    std::vector<Candidate<key_t, tag_t>> candidates;
    const auto pool_unit = [&](const Tile& tile, const Range& times) {
      int32_t pooled = 0;
      for (auto t = static_cast<int32_t>(times.begin); t < times.end; ++t) {
        const int64_t plane = tile.volume * g.t.windows + t;
        int32_t base = 0;
        const Lanes<key_t, tag_t> result = Pool::target(g, tile, plane, slot(0, 0), args.values);
        if (by_frame) {
          base = (g.t.begin(t) - g.t.start(t)) * g.window_area();
          candidates.clear();
          for (int32_t f = g.t.begin(t); f < g.t.end(t); ++f) {
            const Lanes<key_t, tag_t> one = slot(1 + f % g.t.kernel, result.key.pitch);
            if (f >= pooled) pool.pool(tile, {f, f + 1}, one);
            candidates.push_back({one, (f - g.t.start(t)) * g.window_area()});
          }
          pooled = g.t.end(t);
          best_of(candidates, true, result, 1, Pool::lanes(g, tile));
        } else {
          pool.pool(tile, {g.t.begin(t), g.t.end(t)}, result);
        }
        pool.store(tile, result, plane, args, base);
      }
    };
    for (int64_t unit = begin; unit < end; ++unit) plan.at(unit, pool_unit);
  });
}

template <class scalar_t, bool kValues, bool kTags>
void pool_scalar(const PoolGeometry& g, const PoolArgs& args) {
  if (g.channels_last) {
    pool_tiles<scalar_t, kValues, kTags, ChannelsLastTile>(g, args);
  } else {
    pool_tiles<scalar_t, kValues, kTags, ContiguousTile>(g, args);
  }
}

}  // namespace

void Cpu::pool(const PoolGeometry& geometry, ScalarType dtype, const PoolArgs& args, int) {
  dispatch(dtype, [&](auto zero) {
    using scalar_t = decltype(zero);
    if (args.values == nullptr) {
      pool_scalar<scalar_t, false, true>(geometry, args);
    } else if (args.offsets == nullptr) {
      pool_scalar<scalar_t, true, false>(geometry, args);
    } else {
      pool_scalar<scalar_t, true, true>(geometry, args);
    }
  });
}

}  // namespace tased
