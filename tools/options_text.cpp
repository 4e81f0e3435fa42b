// How flags are shown: --help, --print-config and what an error says was expected.
#include <algorithm>

#include "tools/options.h"

namespace stflow {
namespace {

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string out;
  for (auto& w : words) out += (out.empty() ? "" : between) + w;
  return out;
}

// Breaks `text` at blanks into lines of at most `width`, each after the first indented.
std::string wrapped(const std::string& text, size_t indent, size_t width) {
  std::string out, line;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    at = end + 1;
    if (!line.empty() && indent + line.size() + 1 + word.size() > width) {
      out += line + "\n" + std::string(indent, ' ');
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return out + line;
}

struct AsText {
  bool config = false;  // quotes and brackets
  std::string operator()(const bool* v) const { return *v ? "true" : "false"; }
  template <class T> std::string operator()(const T* v) const { return fmt::format("{}", *v); }
  std::string operator()(const std::string* v) const { return config ? quoted(*v) : *v; }
  std::string operator()(const std::vector<std::string>* v) const {
    if (!config) return joined(*v, ",");
    std::vector<std::string> items;
    for (auto& item : *v) items.push_back(quoted(item));
    return "[" + joined(items, ", ") + "]";
  }
  template <class T> std::string operator()(const std::optional<T>* v) const { return *v ? (*this)(&**v) : ""; }
};

struct Kind {
  const char* operator()(const bool*) const { return "true or false"; }
  const char* operator()(const int*) const { return "a whole number"; }
  const char* operator()(const int64_t*) const { return "a whole number"; }
  const char* operator()(const uint64_t*) const { return "a whole number of at least 0"; }
  const char* operator()(const float*) const { return "a number"; }
  const char* operator()(const double*) const { return "a number"; }
  const char* operator()(const std::string*) const { return "text"; }
  const char* operator()(const std::vector<std::string>*) const { return "words separated by commas"; }
  template <class T> const char* operator()(const std::optional<T>*) const { return (*this)(static_cast<const T*>(nullptr)); }
};

}  // namespace

std::string Flag::value_text() const {
  return std::visit([](auto* v) { return AsText{}(v); }, target_);
}
std::string Flag::config_text() const {
  return std::visit([](auto* v) { return AsText{true}(v); }, target_);
}

std::string Flag::expectation() const {
  if (!choices_.empty()) return "one of " + joined(choices_, ", ");
  std::string text = std::visit([](auto* v) -> const char* { return Kind{}(v); }, target_);
  if (low_ && high_) return fmt::format("{} from {} to {}", text, *low_, *high_);
  if (low_) return fmt::format("{} of at least {}", text, *low_);
  return text == "text" && !placeholder_.empty() ? placeholder_ : text;
}

std::string Flag::value_name() const {
  if (!placeholder_.empty()) return placeholder_;
  if (is_argument_) return name_;
  if (is_bool()) return "";
  if (!choices_.empty()) return joined(choices_, "|");
  const std::string kind = std::visit([](auto* v) -> const char* { return Kind{}(v); }, target_);
  return kind.starts_with("a whole") ? "N" : kind.starts_with("a number") ? "X" : kind.starts_with("words") ? "A,B,..." : "TEXT";
}

std::string Options::help_text() const {
  std::string usage = "usage: stflow " + command_;
  std::vector<std::string> sections;
  for (auto& f : flags_) {
    if (f.rest_) usage += " [flags] [--] " + f.value_name() + " ...";
    else if (f.is_argument_) usage += f.optional_ ? " [" + f.value_name() + "]" : " " + f.value_name();
    else if (std::find(sections.begin(), sections.end(), f.section_) == sections.end()) sections.push_back(f.section_);
  }
  std::rotate(sections.begin(), sections.begin() + 1, sections.end());  // the common flags come last
  const size_t width = size_t(std::min(terminal::columns(), 120)), indent = 30;
  std::string out = wrapped(summary_, 0, width) + "\n\n" + usage + (usage.find("[flags]") == std::string::npos ? " [flags]\n" : "\n");
  const auto entry = [&](const std::string& left, const std::string& right) {
    out += "  " + left;
    out += left.size() + 4 > indent ? "\n" + std::string(indent, ' ') : std::string(indent - 2 - left.size(), ' ');
    out += wrapped(right, indent, width) + "\n";
  };
  for (auto& f : flags_)
    if (f.is_argument_) entry(f.value_name(), f.help_);
  for (auto& section : sections) {
    out += "\n" + section + ":\n";
    for (auto& f : flags_) {
      if (f.is_argument_ || f.section_ != section) continue;
      std::string left = (f.letter_ ? fmt::format("-{}, ", f.letter_) : std::string()) + "--" + f.name_;
      if (!f.is_bool()) left += " " + f.value_name();
      const bool show_default = !f.default_.empty() && f.default_ != "false";
      entry(left,
            f.help_ + (show_default ? f.is_bool() ? " (on; --no-" + f.name_ + " turns it off)" : " (default " + f.default_ + ")" : ""));
    }
  }
  return out + "\nExample:\n  " + example_ + "\n";
}

std::string Options::config_text() const {
  std::string out = "# stflow " + command_ + "\n";
  for (auto& f : flags_) {
    if (f.is_argument_ || f.name_ == "help" || f.name_ == "print-config" || f.name_ == "config") continue;
    const std::string value = f.config_text();
    out += value.empty() ? fmt::format("# {} is not set\n", f.name_) : fmt::format("{} = {}  # {}\n", f.name_, value, f.source_);
  }
  return out;
}

}  // namespace stflow
