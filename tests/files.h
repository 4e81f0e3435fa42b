// What tests of files share: a folder that disappears, and the check of an error line.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "engine/error.h"

namespace stflow::test {

/// A fresh folder, removed with its content at the end of the test.
class TempFolder {
 public:
  TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder();
  [[nodiscard]] std::string path(const std::string& name = "") const { return name.empty() ? path_ : path_ + "/" + name; }
  /// Writes a file into the folder and returns its path.
  std::string file(const std::string& name, std::string_view content) const;

 private:
  std::string path_;
};

/// REQUIREs that `run` throws an Error of this code whose line is `line`, after "{}" in it was replaced by `path`.
void refuses(Exit code, const std::string& line, const std::string& path, const std::function<void()>& run);

/// Runs `body` in a child process and returns its exit status (-signal if one killed it): for limits and privileges.
int in_child(const std::function<int()>& body);

}  // namespace stflow::test
