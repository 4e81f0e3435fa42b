// Work on files that may crash the library that reads them: done in a short-lived child process with limits.
#pragma once
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

namespace stflow {

struct ChildLimits {
  int seconds = 60;                  // processor time, and twice that on the clock
  int64_t bytes = int64_t(4) << 30;  // memory beyond what this process has now, and the answer's size
};

/// Runs work() in a forked child and returns its answer. An Error thrown by work() is thrown again here with its code and line. A
/// crash, a hang or running out of memory becomes Exit::data "<file>: the reader ... , expected a readable <kind> file".
std::string in_child_process(const std::string& file, const std::string& kind, const ChildLimits& limits,
                             const std::function<std::string()>& work);

/// Held while a child is forked. Whoever else calls a library that children use holds it too, so that none starts from the middle of a
/// call of another thread.
std::mutex& fork_lock();

}  // namespace stflow
