// The machine that plays a launch: blocks one after another, in a block the threads as fibers. A fiber runs until it
// meets a barrier or ends; when all have, they must have done the same, and the next round begins.
#include "simt.h"

#include <dlfcn.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <numeric>
#include <random>
#include <sstream>
#include <stdexcept>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace simt {
namespace {

constexpr size_t kStackBytes = 256 * 1024;

struct Fiber {
  enum class State { kIdle, kWaiting, kDone };

  std::unique_ptr<char[]> stack;
  ucontext_t context;
  uint32_t thread = 0;
  State state = State::kIdle;
  bool works = false;          // has touched global memory in this block
  const char* file = nullptr;  // of the barrier it waits at
  int line = 0;
  void* fake_stack = nullptr;
};

struct Free {
  void operator()(void* memory) const { free(memory); }
};

// For each sector of an array the last block that touched it, counted from 1. Memory of sectors that nobody touches is
// not there.
class Sectors {
 public:
  explicit Sectors(const Array& array)
      : first_(sector_of(array.begin)),
        blocks_(static_cast<uint32_t*>(calloc(sector_of(array.begin + array.bytes) - first_ + 1, sizeof(uint32_t)))) {
    if (!blocks_) throw std::bad_alloc();
  }

  void touch(const char* at, uint32_t block, Array& array) {
    uint32_t& last = blocks_[sector_of(at) - first_];
    if (last == 0) array.once += kSectorBytes;
    if (last != block) array.by_blocks += kSectorBytes;
    last = block;
  }

 private:
  static size_t sector_of(const char* at) { return reinterpret_cast<uintptr_t>(at) / kSectorBytes; }

  size_t first_;
  std::unique_ptr<uint32_t[], Free> blocks_;
};

std::string text(dim3 index) {
  std::ostringstream out;
  out << "(" << index.x << ", " << index.y << ", " << index.z << ")";
  return out.str();
}

class Machine {
 public:
  void launch(const std::string& name, dim3 grid, uint32_t threads, size_t shared_bytes, const Play& play,
              Traffic& traffic, const std::function<void()>& kernel);

  void barrier(const char* file, int line) {
    running_->state = Fiber::State::kWaiting;
    running_->file = file;
    running_->line = line;
    leave();
  }

  void on_load(const void* address, size_t bytes) {
    access(address, bytes, false);
    if (bytes == 16) traffic_->wide_loaded += 16;
  }

  void on_store(const void* address, size_t bytes) {
    access(address, bytes, true);
    if (bytes == 16) traffic_->wide_stored += 16;
  }

  unsigned char* shared_memory() { return shared_; }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error("kernel " + name_ + ", block " + text(blockIdx) + ", thread " +
                             std::to_string(threadIdx.x) + ": " + what);
  }

  void access(const void* address, size_t bytes, bool store) {
    const char* at = static_cast<const char*>(address);
    const std::string what = store ? "store of " : "load of ";
    if (!(last_ && inside(*last_, at, bytes))) last_ = find(at, bytes, what);
    if (reinterpret_cast<uintptr_t>(at) % bytes != 0) {
      fail(what + std::to_string(bytes) + " bytes at offset " + std::to_string(at - last_->begin) + " of " +
           last_->name + " is misaligned");
    }
    if (last_->output != store) fail(what + (store ? "an input: " : "an output: ") + last_->name);
    last_->moved += static_cast<int64_t>(bytes);
    sectors_[static_cast<size_t>(last_ - traffic_->arrays.data())].touch(at, block_, *last_);
    running_->works = true;
  }

  static bool inside(const Array& array, const char* at, size_t bytes) {
    return array.begin <= at && at + bytes <= array.begin + array.bytes;
  }

  Array* find(const char* at, size_t bytes, const std::string& what) {
    Array* nearest = nullptr;
    ptrdiff_t least = 0;
    for (Array& array : traffic_->arrays) {
      if (inside(array, at, bytes)) return &array;
      const ptrdiff_t distance = std::max(array.begin - at, at - (array.begin + static_cast<ptrdiff_t>(array.bytes)));
      if (!nearest || distance < least) nearest = &array, least = distance;
    }
    if (!nearest) fail(what + std::to_string(bytes) + " bytes where no array is");
    fail(what + std::to_string(bytes) + " bytes at offset " + std::to_string(at - nearest->begin) + " of " +
         nearest->name + " is out of its " + std::to_string(nearest->bytes) + " bytes");
  }

  static void start(Fiber& fiber);
  void prepare(uint32_t threads);
  void run_block(const std::vector<uint32_t>& order);
  void enter(Fiber& fiber);
  void leave();
  static void fiber_main();

  std::string name_;
  Traffic* traffic_ = nullptr;
  Array* last_ = nullptr;
  std::vector<Sectors> sectors_;  // of each array
  uint32_t block_ = 0;            // that runs, counted from 1
  const std::function<void()>* kernel_ = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  Fiber* running_ = nullptr;
  ucontext_t scheduler_;
  const void* scheduler_stack_ = nullptr;
  size_t scheduler_stack_bytes_ = 0;
  void* scheduler_fake_stack_ = nullptr;
  unsigned char* shared_ = nullptr;
  std::exception_ptr error_;
};

Machine machine;

// Switches to a fiber until it waits or is done.
void Machine::enter(Fiber& fiber) {
  running_ = &fiber;
  threadIdx = dim3(fiber.thread, 0, 0);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&scheduler_fake_stack_, fiber.stack.get(), kStackBytes);
