// How anything in stflow fails: one exception type that carries the process exit code and one line for the user.
#pragma once
#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace stflow {

/// Process exit codes (sysexits where they exist). Documented in the README.
enum class Exit : int {
  ok = 0,
  some_failed = 3,  // some slides failed under --skip-errors
  mismatch = 8,     // verification found a difference
  usage = 64,       // wrong flags or configuration
  data = 65,        // bad content in a file
  missing = 66,     // an input does not exist or cannot be read
  device = 69,      // no such device, driver or communicator
  internal = 70,    // a bug of ours
  memory = 71,      // out of memory
  create = 73,      // an output cannot be created
  io = 74,          // an output cannot be written
  preempted = 75,   // stopped by a signal: start again, with --resume once there is a checkpoint
  peer = 76,        // another rank failed
};

/// The only exception stflow throws. what() is one line without a trailing newline; `tools/` prefixes "stflow: error: ".
class Error : public std::runtime_error {
 public:
  Error(Exit code, const std::string& line) : std::runtime_error(line), code_(code) {}
  [[nodiscard]] Exit code() const { return code_; }

 private:
  Exit code_;
};

/// Throws Error{code, formatted line}. For files the line reads "<file>: <where>: <found>, expected <what>".
template <class... A> [[noreturn]] void fail(Exit code, fmt::format_string<A...> format, A&&... args) {
  throw Error(code, fmt::format(format, std::forward<A>(args)...));
}

/// Throws an internal error unless `condition` holds: for what only a bug of ours can break (shapes, lifetimes).
template <class... A> void check(bool condition, fmt::format_string<A...> format, A&&... args) {
  if (!condition) throw Error(Exit::internal, fmt::format(format, std::forward<A>(args)...));
}

}  // namespace stflow
