#include "tools/options.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <type_traits>

#include "engine/error.h"
#include "engine/nearest.h"
#include "engine/threads.h"

namespace stflow {
namespace {

// Names that only make sense on the command line.
bool command_line_only(std::string_view name) { return name == "help" || name == "print-config" || name == "config"; }

// The whole of `text` as a number; no locale, no blanks, no hexadecimal. A leading '+' is allowed.
template <class T> bool number(std::string_view text, T& out) {
  if (!text.empty() && text[0] == '+') text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if constexpr (std::is_floating_point_v<T>)
    if (!std::isfinite(out)) return false;
  return error == std::errc() && end == text.data() + text.size();
}

template <class T> struct IsOptional : std::false_type {};
template <class T> struct IsOptional<std::optional<T>> : std::true_type {};

}  // namespace

Flag& Flag::range(double low, double high) {
  low_ = low, high_ = high;
  return *this;
}
Flag& Flag::at_least(double low) {
  low_ = low;
  return *this;
}
Flag& Flag::choices(std::vector<std::string> words) {
  choices_ = std::move(words);
  return *this;
}
Flag& Flag::placeholder(std::string text) {
  placeholder_ = std::move(text);
  return *this;
}
Flag& Flag::letter(char c) {
  letter_ = c;
  return *this;
}
Flag& Flag::optional() {
  optional_ = true;
  return *this;
}

bool Flag::store(const std::string& text) {
  const auto in_range = [&](double v) { return (!low_ || v >= *low_) && (!high_ || v <= *high_); };
  const auto allowed = [&](const std::string& word) {
    return choices_.empty() || std::find(choices_.begin(), choices_.end(), word) != choices_.end();
  };
  const auto parse = [&](auto& out) {
    using T = std::decay_t<decltype(out)>;
    if constexpr (std::is_same_v<T, bool>) {
      if (text != "true" && text != "false" && text != "1" && text != "0") return false;
      out = text == "true" || text == "1";
      return true;
    } else if constexpr (std::is_arithmetic_v<T>) {
      T v{};
      if (!number(text, v) || !in_range(double(v))) return false;
      out = v;
      return true;
    } else {
      out = text;
      return allowed(text);
    }
  };
  return std::visit(
      [&](auto* target) {
        using T = std::decay_t<decltype(*target)>;
        if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          if (!appending_) target->clear();
          appending_ = true;
          for (size_t at = 0; at <= text.size() && !text.empty();) {
            const size_t end = std::min(text.find(',', at), text.size());
            const std::string item = text.substr(at, end - at);
            if (item.empty() || !allowed(item)) return false;
            target->push_back(item);
            at = end + 1;
          }
          return true;
        } else if constexpr (IsOptional<T>::value) {
          typename T::value_type v{};
          if (!parse(v)) return false;
          *target = v;
          return true;
        } else {
          return parse(*target);
        }
      },
      target_);
}

Options::Options(std::string command, std::string summary, std::string example)
    : command_(std::move(command)), summary_(std::move(summary)), example_(std::move(example)), section_("Common flags") {
  flag("threads", &threads_, "CPU threads; 0 is all that this process may use").range(0, 4096);
  flag("json", &terminal_.json, "print the result as exactly one JSON object on stdout");
  flag("quiet", &terminal_.quiet, "warnings and errors only").letter('q');
  flag("verbose", &terminal_.verbose, "more detail").letter('v');
  flag("log-file", &terminal_.log_file, "also append every log line to this file").placeholder("FILE");
  flag("color", &terminal_.color, "colours on stderr").choices({"auto", "always", "never"});
  flag("config", &config_, "read flags from a file of `key = value` lines (TOML); the command line and the environment go first")
      .placeholder("FILE");
  flag("print-config", &print_config_, "print all flags with their values as such a file, and stop");
  flag("help", &help_, "this text").letter('h');
  section_ = "Flags";
}

Flag& Options::add(const std::string& name, Target target, const std::string& help, bool is_argument) {
  check(!find(name), "options: {} declared twice", name);
  Flag& f = flags_.emplace_back();
  f.name_ = name;
  f.target_ = target;
  f.help_ = help;
  f.section_ = section_;
  f.default_ = f.value_text();
  f.is_argument_ = is_argument;
  return f;
}

Flag& Options::flag(const std::string& name, Target target, const std::string& help) { return add(name, target, help, false); }
Flag& Options::argument(const std::string& name, Target target, const std::string& help) { return add(name, target, help, true); }

Flag* Options::find(std::string_view name) {
  for (auto& f : flags_)
    if (f.name_ == name) return &f;
  return nullptr;
}

bool Options::given(std::string_view name) const {
  for (auto& f : flags_)
    if (f.name_ == name) return f.source_ != "default";
  check(false, "options: no flag {}", name);
  return false;
}

void Options::unknown(std::string_view found, const std::string& shown) const {
  std::vector<std::string> names;
  for (auto& f : flags_)
    if (!f.is_argument_) names.push_back(f.name_);
  fail(Exit::usage, "{}: no such flag of 'stflow {}'; the nearest is --{} (see 'stflow {} --help')", shown, command_, nearest(found, names),
       command_);
}

void Options::set(Flag& f, const std::string& text, const std::string& shown, const std::string& source) {
  if (f.source_ != source) f.appending_ = false;
  f.source_ = source;
  if (!f.store(text)) fail(Exit::usage, "{}: found '{}', expected {}", shown, text, f.expectation());
}

