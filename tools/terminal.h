// The one place that writes to the user's terminal. Results go to stdout, everything else to stderr and the log file.
#pragma once
#include <fmt/core.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace stflow::terminal {

struct Settings {
  bool quiet = false;          // warnings and errors only
  bool mute = false;           // errors only, also in the log file: of several ranks one tells
  bool verbose = false;        // detail() lines too
  bool json = false;           // stdout is kept for one JSON object: result() goes to stderr
  std::string log_file;        // every line also goes here, with the time; appended
  std::string color = "auto";  // auto, always, never
};

/// Throws Exit::create when the log file cannot be opened.
void configure(const Settings&);
const Settings& settings();

/// True when stderr is a terminal that can redraw a line (a TTY, and TERM is not "dumb").
bool redraws();
/// True when stderr takes colours: --color, NO_COLOR, FORCE_COLOR / CLICOLOR_FORCE, then redraws().
bool colored();
/// Columns of the terminal (COLUMNS, then the TTY, then 100).
int columns();

namespace detail {
enum class Level { detail, info, warning, error };
void line(Level, std::string_view text);
}  // namespace detail

/// A log line, unless --quiet.
template <class... A> void info(fmt::format_string<A...> f, A&&... a) {
  detail::line(detail::Level::info, fmt::format(f, std::forward<A>(a)...));
}
/// A log line under --verbose.
template <class... A> void detailed(fmt::format_string<A...> f, A&&... a) {
  if (settings().verbose) detail::line(detail::Level::detail, fmt::format(f, std::forward<A>(a)...));
}
/// "stflow: warning: ..." on stderr, always.
template <class... A> void warn(fmt::format_string<A...> f, A&&... a) {
  detail::line(detail::Level::warning, fmt::format(f, std::forward<A>(a)...));
}
/// "stflow: error: ..." on stderr. For main(); everything else throws.
void error(std::string_view text);

/// The command's answer: to stdout, or to stderr when stdout is kept for JSON. Throws Exit::io when it cannot be written.
void result(std::string_view text);
/// Flushes stdout; throws Exit::io when something was lost.
void flush();

/// Progress of `total` steps: a bar that redraws itself on a terminal, otherwise one line per 10 % or 30 s.
/// One at a time; log lines are written above the bar. Nothing is shown under --quiet.
class Progress {
 public:
  Progress(std::string label, int64_t total);
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` of total; `note` stands at the end of the line ("loss 0.231").
  void update(int64_t done, std::string_view note = {});
  /// Removes the bar. The destructor does it too.
  void finish();

 private:
  friend void detail::line(detail::Level, std::string_view);
  using Clock = std::chrono::steady_clock;
  void draw();
  void clear();

  std::string label_, note_;
  int64_t total_, done_ = 0, shown_ = 0;
  Clock::time_point start_, last_;
  bool redraws_ = false, drawn_ = false, finished_ = false;
};

/// A table with aligned columns: the first is left-aligned, the others right-aligned.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  /// Header, a rule, the rows; each line ends with '\n'.
  [[nodiscard]] std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// "3.2 s", "4 min 05 s", "2 h 10 min".
std::string duration(double seconds);
/// "812 bytes", "3.4 KB", "120 MB", "2.1 GB" (powers of 1000).
std::string bytes(uint64_t n);

}  // namespace stflow::terminal
