// From tensors and integers to a PoolGeometry and dense tensors, or to one clear error: the only place in C++ that
// validates. (tased_ext/_ops.py says the same for fake tensors; tests/ops holds the two to equal words.)
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "geometry.h"
#include "scalar.h"

namespace tased {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <class... Parts>
void check(bool condition, const Parts&... parts) {
  if (!condition) {
    std::ostringstream message;
    (message << ... << parts);
    throw std::runtime_error(message.str());
  }
}

// Kernel, stride and padding of one axis as they came from the caller.
struct Window {
  int64_t kernel;
  int64_t stride;
  int64_t padding;
};

// A pooling's arguments: time, rows, columns.
struct Windows {
  Window t;
  Window h;
  Window w;
};

// Parts of a message are written only if the message is: a call that is right must not pay for it.
struct ShapeText {
  const int64_t* sizes;
  size_t count;
};
inline ShapeText shape_text(const Tensor& tensor) { return {tensor.sizes().data(), tensor.sizes().size()}; }
inline ShapeText shape_text(const std::vector<int64_t>& sizes) { return {sizes.data(), sizes.size()}; }

inline std::ostream& operator<<(std::ostream& out, const ShapeText& shape) {
  out << "[";
  for (size_t i = 0; i < shape.count; ++i) out << (i ? ", " : "") << shape.sizes[i];
  return out << "]";
}

struct PairText {
  int64_t rows;
  int64_t columns;
};
inline PairText pair_text(int64_t rows, int64_t columns) { return {rows, columns}; }

inline std::ostream& operator<<(std::ostream& out, const PairText& pair) {
  return out << "(" << pair.rows << ", " << pair.columns << ")";
}

inline const char* dtype_text(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Float: return "float32";
    case ScalarType::Double: return "float64";
    case ScalarType::Half: return "float16";
    case ScalarType::BFloat16: return "bfloat16";
    case ScalarType::Byte: return "uint8";
    case ScalarType::Char: return "int8";
    case ScalarType::Short: return "int16";
    case ScalarType::Int: return "int32";
    case ScalarType::Long: return "int64";
    case ScalarType::Bool: return "bool";
    case ScalarType::ComplexFloat: return "complex64";
    case ScalarType::ComplexDouble: return "complex128";
    default: return "another dtype";
  }
}

// A tensor of 4 or 5 dimensions seen as (N, C, T, H, W); 4 dimensions mean one map without a batch.
struct Map {
  std::array<int64_t, 5> sizes;
  bool batched;
  bool channels_last;

  int64_t n() const { return sizes[0]; }
  int64_t c() const { return sizes[1]; }
  int64_t t() const { return sizes[2]; }
  int64_t h() const { return sizes[3]; }
  int64_t w() const { return sizes[4]; }

  // The sizes with other t, h, w, in the caller's number of dimensions.
  std::vector<int64_t> shape(int64_t t, int64_t h, int64_t w) const {
    if (batched) return {n(), c(), t, h, w};
    return {c(), t, h, w};
  }
};

inline Map map_of(const Tensor& tensor, const char* name) {
  const int64_t dims = tensor.dim();
  check(dims == 4 || dims == 5, name, " must have 4 dimensions (C, T, H, W) or 5 (N, C, T, H, W), but got shape ",
        shape_text(tensor));
  Map map{};
  map.batched = dims == 5;
  const int64_t lead = map.batched ? 0 : 1;
  map.sizes[0] = 1;
  for (int64_t i = 0; i < dims; ++i) map.sizes[lead + i] = tensor.size(i);
  for (int64_t i = 1; i < 5; ++i) {
    check(map.sizes[i] > 0, name, " must have no empty dimension except the batch, but got shape ", shape_text(tensor));
    check(map.sizes[i] <= kMaxAxisSize, name,
          " must have at most 2^30 channels, frames, rows and columns, but got shape ", shape_text(tensor));
  }
  map.channels_last = !tensor.is_contiguous() && tensor.stride(1 - lead) == 1;
  return map;
}

inline void check_floating(const Tensor& tensor, const char* name) {
  const ScalarType dtype = tensor.scalar_type();
  check(dtype == ScalarType::Float || dtype == ScalarType::Double || dtype == ScalarType::Half ||
            dtype == ScalarType::BFloat16,
        name, " must be float32, float64, float16 or bfloat16, but got ", dtype_text(dtype));
}

