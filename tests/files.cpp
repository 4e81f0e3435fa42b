#include "tests/files.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace stflow::test {

TempFolder::TempFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "stflow-test-XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempFolder::file(const std::string& name, std::string_view content) const {
  std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
  std::ofstream out(path(name), std::ios::binary);
  out.write(content.data(), std::streamsize(content.size()));
  REQUIRE(out.good());
  return path(name);
}

void refuses(Exit code, const std::string& line, const std::string& path, const std::function<void()>& run) {
  std::string expected = line;
  for (size_t at; (at = expected.find("{}")) != std::string::npos;) expected.replace(at, 2, path);
  try {
    run();
  } catch (const Error& e) {
    CHECK(std::string(e.what()) == expected);
    CHECK(int(e.code()) == int(code));
    return;
  }
  FAIL("accepted, expected: " << expected);
}

int in_child(const std::function<int()>& body) {
  pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    int status = 99;
    try {
      status = body();
    } catch (const Error& e) {
      status = int(e.code());
    }
    ::_exit(status);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace stflow::test
