// One fault for each sanitizer to find; the arguments keep the compiler from seeing them.
#include <torch/csrc/stable/c/shim.h>

#include <climits>
#include <vector>

extern "C" {

int read_beyond_a_buffer(int size) {
  std::vector<int> buffer(size);
  return buffer.data()[size];
}

int overflow_an_int(int one) { return INT_MAX + one; }

int race_for_a_number(int runs) {
  int number = 0;
  const auto body = [](int64_t, int64_t, void* shared) { ++*static_cast<int*>(shared); };
  return torch_parallel_for(0, runs, 1, body, &number) + number;
}

int share_without_a_race(int runs) {
  std::vector<int> numbers(runs);
  const auto body = [](int64_t begin, int64_t end, void* shared) {
    for (int64_t k = begin; k < end; ++k) ++static_cast<int*>(shared)[k];
  };
  return torch_parallel_for(0, runs, 1, body, numbers.data()) + numbers[runs - 1];
}
}