inline void check_byte(const Tensor& tensor, const char* name) {
  check(tensor.scalar_type() == ScalarType::Byte, name, " must be uint8, but got ", dtype_text(tensor.scalar_type()));
}

struct DeviceText {
  bool is_cpu;
  int32_t index;
};
inline DeviceText device_text(const Tensor& tensor) {
  return {tensor.is_cpu(), static_cast<int32_t>(tensor.get_device_index())};
}

inline std::ostream& operator<<(std::ostream& out, const DeviceText& device) {
  return device.is_cpu ? out << "cpu" : out << "cuda:" << device.index;
}

inline void check_same_device(const Tensor& first, const char* first_name, const Tensor& second,
                              const char* second_name) {
  const DeviceText ours = device_text(first);
  const DeviceText theirs = device_text(second);
  check(ours.is_cpu == theirs.is_cpu && (ours.is_cpu || ours.index == theirs.index), second_name,
        " must be on the device of ", first_name, ", ", ours, ", but is on ", theirs);
}

template <class... Parts>
void check_same_shape(const Tensor& tensor, const char* name, const std::vector<int64_t>& expected,
                      const Parts&... why) {
  const auto sizes = tensor.sizes();
  check(sizes.size() == expected.size() && std::equal(expected.begin(), expected.end(), sizes.data()), name,
        " must have shape ", shape_text(expected), ", ", why..., ", but got ", shape_text(tensor));
}

// The windows themselves, before any map is known. `stock` names the torch layer that serves what a byte cannot tell.
inline void check_windows(const Windows& windows, bool offsets_span_time, const char* stock) {
  const auto& [t, h, w] = windows;
  check(t.kernel > 0 && t.stride > 0, "temporal kernel and stride must be positive, but got kernel ", t.kernel,
        " and stride ", t.stride);
  check(h.kernel > 0 && w.kernel > 0, "kernel_size must be positive, but got ", pair_text(h.kernel, w.kernel));
  check(h.stride > 0 && w.stride > 0, "stride must be positive, but got ", pair_text(h.stride, w.stride));
  check(0 <= h.padding && h.padding <= h.kernel / 2 && 0 <= w.padding && w.padding <= w.kernel / 2,
        "padding must be at least 0 and at most half of kernel_size ", pair_text(h.kernel, w.kernel), ", but got ",
        pair_text(h.padding, w.padding));
  check(0 <= t.padding && t.padding <= t.kernel / 2, "temporal padding must be at least 0 and at most half of the ",
        "temporal kernel ", t.kernel, ", but got ", t.padding);
  check(t.stride <= kMaxAxisSize && h.stride <= kMaxAxisSize && w.stride <= kMaxAxisSize,
        "stride must be at most 2^30, but got ", t.stride, ", ", h.stride, ", ", w.stride);
  const bool fits = t.kernel <= kMaxWindowVolume && h.kernel <= kMaxWindowVolume && w.kernel <= kMaxWindowVolume &&
                    h.kernel * w.kernel * (offsets_span_time ? t.kernel : 1) <= kMaxWindowVolume;
  check(fits, "a window of ", t.kernel, "x", h.kernel, "x", w.kernel,
        " positions is larger than the 256 that one byte can tell apart; use ", stock);
}

// PyTorch's pooling_output_shape: in ceil mode the last window must start on the map or in the padding before it.
inline int64_t pooled_size(int64_t size, const Window& window, bool ceil_mode) {
  const int64_t room = size + 2 * window.padding - window.kernel;
  if (room < 0 && !ceil_mode) return 0;
  const int64_t rounded = room + (ceil_mode ? window.stride - 1 : 0);
  if (rounded < 0) return 0;
  int64_t windows = rounded / window.stride + 1;
  if (ceil_mode && (windows - 1) * window.stride >= size + window.padding) --windows;
  return windows;
}

inline Axis axis(int64_t size, int64_t windows, const Window& window) {
  return {static_cast<int32_t>(size), static_cast<int32_t>(windows), static_cast<int32_t>(window.kernel),
          static_cast<int32_t>(window.stride), static_cast<int32_t>(window.padding)};
}

