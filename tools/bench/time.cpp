// Time and memory of one measurement.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <new>

#include "engine/cuda/memory.h"
#include "engine/error.h"
#include "tools/bench/bench.h"

namespace stflow::benchmark {
namespace {

// What the child says: its result, or the error it would have thrown.
std::string answer(const std::function<JsonOut()>& measure) {
  try {
    return JsonOut{{"result", measure()}}.dump();
  } catch (const Error& e) {
    return JsonOut{{"error", e.what()}, {"code", int(e.code())}}.dump();
  } catch (const std::bad_alloc&) {
    return JsonOut{{"error", "out of memory"}, {"code", int(Exit::memory)}}.dump();
  } catch (const std::exception& e) {
    return JsonOut{{"error", e.what()}, {"code", int(Exit::internal)}}.dump();
  }
}

void write_all(int to, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t n = write(to, text.data() + at, text.size() - at);
    if (n < 0 && errno != EINTR) return;  // the parent is gone
    if (n > 0) at += size_t(n);
  }
}

std::string read_all(int from) {
  std::string text;
  char part[4096];
  for (;;) {
    const ssize_t n = read(from, part, sizeof part);
    if (n == 0 || (n < 0 && errno != EINTR)) return text;
    if (n > 0) text.append(part, size_t(n));
  }
}

}  // namespace

void add_device_memory(JsonOut& row, const Context& context) {
  if (context.device == Device::cuda) row["device_bytes"] = cuda_memory().taken();
}

JsonOut time_runs(double seconds, const std::function<void()>& f, double limit) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); };
  const auto first = Clock::now();
  f();
  if (const double t = since(first); t > limit) return {{"median_seconds", t}, {"best_seconds", t}, {"runs", 1}};
  std::vector<double> times;
  for (const auto start = Clock::now(); times.size() < 3 || since(start) < seconds;) {
    const auto begin = Clock::now();
    f();
    times.push_back(since(begin));
  }
  std::sort(times.begin(), times.end());
  return {{"median_seconds", times[times.size() / 2]}, {"best_seconds", times[0]}, {"runs", times.size()}};
}

JsonOut in_child(const std::function<JsonOut()>& measure) {
  int ends[2];
  if (pipe(ends) != 0) fail(Exit::internal, "bench: no pipe to a child process");
  const pid_t child = fork();
  if (child < 0) fail(Exit::memory, "bench: no child process");
  if (child == 0) {
    close(ends[0]);
    write_all(ends[1], answer(measure));
    _exit(0);
  }
  close(ends[1]);
  const std::string text = read_all(ends[0]);
  close(ends[0]);
  int status = 0;
  rusage used{};
  while (wait4(child, &status, 0, &used) < 0 && errno == EINTR) {}
  if (WIFSIGNALED(status)) fail(Exit::memory, "bench: a measurement was ended by signal {}", WTERMSIG(status));
  JsonOut said = JsonOut::parse(text);
  if (said.contains("error")) throw Error(Exit(said["code"].get<int>()), said["error"].get<std::string>());
  JsonOut result = said["result"];
  if (result.is_object()) result["peak_rss_bytes"] = int64_t(used.ru_maxrss) * 1024;
  return result;
}

}  // namespace stflow::benchmark