#endif
  swapcontext(&scheduler_, &fiber.context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(scheduler_fake_stack_, nullptr, nullptr);
#endif
}

// Back from the running fiber to the scheduler.
void Machine::leave() {
  Fiber* fiber = running_;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&fiber->fake_stack, scheduler_stack_, scheduler_stack_bytes_);
#endif
  swapcontext(&fiber->context, &scheduler_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fiber->fake_stack, &scheduler_stack_, &scheduler_stack_bytes_);
#endif
}

// A fiber's life: kernel after kernel.
void Machine::fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &machine.scheduler_stack_, &machine.scheduler_stack_bytes_);
#endif
  for (;;) {
    try {
      (*machine.kernel_)();
    } catch (...) {
      machine.error_ = std::current_exception();
    }
    machine.running_->state = Fiber::State::kDone;
    machine.leave();
  }
}

void Machine::start(Fiber& fiber) {
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, fiber_main, 0);
}

void Machine::prepare(uint32_t threads) {
  while (fibers_.size() < threads) {
    auto fiber = std::make_unique<Fiber>();
    fiber->stack.reset(new char[kStackBytes]);
    fiber->thread = static_cast<uint32_t>(fibers_.size());
    start(*fiber);
    fibers_.push_back(std::move(fiber));
  }
}

void Machine::run_block(const std::vector<uint32_t>& order) {
  for (;;) {
    for (uint32_t thread : order) {
      enter(*fibers_[thread]);
      if (error_) {
        fibers_.clear();  // the others wait in the middle of a kernel
        std::rethrow_exception(std::exchange(error_, nullptr));
      }
    }
    const Fiber& first = *fibers_[order[0]];
    for (uint32_t thread : order) {
      const Fiber& fiber = *fibers_[thread];
      if (fiber.state == first.state && (first.state == Fiber::State::kDone || fiber.line == first.line)) continue;
      const auto where = [](const Fiber& fiber) {
        return "thread " + std::to_string(fiber.thread) +
               (fiber.state == Fiber::State::kDone
                    ? std::string(" is done")
                    : " waits at " + std::string(fiber.file) + ":" + std::to_string(fiber.line));
      };
      const std::string what = "divergent barrier: " + where(first) + ", but " + where(fiber);
      fibers_.clear();
      fail(what);
    }
    if (first.state == Fiber::State::kDone) return;
  }
}

void Machine::launch(const std::string& name, dim3 grid, uint32_t threads, size_t shared_bytes, const Play& play,
                     Traffic& traffic, const std::function<void()>& kernel) {
  name_ = name;
  traffic_ = &traffic;
  last_ = nullptr;
  sectors_.clear();
  for (const Array& array : traffic.arrays) sectors_.emplace_back(array);
  block_ = 0;
  kernel_ = &kernel;
  gridDim = dim3(grid.x, std::min(grid.y, play.most_blocks), std::min(grid.z, play.most_blocks));
  blockDim = dim3(threads, 1, 1);
  traffic.launches += 1;
  traffic.grid = grid;
  traffic.threads = threads;
  traffic.shared_bytes = static_cast<int64_t>(shared_bytes);
  prepare(threads);

  std::mt19937_64 random(play.seed);
  std::vector<uint32_t> order(threads);
  std::iota(order.begin(), order.end(), 0u);
  const uint64_t blocks = uint64_t{gridDim.x} * gridDim.y * gridDim.z;
  std::vector<uint64_t> chosen(play.last_blocks ? std::min<uint64_t>(play.last_blocks, blocks) : blocks);
  std::iota(chosen.begin(), chosen.end(), blocks - chosen.size());
  if (play.seed) std::shuffle(chosen.begin(), chosen.end(), random);

  // Exactly as long as asked for, so that an AddressSanitizer build sees every access beyond.
  void* memory = nullptr;
  if (posix_memalign(&memory, 16, shared_bytes) != 0) throw std::bad_alloc();
  const std::unique_ptr<void, Free> shared(memory);
  shared_ = static_cast<unsigned char*>(memory);
  for (uint64_t block : chosen) {
    blockIdx = dim3(static_cast<uint32_t>(block % gridDim.x), static_cast<uint32_t>(block / gridDim.x % gridDim.y),
                    static_cast<uint32_t>(block / gridDim.x / gridDim.y));
    // Garbage: bytes that are no offset of most windows, or NaN in every type.
    std::memset(shared_, play.seed % 2 ? 0xff : 0xcd, shared_bytes);
    if (play.seed) std::shuffle(order.begin(), order.end(), random);
    ++block_;
    run_block(order);
    traffic.played_threads += threads;
    for (const auto& fiber : fibers_) traffic.working_threads += std::exchange(fiber->works, false);
  }
}

}  // namespace

std::string symbol_of(const void* kernel) {
  Dl_info info;
  if (dladdr(kernel, &info) == 0 || info.dli_sname == nullptr) throw std::runtime_error("a kernel without a symbol");
  return info.dli_sname;
}

void launch(const std::string& name, dim3 grid, uint32_t threads, size_t shared_bytes, const Play& play,
            Traffic& traffic, const std::function<void()>& kernel) {
  machine.launch(name, grid, threads, shared_bytes, play, traffic, kernel);
}
void barrier(const char* file, int line) { machine.barrier(file, line); }
void on_load(const void* address, size_t bytes) { machine.on_load(address, bytes); }
void on_store(const void* address, size_t bytes) { machine.on_store(address, bytes); }
unsigned char* shared_memory() { return machine.shared_memory(); }

}  // namespace simt
