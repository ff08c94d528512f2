// The operators, once for every backend: check, make inputs dense, allocate, call the backend's kernel. A layout is
// kept from the (large) map to everything that is returned. Schema and argument order: tased_ext.cpp.
#pragma once

#include <torch/csrc/stable/library.h>

#include <array>
#include <optional>
#include <tuple>
#include <utility>

#include "checks.h"
#include "kernels.h"

namespace tased {

inline uint8_t* bytes(const Tensor& tensor) { return static_cast<uint8_t*>(tensor.mutable_data_ptr()); }
inline const uint8_t* const_bytes(const Tensor& tensor) { return static_cast<const uint8_t*>(tensor.const_data_ptr()); }

template <class Backend>
struct Operators {
  struct Pooled {  // what was asked for
    std::optional<Tensor> values;
    std::optional<Tensor> offsets;
    std::optional<Tensor> frames;
  };

  static Pooled pool(Scan scan, const Tensor& input, const char* name, const Windows& windows, bool ceil_mode,
                     bool keep_values, bool keep_offsets, bool keep_frames) {
    check_floating(input, name);
    const Map map = map_of(input, name);
    check_windows(windows, scan == Scan::kVolume, "torch.nn.MaxPool3d");
    // Auxiliary pooling drops trailing frames that do not fill a window.
    const bool temporal_ceil_mode = ceil_mode && scan == Scan::kVolume;
    const PoolGeometry geometry = pool_geometry(input, map, name, windows, ceil_mode, temporal_ceil_mode);
    const auto shape = map.shape(geometry.t.windows, geometry.h.windows, geometry.w.windows);
    Pooled pooled;
    const auto output = [&](bool keep, std::optional<Tensor>& result, ScalarType dtype) -> void* {
      if (!keep) return nullptr;
      result = empty_map(input, shape, dtype, map.channels_last);
      return result->mutable_data_ptr();
    };
    void* values = output(keep_values, pooled.values, input.scalar_type());
    auto* offsets = static_cast<uint8_t*>(output(keep_offsets, pooled.offsets, ScalarType::Byte));
    auto* frames = static_cast<uint8_t*>(output(keep_frames, pooled.frames, ScalarType::Byte));
    if (geometry.grid_numel() > 0) {
      const Tensor source = dense(input, map.channels_last);
      const PoolArgs args{scan, source.const_data_ptr(), values, offsets, frames};
      Backend::pool(geometry, input.scalar_type(), args, input.get_device_index());
    }
    return pooled;
  }

  static Tensor aux_pool(const Tensor& z, int64_t kt, int64_t st, int64_t kh, int64_t kw, int64_t sh, int64_t sw,
                         int64_t ph, int64_t pw, bool ceil_mode) {
    const Windows windows{{kt, st, 0}, {kh, sh, ph}, {kw, sw, pw}};
    return *pool(Scan::kTemporalFirst, z, "z", windows, ceil_mode, false, true, false).offsets;
  }

  static std::tuple<Tensor, Tensor, Tensor> aux_max_pool(const Tensor& z, int64_t kt, int64_t st, int64_t kh,
                                                         int64_t kw, int64_t sh, int64_t sw, int64_t ph, int64_t pw,
                                                         bool ceil_mode, bool keep_frames) {
    const Windows windows{{kt, st, 0}, {kh, sh, ph}, {kw, sw, pw}};
    const Pooled pooled = pool(Scan::kTemporalFirst, z, "z", windows, ceil_mode, true, true, keep_frames);
    return {*pooled.values, *pooled.offsets, pooled.frames ? *pooled.frames : empty_bytes(z)};
  }

  static std::tuple<Tensor, Tensor> max_pool3d(const Tensor& x, int64_t kt, int64_t st, int64_t pt, int64_t kh,
                                               int64_t kw, int64_t sh, int64_t sw, int64_t ph, int64_t pw,
                                               bool ceil_mode, bool keep_offsets) {
    const Windows windows{{kt, st, pt}, {kh, sh, ph}, {kw, sw, pw}};
    const Pooled pooled = pool(Scan::kVolume, x, "x", windows, ceil_mode, true, keep_offsets, false);
    return {*pooled.values, pooled.offsets ? *pooled.offsets : empty_bytes(x)};
  }

