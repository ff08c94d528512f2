// torch_parallel_for on threads that ThreadSanitizer sees start and end. torch's own are OpenMP's: libgomp lets them
// wait for each other in ways that the sanitizer does not know, so that whatever they share would look like a race. The
// range is shared among kThreads whatever the grain and the number of threads, so that small maps are as well.
#include <torch/csrc/stable/c/shim.h>

#include <algorithm>
#include <thread>
#include <vector>

extern "C" AOTITorchError torch_parallel_for(int64_t begin, int64_t end, int64_t, ParallelFunc body, void* context) {
  constexpr int64_t kThreads = 4;
  std::vector<std::thread> threads;
  const int64_t each = (end - begin + kThreads - 1) / kThreads;
  for (int64_t k = begin; k < end; k += each) threads.emplace_back(body, k, std::min(k + each, end), context);
  for (std::thread& thread : threads) thread.join();
  return AOTI_TORCH_SUCCESS;
}
