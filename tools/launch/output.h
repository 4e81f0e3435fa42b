// What the workers of `stflow launch` write: to the launcher's own stdout and stderr, whole lines with the rank before them, and to
// files. Never waits for a reader that does not read.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace stflow {

/// One of the launcher's own streams: bytes wait here until it takes them.
class Sink {
 public:
  explicit Sink(int fd) : fd_(fd) {}
  void add(std::string_view bytes) {
    if (!broken_) queue_ += bytes;
  }
  /// Writes what the stream takes without waiting, as whole lines where they fit.
  void write_some();
  [[nodiscard]] bool waiting() const { return !queue_.empty(); }
  /// So much waits that nothing more is read from the workers.
  [[nodiscard]] bool full() const { return queue_.size() >= (size_t{1} << 20); }
  /// A write failed: what came later was dropped.
  [[nodiscard]] bool broken() const { return broken_; }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
  bool broken_ = false;
  std::string queue_;
};

/// stdout or stderr of one worker, from its pipe.
class WorkerStream {
 public:
  /// `sink` null: not shown. `prefix` "" and not `lines`: bytes as they come. `file`: also appended there, with its folders; "" for
  /// none. Throws Exit::create when it cannot be made.
  WorkerStream(Sink* sink, std::string prefix, bool lines, const std::string& file);
  WorkerStream(WorkerStream&& other) noexcept;
  WorkerStream(const WorkerStream&) = delete;
  ~WorkerStream();

  void add(std::string_view bytes);
  /// No more will come: a last line without an end gets one.
  void end();
  [[nodiscard]] Sink* sink() const { return sink_; }

 private:
  void show_line(std::string_view line);
  Sink* sink_;
  std::string prefix_, partial_, file_name_;
  bool lines_;
  int file_ = -1;
};

}  // namespace stflow
