// The Python module simt_harness: the kernels of csrc/cuda on numpy arrays. Arrays are flat, in the memory order of the
// geometry; half types come as their bits. harness.py dresses this for tensors.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <limits>
#include <optional>
#include <string>

#include "faults.h"
#include "gather.cuh"
#include "pool.cuh"
#include "pool_unpool.cuh"
#include "scatter.cuh"

namespace py = pybind11;

namespace {

using tased::Axis;
using tased::PoolGeometry;
using tased::ScalarType;
using OptionalArray = std::optional<py::array>;
using AxisSizes = std::array<int32_t, 5>;  // size, windows, kernel, stride, padding

// Plans and launches as CudaLauncher does, with the device's properties and limits free to choose.
class HostLauncher {
 public:
  HostLauncher(const simt::Play& play, int32_t multiprocessors, int64_t index_limit)
      : play_(play), multiprocessors_(multiprocessors), index_limit_(index_limit) {}

  int32_t multiprocessors() const { return multiprocessors_; }
  int64_t index_limit() const { return index_limit_; }

  template <class Params>
  void operator()(const char* name, void (*kernel)(Params), const tased::Launch& launch, const Params& params) {
    traffic.kernel = simt::symbol_of(reinterpret_cast<const void*>(kernel));
    traffic.index_bits = 8 * sizeof(params.map.strides.column);
    simt::launch(name, launch.grid, launch.threads, launch.shared_bytes, play_, traffic, [&] { kernel(params); });
  }

  // The array's memory, lent to the kernel.
  const void* input(const std::string& name, const OptionalArray& array) {
    if (!array) return nullptr;
    traffic.arrays.push_back(
        {name, static_cast<const char*>(array->data()), static_cast<size_t>(array->nbytes()), false});
    return array->data();
  }
  void* output(const std::string& name, const OptionalArray& array) {
    if (!array) return nullptr;
    void* memory = py::array(*array).mutable_data();
    traffic.arrays.push_back({name, static_cast<const char*>(memory), static_cast<size_t>(array->nbytes()), true});
    return memory;
  }

  simt::Traffic traffic;

 private:
  simt::Play play_;
  int32_t multiprocessors_;
  int64_t index_limit_;
};

ScalarType dtype_of(const std::string& name) {
  if (name == "float32") return ScalarType::Float;
  if (name == "float64") return ScalarType::Double;
  if (name == "float16") return ScalarType::Half;
  if (name == "bfloat16") return ScalarType::BFloat16;
  throw py::value_error("no dtype " + name);
}

Axis axis_of(const AxisSizes& sizes) { return {sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]}; }

py::dict report(const simt::Traffic& traffic) {
  py::dict loaded, stored, by_blocks, once;
  for (const simt::Array& array : traffic.arrays) {
    const py::str name(array.name);
    (array.output ? stored : loaded)[name] = array.moved;
    by_blocks[name] = array.by_blocks;
    once[name] = array.once;
  }
  const dim3& grid = traffic.grid;
  py::dict result;
  result["loaded"] = loaded;
  result["stored"] = stored;
  result["by_blocks"] = by_blocks;
  result["once"] = once;
  result["wide_loaded"] = traffic.wide_loaded;
  result["wide_stored"] = traffic.wide_stored;
  result["launches"] = traffic.launches;
  result["kernel"] = traffic.kernel;
  result["indices"] = traffic.index_bits;
  result["grid"] = py::make_tuple(grid.x, grid.y, grid.z);
  result["threads"] = traffic.threads;
  result["working_share"] = static_cast<double>(traffic.working_threads) / static_cast<double>(traffic.played_threads);
  result["shared_bytes"] = traffic.shared_bytes;
  return result;
}

const uint8_t* bytes(const void* memory) { return static_cast<const uint8_t*>(memory); }
uint8_t* bytes(void* memory) { return static_cast<uint8_t*>(memory); }

