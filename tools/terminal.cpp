#include "tools/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <mutex>

#include "engine/error.h"

namespace stflow::terminal {
namespace {

struct Close {
  void operator()(std::FILE* f) const { std::fclose(f); }
};

struct State {
  Settings settings;
  std::unique_ptr<std::FILE, Close> log;
  Progress* bar = nullptr;
  std::recursive_mutex lock;  // a bar is cleared from within a log line
};

State& state() {
  static State s;
  return s;
}

bool set(const char* name) {
  const char* v = std::getenv(name);
  return v && *v;
}

// To stderr; when that fails there is nobody left to tell.
void put(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

// One line whatever a file name or a file's content holds: control characters are written as \xNN.
std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (u < 0x20 || u == 0x7f) out += fmt::format("\\x{:02x}", u);
    else out += c;
  }
  return out;
}

void write_log(std::string_view text) {
  auto* f = state().log.get();
  if (!f) return;
  char stamp[32];
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &parts);
  std::fputs(fmt::format("{} {}\n", stamp, text).c_str(), f);
  std::fflush(f);
}

}  // namespace

const Settings& settings() { return state().settings; }

void configure(const Settings& s) {
  state().settings = s;
  state().log.reset();
  if (s.log_file.empty()) return;
  state().log.reset(std::fopen(s.log_file.c_str(), "ae"));
  if (!state().log) fail(Exit::create, "--log-file: {}: {}, expected a file that can be written", s.log_file, std::strerror(errno));
}

bool redraws() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) && term && std::strcmp(term, "dumb") != 0;
}

bool colored() {
  const auto& wish = state().settings.color;
  if (wish != "auto") return wish == "always";
  if (set("NO_COLOR")) return false;
  return set("FORCE_COLOR") || set("CLICOLOR_FORCE") || redraws();
}

int columns() {
  if (const char* v = std::getenv("COLUMNS")) {
    const int n = int(std::strtol(v, nullptr, 10));
    if (n >= 20 && n <= 1000) return n;
  }
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) return size.ws_col;
  return 100;
}

void detail::line(Level level, std::string_view text) {
  std::lock_guard guard(state().lock);
  const char* head = level == Level::warning ? "stflow: warning: " : level == Level::error ? "stflow: error: " : "";
  if (state().settings.mute && level < Level::error) return;
  const std::string safe = level >= Level::warning ? one_line(text) : std::string(text);
  write_log(head + safe);
  if (state().settings.quiet && level <= Level::info) return;
  if (state().bar) state().bar->clear();
  const char* paint = !colored() ? "" : level == Level::warning ? "\033[33m" : level == Level::error ? "\033[31m" : "";
  put(fmt::format("{}{}{}{}\n", paint, head, *paint ? "\033[0m" : "", safe));
  if (state().bar) state().bar->draw();
}

void error(std::string_view text) { detail::line(detail::Level::error, text); }

void result(std::string_view text) {
  if (state().settings.json) {
    std::lock_guard guard(state().lock);
    if (!state().settings.quiet) put(text);
    return;
  }
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
    fail(Exit::io, "stdout: {}, expected to write the result", std::strerror(errno));
}

void flush() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) fail(Exit::io, "stdout: {}, expected to write the result", std::strerror(errno));
}

Progress::Progress(std::string label, int64_t total)
    : label_(std::move(label)), total_(std::max<int64_t>(total, 1)), start_(Clock::now()), last_(start_), redraws_(redraws()) {
  if (state().settings.quiet) return;
  std::lock_guard guard(state().lock);
  state().bar = this;
  draw();
}

void Progress::update(int64_t done, std::string_view note) {
  std::lock_guard guard(state().lock);
  if (finished_ || state().bar != this) return;
  done_ = std::min(done, total_);
  note_ = note;
  const auto now = Clock::now();
  const bool end = done_ == total_;
  if (redraws_) {
    if (now - last_ < std::chrono::milliseconds(100) && !end) return;
    last_ = now;
    draw();
    return;
  }
  const int64_t tenth = done_ * 10 / total_;
  if (tenth == shown_ && now - last_ < std::chrono::seconds(30)) return;
  shown_ = tenth;
  last_ = now;
  const std::string text =
      fmt::format("{}: {} % ({} of {}){}{}", label_, done_ * 100 / total_, done_, total_, note_.empty() ? "" : ", ", note_);
  write_log(text);
  put(text + "\n");
}

void Progress::draw() {
  if (!redraws_ || finished_) return;
  constexpr int kBar = 24;
  const double part = double(done_) / double(total_), spent = std::chrono::duration<double>(Clock::now() - start_).count();
  const int full = int(part * kBar);
  std::string text =
      fmt::format("{} [{}{}] {:3.0f} %", label_, std::string(size_t(full), '#'), std::string(size_t(kBar - full), '.'), 100 * part);
  if (done_ > 0 && done_ < total_ && spent > 1) text += fmt::format(", {} left", duration(spent / part - spent));
  if (!note_.empty()) text += ", " + note_;
  if (int(text.size()) >= columns()) text.resize(size_t(columns() - 1));
  put("\r\033[K" + text);
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::clear() {
  if (drawn_) put("\r\033[K");
  drawn_ = false;
}

void Progress::finish() {
  if (finished_) return;
  std::lock_guard guard(state().lock);
  clear();
  finished_ = true;
  if (state().bar == this) state().bar = nullptr;
}

std::string Table::text() const {
  std::vector<size_t> width;
  for (auto& row : rows_)
    for (size_t i = 0; i < row.size(); i++) {
      if (i == width.size()) width.push_back(0);
      width[i] = std::max(width[i], row[i].size());
    }
  std::string out;
  for (size_t r = 0; r < rows_.size(); r++) {
    std::string line;
    for (size_t i = 0; i < rows_[r].size(); i++) {
      if (i) line += "  ";
      line += i == 0 ? fmt::format("{:<{}}", rows_[r][i], width[i]) : fmt::format("{:>{}}", rows_[r][i], width[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
    if (r > 0) continue;
    size_t total = 0;
    for (size_t i = 0; i < width.size(); i++) total += width[i] + (i ? 2 : 0);
    out += std::string(total, '-') + "\n";
  }
  return out;
}

std::string duration(double seconds) {
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto s = int64_t(seconds + 0.5);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s / 60 % 60);
}

std::string bytes(uint64_t n) {
  if (n < 1000) return fmt::format("{} bytes", n);
  double v = double(n) / 1000;
  for (const char* unit : {"KB", "MB", "GB"}) {
    if (v < 999.5) return fmt::format("{:.{}f} {}", v, v < 9.95 ? 1 : 0, unit);
    v /= 1000;
  }
  return fmt::format("{:.1f} TB", v);
}

}  // namespace stflow::terminal
