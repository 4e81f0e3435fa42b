#include "tests/run.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

extern char** environ;

namespace stflow::test {
namespace {

std::string binary() { return (std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "stflow").string(); }

std::vector<std::string> kept_environment() {
  std::vector<std::string> kept;
  for (char** e = environ; *e; e++) {
    const std::string entry = *e;
    bool drop = false;
    for (const char* name : {"STFLOW_", "NO_COLOR=", "FORCE_COLOR=", "CLICOLOR_FORCE=", "COLUMNS="}) drop = drop || entry.starts_with(name);
    if (!drop) kept.push_back(entry);
  }
  return kept;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> p;
  for (auto& w : words) p.push_back(w.data());
  p.push_back(nullptr);
  return p;
}

Ran run(std::vector<std::string> words, std::vector<std::string> environment) {
  const Folder folder;
  const std::string out = folder.path() + "/out", err = folder.path() + "/err";
  auto argv = pointers(words), envp = pointers(environment);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
    dup2(open(out.c_str(), flags, 0600), STDOUT_FILENO);
    dup2(open(err.c_str(), flags, 0600), STDERR_FILENO);
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  const int code = ended(child);
  return {code, read_file(out), read_file(err)};
}

}  // namespace

Ran run_stflow(const std::vector<std::string>& args, const std::vector<std::string>& environment) {
  std::vector<std::string> words{binary()}, all = kept_environment();
  words.insert(words.end(), args.begin(), args.end());
  all.insert(all.end(), environment.begin(), environment.end());
  return run(words, all);
}

Ran run_shell(const std::string& text) {
  auto environment = kept_environment();
  environment.push_back("STFLOW=" + binary());
  return run({"/bin/sh", "-c", text}, environment);
}

pid_t start_stflow(const std::vector<std::string>& args, const std::vector<std::string>& more, const std::string& out,
                   const std::string& err) {
  std::vector<std::string> words{binary()}, environment = kept_environment();
  words.insert(words.end(), args.begin(), args.end());
  environment.insert(environment.end(), more.begin(), more.end());
  auto argv = pointers(words), envp = pointers(environment);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  pid_t process = -1;
  // Unlike fork() it returns once the new program has begun: a signal never meets the handlers of this one.
  REQUIRE(posix_spawn(&process, argv[0], &files, nullptr, argv.data(), envp.data()) == 0);
  posix_spawn_file_actions_destroy(&files);
  return process;
}

void wait_until_caught(pid_t process, int signal) {
  // "SigCgt:" is the mask of handled signals in hexadecimal; a process that has ended has none of these lines.
  for (int i = 0; i < 150000; i++, usleep(200)) {
    const std::string status = read_file("/proc/" + std::to_string(process) + "/status");
    const size_t at = status.find("SigCgt:");
    if (at == std::string::npos || status.find("State:\tZ") != std::string::npos) return;
    if (std::stoull(status.substr(at + 7), nullptr, 16) >> (signal - 1) & 1) return;
  }
  FAIL("the process never handled signal " << signal);
}

int ended(pid_t process) {
  int status = 0;
  REQUIRE(waitpid(process, &status, 0) == process);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Folder::Folder() {
  std::string name = (std::filesystem::temp_directory_path() / "stflow-test-XXXXXX").string();
  REQUIRE(mkdtemp(name.data()));
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string Folder::write(const std::string& name, const std::string& content) const {
  const std::string path = path_ + "/" + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

}  // namespace stflow::test
