#include "engine/threads.h"

#include <sched.h>

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/cores.h"

namespace stflow {
namespace {

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// One job: `pieces` tickets, drawn in turn by whoever is free. The caller leaves when every piece is done; it never waits for a
// worker that drew none, which may be asleep or without a core. A ticket is what keeps the job alive: whoever holds one may read
// what the job is, whoever got none may not, for the caller may be writing the next.
class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; i++) workers_.emplace_back([this] { work(); });
  }
  ~Pool() {
    stop_ = true;
    epoch_.fetch_add(1);
    epoch_.notify_all();
    for (auto& w : workers_) w.join();
  }
  int size() const { return int(workers_.size()) + 1; }

  void run(int64_t pieces, void (*f)(void*, int64_t), void* state) {
    f_ = f, state_ = state, pieces_ = pieces, error_ = nullptr;
    undone_.store(pieces, std::memory_order_relaxed);
    undrawn_.store(pieces, std::memory_order_release);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
    draw();
    for (int spin = 0;;) {
      const int64_t left = undone_.load(std::memory_order_acquire);
      if (left == 0) break;
      if (++spin < kSpin) relax();
      else undone_.wait(left, std::memory_order_acquire);
    }
    if (error_) std::rethrow_exception(error_);
  }

 private:
  // Long enough to bridge the gap between two ops, short enough to leave the core to others (some tens of microseconds).
  static constexpr int kSpin = 2000;

  void draw() {
    for (;;) {
      const int64_t left = undrawn_.fetch_sub(1, std::memory_order_acq_rel);
      if (left <= 0) return;
      try {
        f_(state_, pieces_ - left);
      } catch (...) {
        std::lock_guard lock(error_mutex_);
        if (!error_) error_ = std::current_exception();
      }
      if (undone_.fetch_sub(1, std::memory_order_acq_rel) == 1) undone_.notify_one();
    }
  }

  void work() {
    inside = true;
    for (uint32_t seen = 0;;) {
      uint32_t now = epoch_.load(std::memory_order_acquire);
      for (int spin = 0; now == seen; now = epoch_.load(std::memory_order_acquire)) {
        if (++spin < kSpin) relax();
        else epoch_.wait(seen, std::memory_order_acquire);
      }
      seen = now;
      if (stop_) return;
      draw();
    }
  }

  std::vector<std::thread> workers_;
  std::atomic<uint32_t> epoch_{0};
  std::atomic<int64_t> undrawn_{0}, undone_{0};
  std::atomic<bool> stop_{false};
  void (*f_)(void*, int64_t) = nullptr;
  void* state_ = nullptr;
  int64_t pieces_ = 0;
  std::exception_ptr error_;
  std::mutex error_mutex_;

 public:
  static thread_local bool inside;  // this thread is already running a piece
};

thread_local bool Pool::inside = false;

std::mutex pool_mutex;  // one job at a time; a second thread of the program waits its turn
std::unique_ptr<Pool> pool;
int wanted = 0;

Pool& the_pool() {
  if (!pool) pool = std::make_unique<Pool>(wanted > 0 ? wanted : available_cores());
  return *pool;
}

}  // namespace

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  unsigned n = std::thread::hardware_concurrency();
  return n ? int(n) : 1;
}

int thread_count() {
  if (Pool::inside) return 1;
  std::lock_guard lock(pool_mutex);
  return the_pool().size();
}

void set_thread_count(int n) {
  std::lock_guard lock(pool_mutex);
  wanted = n;
  if (pool && pool->size() != (n > 0 ? n : available_cores())) pool.reset();
}

void detail::parallel(int64_t pieces, void (*run)(void*, int64_t), void* state) {
  if (pieces == 1 || Pool::inside) {
    for (int64_t i = 0; i < pieces; i++) run(state, i);
    return;
  }
  std::lock_guard lock(pool_mutex);
  Pool& p = the_pool();
  Pool::inside = true;
  struct Leave {
    ~Leave() { Pool::inside = false; }
  } leave;
  if (p.size() == 1)
    for (int64_t i = 0; i < pieces; i++) run(state, i);
  else p.run(pieces, run, state);
}

}  // namespace stflow
