// The block scheduler of the emulator.
#include "engine/cuda/emulate.h"

#include <map>

#include "engine/cuda/emulate_block.h"
#include "engine/error.h"
#include "engine/random.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace stflow::emulator {
namespace {

enum class State { fresh, ready, at_block, at_warp, done };

struct Thread {
  dim3 index;
  int linear = 0;
  State state = State::fresh;
  int exchanges = 0;  // so far: picks the bank of slots
  int site = 0;       // the line where it waits
};

/// A fiber and the thread that it runs, if any.
struct Worker {
  Fiber* fiber = nullptr;
  Thread* thread = nullptr;
};

constexpr size_t kStaticShared = 48 * 1024, kAllShared = 227 * 1024;  // of a block on sm_90
constexpr char kNan = char(0xff);

Order order = Order::ascending;
bool verifies = false;  // an InEveryOrder lives
const char* kernel = "";
const std::function<void()>* body = nullptr;
std::vector<Thread> threads;
std::vector<size_t> turn;        // in which order threads run
size_t next_turn = 0, stop = 0;  // turn[next_turn .. stop) may be started
std::vector<uint64_t> slots;
std::vector<char> dynamic;
std::map<int, std::vector<char>> arrays;  // of the running block, by number
size_t array_bytes = 0;
std::vector<Worker> workers, idle;
Worker* running = nullptr;
std::exception_ptr thrown;

template <class... A> [[noreturn]] void refuse(fmt::format_string<A...> format, A&&... args) {
  throw Error(Exit::internal, std::string("kernel ") + kernel + ": " + fmt::format(format, std::forward<A>(args)...));
}

// A fiber runs thread after thread until one of them has to wait: a kernel without barriers costs no switch.
void adopt(Worker& w) {
  w.thread = &threads[turn[next_turn++]];
  threadIdx = w.thread->index;
}

void run_threads() {
  for (;;) {
    try {
      (*body)();
    } catch (...) {
      thrown = std::current_exception();
    }
    running->thread->state = State::done;
    if (next_turn < stop && !thrown) {
      adopt(*running);
      continue;
    }
    running->thread = nullptr;
    leave();
  }
}

void resume(Worker& w) {
  running = &w;
  if (w.thread) threadIdx = w.thread->index;
  enter(w.fiber);
  running = nullptr;
  if (thrown) std::rethrow_exception(std::exchange(thrown, nullptr));
}

size_t warp_of(const Thread& t) { return size_t(t.linear) / 32; }

// Fresh shared memory: quiet NaNs of another payload in each order, so that who reads them before they are written shows.
std::vector<char> unwritten(size_t bytes) {
  std::vector<char> a(bytes, kNan);
  for (size_t i = 0; i < bytes; i += sizeof(float)) a[i] = char(kNan - int(order));
  return a;
}

// Starts or resumes every lane of the w-th warp to run that can go on; true if there was one.
bool step_warp(size_t w) {
  bool any = false;
  for (next_turn = w * 32, stop = next_turn + 32; next_turn < stop && threads[turn[next_turn]].state == State::fresh; any = true) {
    Worker fresh;
    if (idle.empty()) fresh.fiber = new_fiber(run_threads);
    else fresh = idle.back(), idle.pop_back();
    workers.push_back(fresh);
    adopt(workers.back());
    resume(workers.back());
  }
  next_turn = stop;
  const size_t warp = warp_of(threads[turn[w * 32]]);
  for (Worker& worker : workers)
    if (worker.thread && worker.thread->state == State::ready && warp_of(*worker.thread) == warp) any = true, resume(worker);
  const auto free = std::stable_partition(workers.begin(), workers.end(), [](const Worker& x) { return x.thread != nullptr; });
  idle.insert(idle.end(), free, workers.end());
  workers.erase(free, workers.end());
  return any;
}

// Frees a barrier that all threads of [first, last) have reached at one line.
bool release(size_t first, size_t last, State kind) {
  for (size_t i = first; i < last; i++)
    if (threads[i].state != kind || threads[i].site != threads[first].site) return false;
  for (size_t i = first; i < last; i++) threads[i].state = State::ready;
  return true;
}

[[noreturn]] void stuck() {
  int count[5] = {};
  for (const auto& t : threads) count[int(t.state)]++;
  refuse("barrier not reached by all threads ({} at __syncthreads, {} at a warp operation, {} returned)", count[int(State::at_block)],
         count[int(State::at_warp)], count[int(State::done)]);
}

// Greedy: a warp runs until a block barrier stops it, so that warps are as far apart as the barriers allow.
void run_block() {
  const size_t warps = threads.size() / 32;
  for (;;) {
    bool any = false;
    for (size_t w = 0; w < warps; w++) {
      const size_t first = warp_of(threads[turn[w * 32]]) * 32;
      while (step_warp(w) || release(first, first + 32, State::at_warp)) any = true;
    }
    if (workers.empty()) return;
    if (!release(0, threads.size(), State::at_block) && !any) stuck();
  }
}

/// A permutation of [first, first + n) in place, from draw `draw` on.
void shuffle(size_t* first, size_t n, uint64_t& draw) {
  const RandomKey key(1, Stream::test);
  for (size_t i = n; i > 1; i--) std::swap(first[i - 1], first[key.draw(draw++).v[0] % i]);
}

/// The order of n blocks, or threads, that are not shuffled.
size_t place(size_t i, size_t n) { return order == Order::descending ? n - 1 - i : i; }

void choose_turns(uint64_t& draw) {
  const size_t n = turn.size();
  for (size_t i = 0; i < n; i++) turn[i] = place(i, n);
  if (order != Order::shuffled) return;
  size_t warps[32];
  for (size_t w = 0; w < n / 32; w++) warps[w] = w;
  shuffle(warps, n / 32, draw);
  for (size_t w = 0; w < n / 32; w++) {
    for (size_t i = 0; i < 32; i++) turn[w * 32 + i] = warps[w] * 32 + i;
    shuffle(&turn[w * 32], 32, draw);
  }
}

void run_grid(size_t shared) {
  const size_t n = threads.size(), count = size_t(gridDim.x) * gridDim.y * gridDim.z;
  uint64_t draw = 0;
  std::vector<size_t> blocks(count);
  for (size_t b = 0; b < count; b++) blocks[b] = place(b, count);
  if (order == Order::shuffled) shuffle(blocks.data(), count, draw);
  for (size_t b : blocks) {
    blockIdx = dim3(unsigned(b % gridDim.x), unsigned(b / gridDim.x % gridDim.y), unsigned(b / gridDim.x / gridDim.y));
    for (size_t i = 0; i < n; i++)
      threads[i] = {dim3(unsigned(i % blockDim.x), unsigned(i / blockDim.x % blockDim.y), unsigned(i / blockDim.x / blockDim.y)), int(i),
                    State::fresh, 0, 0};
    choose_turns(draw);
    slots.assign(n * 2, 0);
    dynamic = unwritten(shared);  // of exactly this size: ASan sees one byte more
    arrays.clear();
    array_bytes = 0;
    run_block();
  }
}

void wait(State kind, int site) {
  running->thread->state = kind;
  running->thread->site = site;
  leave();
}

std::vector<std::string>& names() {
  static std::vector<std::string> all;
  return all;
}

// Under ASan: the line that names the kernel in which an access out of bounds ended the program.
void tell_kernel() {
  if (*kernel)
    fmt::print(stderr, "emulator: in kernel {}, block ({}, {}, {}), thread {}\n", kernel, blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x);
}

/// Leaves the order as it was and no fiber behind that a later launch could take for its own, whatever happened.
struct Running {
  const DeviceOpen open;
  const Order set = order;
  explicit Running(const char* name) {
    kernel = name;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_set_death_callback(tell_kernel);
#else
    (void)tell_kernel;
#endif
    if (std::find(names().begin(), names().end(), name) == names().end()) names().emplace_back(name);
  }
  ~Running() {
    kernel = "";
    order = set;
    workers.clear();  // of a kernel that was given up: their stacks are not entered again
    thrown = nullptr;
  }
};

}  // namespace

