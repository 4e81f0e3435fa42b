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

/// Within a child process: while it lives, at most so many bytes more than there are now.
class ChildRoom {
 public:
  explicit ChildRoom(uint64_t bytes);
  ChildRoom(const ChildRoom&) = delete;
  ChildRoom& operator=(const ChildRoom&) = delete;
  ~ChildRoom();

 private:
  uint64_t before_ = 0;
};

/// A child process that answers one question after another, for a reader that keeps a file open. In it `start` makes what answers
/// questions. Throws as in_child_process() does; after a crash, a hang or running out of memory every further question throws again. The
/// limit of seconds is for each answer, on the clock.
class ChildServer {
 public:
  using Answer = std::function<std::string(const std::string&)>;
  ChildServer(std::string file, std::string kind, const ChildLimits& limits, const std::function<Answer()>& start);
  ChildServer(const ChildServer&) = delete;
  ChildServer& operator=(const ChildServer&) = delete;
  ~ChildServer();

  /// From any thread; one question at a time is answered.
  std::string ask(const std::string& question);

 private:
  [[noreturn]] void refuse(const std::string& found);

  std::string file_, kind_;
  ChildLimits limits_;
  std::mutex lock_;
  int to_ = -1, from_ = -1, child_ = -1;
  std::string broken_;  // why it answers no more
};

/// Held while a child is forked. Whoever else calls a library that children use holds it too, so that none starts from the middle of a
/// call of another thread.
std::mutex& fork_lock();

}  // namespace stflow
