// The folder of a training run: metrics line by line, checkpoints, results.
#pragma once
#include <cstdio>
#include <string>

#include "model/fit.h"

namespace stflow {

class RunFolder {
 public:
  /// The folder that `path` means: itself, or for "" the next free number in runs/, with `resume` the last one (Exit::missing if none).
  static std::string place_of(const std::string& path, bool resume);
  /// Throws what create() or open() would throw, changing nothing: before there is work to lose.
  static void check_place(const std::string& path, bool resume, bool overwrite);
  /// What a start of `job` ("": unknown) that follows a failed one finds of it in `path` ("" is the last in runs/). What another job left
  /// is nothing; where it cannot be told whose a run is, it is taken for this job's unless that would be one that is to be overwritten.
  enum class Left { nothing, unfinished, finished };
  static Left left_in(const std::string& path, const std::string& job, bool overwrite);
  /// A new run in `path`, which must not hold one (Exit::create) unless `overwrite`; "" takes the next free number in runs/.
  static RunFolder create(std::string path, bool overwrite, const std::string& job = "");
  /// An earlier run; "" takes the last in runs/. Throws Exit::missing if there is none, Exit::create if it is finished.
  static RunFolder open(const std::string& path, const std::string& job = "");
  RunFolder(RunFolder&& o) noexcept : path_(std::move(o.path_)), metrics_(std::exchange(o.metrics_, nullptr)) {}
  RunFolder(const RunFolder&) = delete;
  ~RunFolder();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

  /// One line of metrics.jsonl.
  void metric(const std::string& json_line);
  /// What metric() was given, to the disk: before anything that says it happened. Throws Exit::io.
  void flush();
  /// flush(), then a checkpoint; keeps the last two.
  void checkpoint(const Fit& fit);
  /// Continues `fit` from the newest whole checkpoint (a damaged one is named in a warning and left out) and cuts metrics.jsonl
  /// to what that checkpoint has seen. Without a checkpoint the fit starts at its beginning.
  /// Returns the checkpoint's path, "" without one.
  std::string resume(Fit& fit);
  /// Removes the checkpoints of a finished run.
  void clean();

 private:
  RunFolder(std::string path, const std::string& job);
  std::string path_;
  std::FILE* metrics_ = nullptr;
};

}  // namespace stflow
