// The one thread pool of the process. Work is cut by its shape, never by the number of threads, so results do not
// depend on how many there are: each piece [begin, end) is computed by exactly one thread.
#pragma once
#include <cstdint>

namespace stflow {

/// Threads in use, the caller included; 1 within a piece of a parallel_for. Set once, before the first parallel_for (default: the cores
/// this process may use).
int thread_count();
void set_thread_count(int n);

namespace detail {
void parallel(int64_t pieces, void (*run)(void*, int64_t), void* state);
}

/// Calls f(begin, end) for consecutive pieces of `grain` that cover [0, n), on all threads, and waits for them.
/// Nested calls run on the calling thread. f must not throw across pieces that others depend on; the first exception
/// is rethrown in the caller. Allocates nothing.
template <class F> void parallel_for(int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
  struct State {
    F& f;
    int64_t n, grain;
  } state{f, n, grain};
  int64_t pieces = (n + grain - 1) / grain;
  auto run = [](void* p, int64_t i) {
    auto& s = *static_cast<State*>(p);
    int64_t begin = i * s.grain, end = begin + s.grain;
    s.f(begin, end < s.n ? end : s.n);
  };
  detail::parallel(pieces, run, &state);
}

}  // namespace stflow
