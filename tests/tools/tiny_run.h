// A small run of stflow train as a process: three generated sections whose genes follow the colour of the picture, the words of
// the run, and what it must give.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/files.h"

namespace stflow::test {

/// Sections A, B (train) and C (test) with their manifest, and an encoder that looks at 200 microns, in a folder of their own.
class TinyRun {
 public:
  TinyRun();
  [[nodiscard]] std::string path(const std::string& name) const { return folder.path(name); }
  /// The words of a run into folder `run`: 6 models of 12 steps.
  [[nodiscard]] std::vector<std::string> words(const std::string& run, const std::vector<std::string>& more = {}) const;
  /// The words that predict section C with that run's model into `out`.
  [[nodiscard]] std::vector<std::string> predict(const std::string& run, const std::string& out) const;

  TempFolder folder;

 private:
  void section(const std::string& name, uint32_t s) const;
};

/// What a run must give again, byte by byte: model, predictions, metrics, configuration.
std::vector<std::string> results(const std::string& run);

/// CHECKs that every file with its final name is whole, whenever the run was stopped.
void check_whole(const std::string& run);

bool has_checkpoint(const std::string& run);

double seconds_of(const std::function<void()>& run);

}  // namespace stflow::test
