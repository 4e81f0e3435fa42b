#include "tools/config_file.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

#include "engine/error.h"

namespace stflow {
namespace {

// Reads one line from left to right.
class Line {
 public:
  Line(std::string_view text, const std::string& name, int number) : rest_(text), name_(name), number_(number) {}

  /// Skips blanks; true at the end of the line or at a comment.
  bool done() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t')) rest_.remove_prefix(1);
    return rest_.empty() || rest_[0] == '#';
  }
  bool take(char c) {
    if (done() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  [[noreturn]] void expected(const char* what) {
    if (done()) stflow::fail(Exit::usage, "{}: line {}: found the end of the line, expected {}", name_, number_, what);
    stflow::fail(Exit::usage, "{}: line {}: found '{}', expected {}", name_, number_, rest_.substr(0, 40), what);
  }
  std::string key() {
    if (!done() && rest_[0] == '[') expected("key = value (there are no sections)");
    std::string k;
    while (!rest_.empty() && (std::isalnum(static_cast<unsigned char>(rest_[0])) || rest_[0] == '-' || rest_[0] == '_')) {
      k += rest_[0] == '_' ? '-' : rest_[0];
      rest_.remove_prefix(1);
    }
    if (k.empty()) expected("a key");
    if (!take('=')) expected("'='");
    return k;
  }
  ConfigValue value() {
    using Kind = ConfigValue::Kind;
    if (take('[')) {
      ConfigValue list{Kind::list, "", {}};
      while (!take(']')) {
        if (!done() && rest_[0] == '[') expected("a plain value (arrays do not nest)");
        list.items.push_back(value().text);
        if (!take(',') && (done() || rest_[0] != ']')) expected("',' or ']' on the same line");
      }
      return list;
    }
    if (done()) expected("a value");
    if (rest_[0] == '"' || rest_[0] == '\'') return {Kind::text, string(), {}};
    const size_t n = std::min(rest_.find_first_of(" \t#,]"), rest_.size());
    std::string word(rest_.substr(0, n));
    if (word == "true" || word == "false") {
      rest_.remove_prefix(n);
      return {Kind::boolean, word, {}};
    }
    if (word.find_first_not_of("0123456789+-._eE") != std::string::npos || word.find_first_of("0123456789") == std::string::npos)
      expected("a number, true, false or a string in quotes");
    rest_.remove_prefix(n);
    std::erase(word, '_');
    return {Kind::number, word, {}};
  }

 private:
  std::string string() {
    const char quote = rest_[0];
    rest_.remove_prefix(1);
    std::string out;
    while (!rest_.empty() && rest_[0] != quote) {
      char c = rest_[0];
      if (quote == '"' && c == '\\') {
        rest_.remove_prefix(1);
        const std::string_view names = "\"\\nt", values = "\"\\\n\t";
        const size_t i = rest_.empty() ? std::string_view::npos : names.find(rest_[0]);
        if (i == std::string_view::npos) expected("one of the escapes \\\" \\\\ \\n \\t");
        c = values[i];
      }
      out += c;
      rest_.remove_prefix(1);
    }
    if (rest_.empty()) expected("a closing quote");
    rest_.remove_prefix(1);
    return out;
  }

  std::string_view rest_;
  const std::string& name_;
  int number_;
};

}  // namespace

std::vector<ConfigEntry> parse_config(const std::string& text, const std::string& name) {
  std::vector<ConfigEntry> entries;
  int number = 0;
  for (size_t at = 0; at < text.size(); number++) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string_view raw(text.data() + at, end - at);
    at = end + 1;
    if (!raw.empty() && raw.back() == '\r') raw.remove_suffix(1);
    Line line(raw, name, number + 1);
    if (line.done()) continue;
    ConfigEntry e{line.key(), line.value(), number + 1};
    if (!line.done()) line.expected("the end of the line");
    for (auto& o : entries)
      if (o.key == e.key) fail(Exit::usage, "{}: line {}: found '{}' again, expected it once (line {})", name, e.line, e.key, o.line);
    entries.push_back(std::move(e));
  }
  return entries;
}

std::vector<ConfigEntry> read_config(const std::string& path) {
  constexpr size_t kLargest = 1 << 20;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  if (!file) fail(Exit::missing, "{}: {}, expected a configuration file", path, std::strerror(errno));
  std::string text(kLargest + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get())) fail(Exit::missing, "{}: {}, expected a configuration file", path, std::strerror(errno));
  if (text.size() > kLargest) fail(Exit::usage, "{}: more than {} bytes, expected a configuration file", path, kLargest);
  return parse_config(text, path);
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\', out += c;
    else if (c == '\n') out += "\\n";
    else if (c == '\t') out += "\\t";
    else out += c;
  }
  return out + "\"";
}

}  // namespace stflow