void set_order(Order o) { order = o; }
InEveryOrder::InEveryOrder() { verifies = true; }
InEveryOrder::~InEveryOrder() { verifies = false; }
const std::vector<std::string>& kernels_run() { return names(); }

int lane() { return running->thread->linear & 31; }
void* dynamic_shared() { return dynamic.data(); }
uint64_t* warp_slots() { return &slots[warp_of(*running->thread) * 64 + size_t(running->thread->exchanges & 1) * 32]; }
void sync_block(int site) { wait(State::at_block, site); }
void sync_warp(int site) {
  running->thread->exchanges++;
  wait(State::at_warp, site);
}

int new_array() {
  static int count = 0;
  return count++;
}

void* shared_array(int number, size_t bytes) {
  std::vector<char>& a = arrays[number];
  if (a.empty()) {
    a = unwritten(bytes);
    array_bytes += bytes;
    if (array_bytes > kStaticShared) refuse("{} bytes of shared arrays, expected at most {}", array_bytes, kStaticShared);
  }
  return a.data();
}

void run(const char* name, dim3 grid, dim3 dim, size_t shared, const std::function<void()>& thread) {
  check(!running, "kernel {}: launched from within a kernel", name);
  if (recorded([=] { run(name, grid, dim, shared, thread); })) return;
  count(&Counts::launches);
  const Running guard(name);
  const size_t n = size_t(dim.x) * dim.y * dim.z;
  if (n == 0 || n > 1024 || n % 32) refuse("a block of {} threads, expected 1 to 32 whole warps", n);
  if (shared > kAllShared) refuse("{} bytes of shared memory, expected at most {}", shared, kAllShared);
  if (grid.y > 65535 || grid.z > 65535) refuse("a grid of {} x {} x {}, expected at most 65535 in y and z", grid.x, grid.y, grid.z);
  gridDim = grid, blockDim = dim;
  body = &thread;
  threads.resize(n);
  turn.resize(n);
  if (!verifies) return run_grid(shared);
  const std::vector<char> before = snapshot();
  std::vector<char> after;
  for (Order each : {Order::ascending, Order::descending, Order::shuffled}) {
    restore(before);
    order = each;
    run_grid(shared);
    if (each == Order::ascending) after = snapshot();
    else if (snapshot() != after) refuse("the order of threads changes the result: a barrier is missing, or threads race");
  }
}

}  // namespace stflow::emulator