  // max_unpool and the gradient of the poolings: from the pooled grid to the map.
  static Tensor scatter(Meet meet, const Tensor& x, const Tensor& offsets, const char* offsets_name,
                        const std::optional<Tensor>& frames, const Windows& windows,
                        const std::array<int64_t, 3>& sizes, const char* what) {
    check_floating(x, "x");
    check_byte(offsets, offsets_name);
    check_same_device(x, "x", offsets, offsets_name);
    const Map grid = map_of(x, "x");
    check_windows(windows, !frames.has_value(), "torch.nn.MaxUnpool3d");
    const auto grid_shape = grid.shape(grid.t(), grid.h(), grid.w());
    check_same_shape(offsets, offsets_name, grid_shape, "that of x");
    if (frames) check_frames(*frames, x, "x", grid_shape);
    const PoolGeometry geometry = unpool_geometry(grid, windows, sizes, what);
    Tensor map = empty_map(x, grid.shape(sizes[0], sizes[1], sizes[2]), x.scalar_type(), grid.channels_last);
    if (geometry.map_numel() > 0) {
      const Tensor values = dense(x, grid.channels_last);
      const Tensor switches = dense(offsets, grid.channels_last);
      const std::optional<Tensor> dense_frames = dense_or_none(frames, grid.channels_last);
      const ScatterArgs args{meet, values.const_data_ptr(), const_bytes(switches),
                             dense_frames ? const_bytes(*dense_frames) : nullptr, map.mutable_data_ptr()};
      Backend::scatter(geometry, x.scalar_type(), args, x.get_device_index());
    }
    return map;
  }

  static Tensor max_unpool(const Tensor& x, const Tensor& switches, int64_t kh, int64_t kw, int64_t sh, int64_t sw,
                           int64_t ph, int64_t pw, int64_t height, int64_t width) {
    const Windows windows{{1, 1, 0}, {kh, sh, ph}, {kw, sw, pw}};
    check_floating(x, "x");
    const std::array<int64_t, 3> sizes{map_of(x, "x").t(), height, width};
    return scatter(Meet::kLastWindow, x, switches, "switches", std::nullopt, windows, sizes, "output_size");
  }

  static Tensor scatter_windows(const Tensor& x, const Tensor& offsets, const std::optional<Tensor>& frames, int64_t kt,
                                int64_t st, int64_t pt, int64_t kh, int64_t kw, int64_t sh, int64_t sw, int64_t ph,
                                int64_t pw, int64_t map_frames, int64_t height, int64_t width) {
    const Windows windows{{kt, st, pt}, {kh, sh, ph}, {kw, sw, pw}};
    return scatter(Meet::kSum, x, offsets, "offsets", frames, windows, {map_frames, height, width}, "the map");
  }

  static Tensor gather_windows(const Tensor& y, const Tensor& offsets, const std::optional<Tensor>& frames, int64_t kt,
                               int64_t st, int64_t pt, int64_t kh, int64_t kw, int64_t sh, int64_t sw, int64_t ph,
                               int64_t pw, bool winners_only) {
    check_floating(y, "y");
    check_byte(offsets, "offsets");
    check_same_device(y, "y", offsets, "offsets");
    const Map map = map_of(y, "y");
    Map grid = map_of(offsets, "offsets");
    const Windows windows{{kt, st, pt}, {kh, sh, ph}, {kw, sw, pw}};
    check_windows(windows, !frames.has_value(), "torch.nn.MaxUnpool3d");
    check(!winners_only || (kt == 1 && st == 1 && pt == 0 && !frames),
          "winners_only takes windows of one frame without frames, but got temporal kernel ", kt, " and stride ", st);
    check_same_shape(y, "y", grid.shape(map.t(), map.h(), map.w()), "with the batch and channels of offsets");
    const auto grid_shape = grid.shape(grid.t(), grid.h(), grid.w());
    if (frames) check_frames(*frames, y, "y", grid_shape);
    grid.channels_last = map.channels_last;
    const PoolGeometry geometry = unpool_geometry(grid, windows, {map.t(), map.h(), map.w()}, "y");
    Tensor values = empty_map(y, grid_shape, y.scalar_type(), map.channels_last);
    if (geometry.grid_numel() > 0) {
      const Tensor source = dense(y, map.channels_last);
      const Tensor switches = dense(offsets, map.channels_last);
      const std::optional<Tensor> dense_frames = dense_or_none(frames, map.channels_last);
      const GatherArgs args{winners_only, source.const_data_ptr(), const_bytes(switches),
                            dense_frames ? const_bytes(*dense_frames) : nullptr, values.mutable_data_ptr()};
      Backend::gather(geometry, y.scalar_type(), args, y.get_device_index());
    }
    return values;
  }