py::dict pool(HostLauncher& launcher, const PoolGeometry& geometry, const std::string& dtype, const std::string& scan,
              const py::array& map, const OptionalArray& values, const OptionalArray& offsets,
              const OptionalArray& frames) {
  const tased::PoolArgs args{scan == "volume" ? tased::Scan::kVolume : tased::Scan::kTemporalFirst,
                             launcher.input("map", map), launcher.output("values", values),
                             bytes(launcher.output("offsets", offsets)), bytes(launcher.output("frames", frames))};
  launch_pool(geometry, dtype_of(dtype), args, launcher);
  return report(launcher.traffic);
}

py::dict scatter(HostLauncher& launcher, const PoolGeometry& geometry, const std::string& dtype,
                 const std::string& meet, const py::array& values, const py::array& offsets,
                 const OptionalArray& frames, const py::array& map) {
  const tased::ScatterArgs args{meet == "sum" ? tased::Meet::kSum : tased::Meet::kLastWindow,
                                launcher.input("values", values), bytes(launcher.input("offsets", offsets)),
                                bytes(launcher.input("frames", frames)), launcher.output("map", map)};
  launch_scatter(geometry, dtype_of(dtype), args, launcher);
  return report(launcher.traffic);
}

py::dict gather(HostLauncher& launcher, const PoolGeometry& geometry, const std::string& dtype, bool winners_only,
                const py::array& map, const py::array& offsets, const OptionalArray& frames, const py::array& values) {
  const tased::GatherArgs args{winners_only, launcher.input("map", map), bytes(launcher.input("offsets", offsets)),
                               bytes(launcher.input("frames", frames)), launcher.output("values", values)};
  launch_gather(geometry, dtype_of(dtype), args, launcher);
  return report(launcher.traffic);
}

py::dict pool_unpool(HostLauncher& launcher, const PoolGeometry& geometry, const std::string& dtype,
                     const py::array& map, const py::array& values, const OptionalArray& switches,
                     const py::array& unpooled) {
  const tased::PoolUnpoolArgs args{launcher.input("map", map), launcher.input("values", values),
                                   bytes(launcher.output("switches", switches)), launcher.output("unpooled", unpooled)};
  launch_pool_unpool(geometry, dtype_of(dtype), args, launcher);
  return report(launcher.traffic);
}

}  // namespace

PYBIND11_MODULE(simt_harness, module) {
  py::class_<PoolGeometry>(module, "Geometry")
      .def(py::init([](int64_t batch, int64_t channels, const AxisSizes& t, const AxisSizes& h, const AxisSizes& w,
                       bool channels_last) {
             return PoolGeometry{batch, channels, axis_of(t), axis_of(h), axis_of(w), channels_last};
           }),
           py::arg("batch"), py::arg("channels"), py::arg("t"), py::arg("h"), py::arg("w"), py::arg("channels_last"));

  py::class_<HostLauncher>(module, "Launcher")
      .def(py::init([](uint64_t seed, uint32_t most_blocks, uint32_t last_blocks, int32_t multiprocessors,
                       int64_t index_limit) {
             return HostLauncher({seed, most_blocks, last_blocks}, multiprocessors, index_limit);
           }),
           py::arg("seed"), py::arg("most_blocks"), py::arg("last_blocks"), py::arg("multiprocessors"),
           py::arg("index_limit"))
      .def("pool", &pool, py::arg("geometry"), py::arg("dtype"), py::kw_only(), py::arg("scan"), py::arg("map"),
           py::arg("values"), py::arg("offsets"), py::arg("frames"))
      .def("scatter", &scatter, py::arg("geometry"), py::arg("dtype"), py::kw_only(), py::arg("meet"),
           py::arg("values"), py::arg("offsets"), py::arg("frames"), py::arg("map"))
      .def("gather", &gather, py::arg("geometry"), py::arg("dtype"), py::kw_only(), py::arg("winners_only"),
           py::arg("map"), py::arg("offsets"), py::arg("frames"), py::arg("values"))
      .def("pool_unpool", &pool_unpool, py::arg("geometry"), py::arg("dtype"), py::kw_only(), py::arg("map"),
           py::arg("values"), py::arg("switches"), py::arg("unpooled"));

  module.def("fault", &simt::run_fault, py::arg("name"), py::arg("seed"),
             "Runs a kernel that does what the shim must refuse.");
}
