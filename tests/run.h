// Runs the built command as a user does: another process, its exit code and what it wrote.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

namespace stflow::test {

struct Ran {
  int code = -1;    // exit code; 128 + signal when it died of one
  std::string out;  // stdout
  std::string err;  // stderr
};

/// Runs stflow (the binary beside the tests' folder) with these words and stdin empty. `environment`: "NAME=value" added
/// to this process's, of which STFLOW_*, NO_COLOR, FORCE_COLOR, CLICOLOR_FORCE and COLUMNS are dropped.
Ran run_stflow(const std::vector<std::string>& args, const std::vector<std::string>& environment = {});

/// The same through `sh -c`; "$STFLOW" in the text is the binary.
Ran run_shell(const std::string& text);

/// Starts stflow with these words, and returns at once with its process; what it writes goes to these files.
pid_t start_stflow(const std::vector<std::string>& args, const std::vector<std::string>& environment = {},
                   const std::string& out = "/dev/null", const std::string& err = "/dev/null");
/// Waits until that process handles `signal` itself, or has ended.
void wait_until_caught(pid_t process, int signal);
/// Waits for its end and returns its exit code, or 128 + the signal that ended it.
int ended(pid_t process);

/// An empty folder that is removed, with its content, at the end of its life.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Writes a file in it and returns its path.
  [[nodiscard]] std::string write(const std::string& name, const std::string& content) const;

 private:
  std::string path_;
};

/// The whole content of a file.
std::string read_file(const std::string& path);

}  // namespace stflow::test
