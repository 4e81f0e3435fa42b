// Configuration files: a strict subset of TOML, `key = value` lines.
#pragma once
#include <string>
#include <vector>

namespace stflow {

/// A value as written in a file. Numbers keep their text: the flag that takes it knows what it must be.
struct ConfigValue {
  enum class Kind { text, number, boolean, list } kind = Kind::text;
  std::string text;                // of text, number ("1_000" without the underscores) and boolean ("true", "false")
  std::vector<std::string> items;  // of a list
};

struct ConfigEntry {
  std::string key;  // with '_' written as '-'
  ConfigValue value;
  int line = 0;
};

/// Reads "key = value" lines: "basic" strings (escapes \" \\ \n \t), 'literal' strings, numbers, true, false, one-line
/// arrays of these, comments after '#', empty lines. No sections, no nesting. `name` is for the errors:
/// Exit::usage "<name>: line 3: <found>, expected ...".
std::vector<ConfigEntry> parse_config(const std::string& text, const std::string& name);

/// The same from a file of at most 1 MB. Throws Exit::missing when it cannot be read.
std::vector<ConfigEntry> read_config(const std::string& path);

/// `text` as a basic string of this format, quotes included.
std::string quoted(const std::string& text);

}  // namespace stflow
