#include "tools/signals.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <initializer_list>

namespace stflow {
namespace {

std::atomic<int64_t> first{0}, same_for{0};  // nanoseconds: when the first signal came, 0 before; how long another means the same
static_assert(std::atomic<int64_t>::is_always_lock_free, "a signal handler may touch it");

void on_signal(int number) {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  const int64_t now = int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
  int64_t before = 0;
  if (first.compare_exchange_strong(before, now) || now - before < same_for) return;
  _exit(128 + number);
}

}  // namespace

void ignore_write_signals() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

void catch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (int number : {SIGINT, SIGTERM, SIGUSR1}) sigaction(number, &action, nullptr);
}

bool stop_requested() { return first.load(std::memory_order_relaxed) != 0; }

void expect_stop_twice() { same_for = 2'000'000'000; }

void check_stop() {
  if (stop_requested()) throw Stopped{};
}

void clear_stop_request() { first = 0; }

}  // namespace stflow