// The geometry of pooling `map`.
inline PoolGeometry pool_geometry(const Tensor& tensor, const Map& map, const char* name, const Windows& windows,
                                  bool ceil_mode, bool temporal_ceil_mode) {
  const int64_t t = pooled_size(map.t(), windows.t, temporal_ceil_mode);
  const int64_t h = pooled_size(map.h(), windows.h, ceil_mode);
  const int64_t w = pooled_size(map.w(), windows.w, ceil_mode);
  check(t > 0 && h > 0 && w > 0, name, " of shape ", shape_text(tensor), " is smaller than one window of ",
        windows.t.kernel, "x", windows.h.kernel, "x", windows.w.kernel, " positions");
  return {
      map.n(),          map.c(), axis(map.t(), t, windows.t), axis(map.h(), h, windows.h), axis(map.w(), w, windows.w),
      map.channels_last};
}

// The geometry whose pooled grid is `grid` and whose map has `sizes` = t, h, w. Possible sizes are those of
// nn.MaxUnpool: less than a stride away from (windows - 1) * stride - 2 * padding + kernel. They include all that floor
// or ceil mode pools to the grid, and some where the last window lies beyond the map.
inline PoolGeometry unpool_geometry(const Map& grid, const Windows& windows, const std::array<int64_t, 3>& sizes,
                                    const char* what) {
  const std::array<int64_t, 3> grids = {grid.t(), grid.h(), grid.w()};
  const std::array<const Window*, 3> axes = {&windows.t, &windows.h, &windows.w};
  const std::array<const char*, 3> names = {"frames", "rows", "columns"};
  for (size_t i = 0; i < 3; ++i) {
    const int64_t natural = (grids[i] - 1) * axes[i]->stride - 2 * axes[i]->padding + axes[i]->kernel;
    const int64_t least = std::max<int64_t>(natural - axes[i]->stride + 1, 1);
    const int64_t most = std::min<int64_t>(natural + axes[i]->stride - 1, kMaxAxisSize);
    check(least <= sizes[i] && sizes[i] <= most, what, " must have ", least, " to ", most, " ", names[i],
          " for a grid of ", grids[i], ", but got ", sizes[i]);
  }
  return {grid.n(),
          grid.c(),
          axis(sizes[0], grid.t(), windows.t),
          axis(sizes[1], grid.h(), windows.h),
          axis(sizes[2], grid.w(), windows.w),
          grid.channels_last};
}

// An uninitialised tensor on the device of `like`, dense in the given layout.
inline Tensor empty_map(const Tensor& like, const std::vector<int64_t>& shape, ScalarType dtype, bool channels_last) {
  const size_t dims = shape.size();
  std::vector<int64_t> strides(dims);
  int64_t step = channels_last ? shape[dims - 4] : 1;
  for (size_t i = dims; i-- > 0;) {
    if (channels_last && i == dims - 4) {
      strides[i] = 1;
      continue;
    }
    strides[i] = step;
    step *= std::max<int64_t>(shape[i], 1);
  }
  AtenTensorHandle handle = nullptr;
  const int32_t device_type = like.is_cpu() ? aoti_torch_device_type_cpu() : aoti_torch_device_type_cuda();
  const int32_t stable_dtype =
      static_cast<int32_t>(torch::stable::detail::to<int32_t>(torch::stable::detail::from(dtype)));
  // The shim keeps the reason to itself, but with arguments that have been checked there is one only.
  const auto status = aoti_torch_empty_strided(static_cast<int64_t>(dims), shape.data(), strides.data(), stable_dtype,
                                               device_type, like.get_device_index(), &handle);
  check(status == TORCH_SUCCESS, "out of memory: there is no room for a map of ", step, " elements");
  return Tensor(handle);
}

// No element: what an operator returns for a result that was not asked for.
inline Tensor empty_bytes(const Tensor& like) { return empty_map(like, {0}, ScalarType::Byte, false); }

// The tensor itself if it is dense in the layout, else a dense copy.
inline Tensor dense(const Tensor& tensor, bool channels_last) {
  const std::vector<int64_t> shape(tensor.sizes().begin(), tensor.sizes().end());
  if (!channels_last) return tensor.is_contiguous() ? tensor : torch::stable::contiguous(tensor);
  const auto dims = static_cast<int64_t>(shape.size());
  int64_t step = 1;
  bool is_dense = true;
  const auto look_at = [&](int64_t i) {
    is_dense = is_dense && (shape[i] == 1 || tensor.stride(i) == step);
    step *= shape[i];
  };
  for (const int64_t from_end : {4, 1, 2, 3}) look_at(dims - from_end);
  if (dims == 5) look_at(0);
  if (is_dense) return tensor;
  Tensor copy = empty_map(tensor, shape, tensor.scalar_type(), true);
  torch::stable::copy_(copy, tensor);
  return copy;
}

}  // namespace tased