  static std::tuple<Tensor, Tensor> aux_pool_unpool(const Tensor& z_enc, const Tensor& z_dec, int64_t kt, int64_t st,
                                                    int64_t kh, int64_t kw, int64_t sh, int64_t sw, int64_t ph,
                                                    int64_t pw, bool keep_switches) {
    check_floating(z_enc, "z_enc");
    check(z_enc.scalar_type() == z_dec.scalar_type(), "z_dec must have the dtype of z_enc, ",
          dtype_text(z_enc.scalar_type()), ", but got ", dtype_text(z_dec.scalar_type()));
    check_same_device(z_enc, "z_enc", z_dec, "z_dec");
    const Map map = map_of(z_enc, "z_enc");
    const Windows windows{{kt, st, 0}, {kh, sh, ph}, {kw, sw, pw}};
    check_windows(windows, false, "torch.nn.MaxPool3d and torch.nn.MaxUnpool3d");
    const PoolGeometry geometry = pool_geometry(z_enc, map, "z_enc", windows, false, false);
    const auto grid_shape = map.shape(geometry.t.windows, geometry.h.windows, geometry.w.windows);
    check_same_shape(z_dec, "z_dec", grid_shape, "to which z_enc of shape ", shape_text(z_enc), " is pooled");
    Tensor unpooled =
        empty_map(z_enc, map.shape(geometry.t.windows, map.h(), map.w()), z_enc.scalar_type(), map.channels_last);
    Tensor switches =
        keep_switches ? empty_map(z_enc, grid_shape, ScalarType::Byte, map.channels_last) : empty_bytes(z_enc);
    if (geometry.grid_numel() > 0) {
      const Tensor source = dense(z_enc, map.channels_last);
      const Tensor values = dense(z_dec, map.channels_last);
      const PoolUnpoolArgs args{source.const_data_ptr(), values.const_data_ptr(),
                                keep_switches ? bytes(switches) : nullptr, unpooled.mutable_data_ptr()};
      Backend::pool_unpool(geometry, z_enc.scalar_type(), args, z_enc.get_device_index());
    }
    return {std::move(unpooled), std::move(switches)};
  }

  static void add_to(torch::stable::detail::StableLibrary& library) {
    library.impl("aux_pool", TORCH_BOX(&aux_pool));
    library.impl("aux_max_pool", TORCH_BOX(&aux_max_pool));
    library.impl("max_pool3d", TORCH_BOX(&max_pool3d));
    library.impl("max_unpool", TORCH_BOX(&max_unpool));
    library.impl("aux_pool_unpool", TORCH_BOX(&aux_pool_unpool));
    library.impl("scatter_windows", TORCH_BOX(&scatter_windows));
    library.impl("gather_windows", TORCH_BOX(&gather_windows));
  }

 private:
  static void check_frames(const Tensor& frames, const Tensor& like, const char* name,
                           const std::vector<int64_t>& grid_shape) {
    check_byte(frames, "frames");
    check_same_device(like, name, frames, "frames");
    check_same_shape(frames, "frames", grid_shape, "that of offsets");
  }

  static std::optional<Tensor> dense_or_none(const std::optional<Tensor>& tensor, bool channels_last) {
    return tensor ? std::optional<Tensor>(dense(*tensor, channels_last)) : std::nullopt;
  }
};

}  // namespace tased