void Options::set_from_config(const std::string& path) {
  using Kind = ConfigValue::Kind;
  for (auto& e : read_config(path)) {
    const std::string shown = fmt::format("{}: line {}: {}", path, e.line, e.key);
    Flag* f = find(e.key);
    if (!f || f->is_argument_ || command_line_only(e.key)) unknown(e.key, shown);
    const auto& v = e.value;
    if (v.kind == Kind::list) {
      if (!std::holds_alternative<std::vector<std::string>*>(f->target_))
        fail(Exit::usage, "{}: found an array, expected {}", shown, f->expectation());
      set(*f, "", shown, path);
      for (auto& item : v.items) set(*f, item, shown, path);
      continue;
    }
    const bool is_text = std::holds_alternative<std::string*>(f->target_) ||
                         std::holds_alternative<std::vector<std::string>*>(f->target_) ||
                         std::holds_alternative<std::optional<std::string>*>(f->target_);
    const Kind wanted = f->is_bool() ? Kind::boolean : is_text ? Kind::text : Kind::number;
    if (v.kind != wanted) {
      const std::string found = v.kind == Kind::text ? quoted(v.text) : v.text;
      fail(Exit::usage, "{}: found {}, expected {}{}", shown, found, f->expectation(), wanted == Kind::text ? " in quotes" : "");
    }
    set(*f, v.text, shown, path);
  }
}

void Options::set_from_environment() {
  for (auto& f : flags_) {
    if (f.is_argument_ || command_line_only(f.name_)) continue;
    std::string name = "STFLOW_";
    for (const char c : f.name_) name += c == '-' ? '_' : char(std::toupper(static_cast<unsigned char>(c)));
    const char* value = std::getenv(name.c_str());
    if (value && *value) set(f, value, name, name);
  }
}

std::vector<Options::Word> Options::read_words(const Args& args) {
  std::vector<Word> words;
  std::vector<Flag*> places;
  for (auto& f : flags_)
    if (f.is_argument_) places.push_back(&f);
  size_t place = 0;
  bool flags_end = false;
  for (size_t i = 0; i < args.size(); i++) {
    const std::string& arg = args[i];
    if (!flags_end && arg == "--") {
      flags_end = true;
      continue;
    }
    if (flags_end || arg.size() < 2 || arg[0] != '-') {  // "-" alone is stdin or stdout
      if (place == places.size())
        fail(Exit::usage, "found '{}', expected {}; see 'stflow {} --help'", arg, places.empty() ? "flags only" : "no further argument",
             command_);
      words.push_back({places[place], arg, places[place]->name_});
      if (!std::holds_alternative<std::vector<std::string>*>(places[place]->target_)) place++;
      continue;
    }
    if (arg[1] != '-') {
      Flag* f = nullptr;
      for (auto& g : flags_)
        if (g.letter_ && g.letter_ == arg[1] && arg.size() == 2) f = &g;
      if (!f) fail(Exit::usage, "{}: no such flag of 'stflow {}'; see 'stflow {} --help'", arg, command_, command_);
      if (!f->is_bool() && i + 1 == args.size()) fail(Exit::usage, "{}: found no value, expected {}", arg, f->expectation());
      words.push_back({f, f->is_bool() ? "true" : args[++i], arg});
      continue;
    }
    const size_t equal = std::min(arg.find('='), arg.size());
    const std::string shown = arg.substr(0, equal);
    std::string name = shown.substr(2);
    std::replace(name.begin(), name.end(), '_', '-');
    Flag* f = find(name);
    const bool off = !f && name.starts_with("no-");
    if (off) f = find(name.substr(3));
    if (!f || f->is_argument_ || (off && !f->is_bool())) unknown(name, shown);
    if (equal < arg.size()) {
      if (off) fail(Exit::usage, "{}: found a value, expected none", shown);
      words.push_back({f, arg.substr(equal + 1), shown});
    } else if (f->is_bool()) {
      words.push_back({f, off ? "false" : "true", shown});
    } else {
      if (i + 1 == args.size() || args[i + 1].starts_with("--"))
        fail(Exit::usage, "{}: found no value, expected {}", shown, f->expectation());
      words.push_back({f, args[++i], shown});
    }
  }
  return words;
}

bool Options::parse(const Args& args) {
  for (auto& arg : args) {  // help is given whatever else is wrong
    if (arg == "--") break;
    if (arg != "--help" && arg != "-h") continue;
    terminal::result(help_text());
    return false;
  }
  const auto words = read_words(args);
  for (auto& w : words)
    if (w.flag->name_ == "config") set(*w.flag, w.value, w.shown, "command line");
  if (const char* path = std::getenv("STFLOW_CONFIG"); path && *path && config_.empty()) config_ = path;
  if (!config_.empty()) set_from_config(config_);
  set_from_environment();
  for (auto& w : words) set(*w.flag, w.value, w.shown, "command line");
  if (print_config_) {
    terminal::result(config_text());
    return false;
  }
  terminal::configure(terminal_);
  set_thread_count(threads_);
  for (auto& f : flags_)
    if (f.is_argument_ && !f.optional_ && f.source_ == "default")
      fail(Exit::usage, "found no {}, expected {}; see 'stflow {} --help'", f.value_name(), f.help_, command_);
  return true;
}

}  // namespace stflow
