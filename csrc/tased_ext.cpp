// The operators' schema, their CPU kernels' registration, and the module that `import tased_ext._C` finds. Importing it
// is all that it is for: the operators are torch.ops.tased_ext.*.
#include <Python.h>

#include "cpu/level.h"
#include "operators.h"

// Temporal kernel, stride (and padding), then rows and columns of kernel, stride and padding. Plain integers: a list
// would cost an allocation a call.
STABLE_TORCH_LIBRARY(tased_ext, library) {
  library.def(
      "aux_pool(Tensor z, int kt, int st, int kh, int kw, int sh, int sw, int ph, int pw, bool ceil_mode) -> Tensor");
  library.def(
      "aux_max_pool(Tensor z, int kt, int st, int kh, int kw, int sh, int sw, int ph, int pw, bool ceil_mode, "
      "bool keep_frames) -> (Tensor values, Tensor switches, Tensor frames)");
  library.def(
      "max_pool3d(Tensor x, int kt, int st, int pt, int kh, int kw, int sh, int sw, int ph, int pw, bool ceil_mode, "
      "bool keep_offsets) -> (Tensor values, Tensor offsets)");
  library.def(
      "max_unpool(Tensor x, Tensor switches, int kh, int kw, int sh, int sw, int ph, int pw, SymInt height, "
      "SymInt width) -> Tensor");
  library.def(
      "aux_pool_unpool(Tensor z_enc, Tensor z_dec, int kt, int st, int kh, int kw, int sh, int sw, int ph, int pw, "
      "bool keep_switches) -> (Tensor y, Tensor switches)");
  library.def(
      "scatter_windows(Tensor x, Tensor offsets, Tensor? frames, int kt, int st, int pt, int kh, int kw, int sh, "
      "int sw, int ph, int pw, SymInt map_frames, SymInt height, SymInt width) -> Tensor");
  library.def(
      "gather_windows(Tensor y, Tensor offsets, Tensor? frames, int kt, int st, int pt, int kh, int kw, int sh, "
      "int sw, int ph, int pw, bool winners_only) -> Tensor");
  library.def("cpu_vector_level() -> str");
}

STABLE_TORCH_LIBRARY_IMPL(tased_ext, CPU, library) { tased::Operators<tased::Cpu>::add_to(library); }

namespace {
std::string cpu_vector_level() { return tased::level_name(tased::vector_level()); }
}  // namespace

STABLE_TORCH_LIBRARY_IMPL(tased_ext, CompositeExplicitAutograd, library) {
  library.impl("cpu_vector_level", TORCH_BOX(&cpu_vector_level));
}

PyMODINIT_FUNC PyInit__C() {
  static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_C", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&module);
}
