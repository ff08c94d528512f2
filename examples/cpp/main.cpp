// Runs TASED-Net without Python: saliency PACKAGE CLIP MAP LIBRARY...
// export.py writes the package and torch.save the clip, torch.load reads the map; each library registers tased_ext's
// operators for a device.
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/serialize.h>

#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

void load_operators(const char* library) {
  // Lazily: the library is a Python module too, and its one function for Python is never called here.
  if (dlopen(library, RTLD_LAZY) == nullptr) throw std::runtime_error(dlerror());
}

at::Tensor load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return torch::pickle_load({std::istreambuf_iterator<char>(file), {}}).toTensor();
}

void save(const at::Tensor& tensor, const std::string& path) {
  const std::vector<char> bytes = torch::pickle_save(tensor);
  std::ofstream file(path, std::ios::binary);
  if (!file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
    throw std::runtime_error("cannot write " + path);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 5) {
    std::cerr << "usage: saliency PACKAGE CLIP MAP LIBRARY...\n";
    return 2;
  }
  for (int i = 4; i < argc; ++i) load_operators(argv[i]);
  // A package checks its input only if it is asked to, and reads out of bounds if the clip is too small.
  setenv("AOTI_RUNTIME_CHECK_INPUTS", "1", 0);
  torch::inductor::AOTIModelPackageLoader network(argv[1]);
  const at::Tensor map = network.run({load(argv[2])}).at(0);  // (N, H, W), from 0 to 1
  save(map.cpu(), argv[3]);
  std::cout << "saliency of shape " << map.sizes() << ", from " << map.min().item<double>() << " to "
            << map.max().item<double>() << '\n';
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
