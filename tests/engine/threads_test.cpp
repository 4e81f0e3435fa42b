// The thread pool; run under ThreadSanitizer as well (make tsan TESTS="-tc=threads*").
#include "engine/threads.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <stdexcept>
#include <vector>

using namespace stflow;

namespace {

struct Threads {
  explicit Threads(int n) { set_thread_count(n); }
  ~Threads() { set_thread_count(0); }
};

}  // namespace

TEST_CASE("threads: every piece runs exactly once, whatever the numbers of pieces and threads") {
  for (const int threads : {1, 2, 3, 8}) {
    const Threads use(threads);
    CHECK(thread_count() == threads);
    for (const int64_t n : {0, 1, 7, 64, 1001}) {
      for (const int64_t grain : {1, 3, 64, 5000}) {
        std::vector<int> seen(size_t(n), 0);
        parallel_for(n, grain, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; i++) seen[size_t(i)]++;
        });
        CHECK(std::accumulate(seen.begin(), seen.end(), int64_t(0)) == n);
        CHECK(std::count(seen.begin(), seen.end(), 1) == n);
      }
    }
  }
}

TEST_CASE("threads: many short loops in a row, and loops inside loops") {
  const Threads use(3);
  int64_t total = 0;
  for (int round = 0; round < 2000; round++) {
    std::vector<int64_t> parts(5, 0);
    parallel_for(5, 1, [&](int64_t i, int64_t) {
      parallel_for(10, 4, [&](int64_t begin, int64_t end) { parts[size_t(i)] += end - begin; });  // runs on this thread alone
    });
    total += std::accumulate(parts.begin(), parts.end(), int64_t(0));
  }
  CHECK(total == 2000 * 50);
}

TEST_CASE("threads: an exception reaches the caller and the pool goes on") {
  const Threads use(3);
  for (int round = 0; round < 50; round++) {
    CHECK_THROWS_AS(parallel_for(20, 1,
                                 [](int64_t i, int64_t) {
                                   if (i == 13) throw std::runtime_error("thirteen");
                                 }),
                    std::runtime_error);
    std::atomic<int64_t> sum{0};
    parallel_for(20, 1, [&](int64_t i, int64_t) { sum += i; });
    CHECK(sum == 190);
  }
}
