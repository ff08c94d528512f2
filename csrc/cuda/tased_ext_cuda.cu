// The operators' CUDA kernels' registration, what this library was compiled for, and the module that finds it in the
// package. The schema is tased_ext.cpp's.
#include <Python.h>
#include <cuda_runtime.h>

#include <string>

#include "operators.h"

#if !defined(TASED_CUDA_ARCHS)
#define TASED_CUDA_ARCHS "unknown"
#endif

namespace {

std::string cuda_architectures() { return TASED_CUDA_ARCHS; }

std::string cuda_toolkit() {
  return std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(tased_ext, CUDA, library) { tased::Operators<tased::Cuda>::add_to(library); }

STABLE_TORCH_LIBRARY_FRAGMENT(tased_ext, library) {
  library.def("cuda_architectures() -> str");
  library.def("cuda_toolkit() -> str");
}

STABLE_TORCH_LIBRARY_IMPL(tased_ext, CompositeExplicitAutograd, library) {
  library.impl("cuda_architectures", TORCH_BOX(&cuda_architectures));
  library.impl("cuda_toolkit", TORCH_BOX(&cuda_toolkit));
}

PyMODINIT_FUNC PyInit__C_cuda() {
  static PyModuleDef module = {
      PyModuleDef_HEAD_INIT, "_C_cuda", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&module);
}
