// Flags of a command, declared once: bound to variables, read from the command line, the environment and a configuration
// file, shown by --help and --print-config.
//
//   int train(const Args& args) {
//     TrainConfig c;                                                   // the variables hold the defaults
//     Options o("train", "Train STFlow on tissue sections.", "stflow train --data sections/ --epochs 40");
//     o.section("Data");
//     o.flag("data", &c.data, "folder or manifest CSV").placeholder("PATH");
//     o.section("Training");
//     o.flag("epochs", &c.epochs, "passes over the training sections").range(1, 1e6);
//     o.flag("preset", &c.preset, "hyper-parameters").choices({"default", "reference"});
//     if (!o.parse(args)) return 0;                                    // --help or --print-config: done
//
// Every command also has --threads, --json, --quiet, --verbose, --log-file, --color, --config, --print-config, --help.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tools/config_file.h"
#include "tools/terminal.h"

namespace stflow {

/// The words after the command's name.
using Args = std::vector<std::string>;

/// Where a flag's value goes. A vector takes comma-separated words (and the flag may be repeated); an optional has no
/// default and stays empty until given.
using Target = std::variant<bool*, int*, int64_t*, uint64_t*, float*, double*, std::string*, std::vector<std::string>*,
                            std::optional<int64_t>*, std::optional<double>*, std::optional<std::string>*>;

/// One flag or argument. The setters return *this.
class Flag {
 public:
  /// Numbers: low <= value <= high.
  Flag& range(double low, double high);
  Flag& at_least(double low);
  /// Text: one of these words.
  Flag& choices(std::vector<std::string> words);
  /// What --help calls the value: "FILE". Without it the type says.
  Flag& placeholder(std::string text);
  /// A one-letter form: -q.
  Flag& letter(char c);
  /// Arguments only: may be left out.
  Flag& optional();
  /// The only argument, a vector: takes this word and all behind it as they are, flags of another command among them. A --config
  /// file of the environment is that command's, too.
  Flag& rest();

 private:
  friend class Options;
  std::string name_, help_, section_, placeholder_, default_;
  std::string source_ = "default";  // of the present value, for --print-config
  Target target_;
  std::vector<std::string> choices_;
  std::optional<double> low_, high_;
  char letter_ = 0;
  bool is_argument_ = false, optional_ = false, rest_ = false, appending_ = false;

  [[nodiscard]] bool is_bool() const { return std::holds_alternative<bool*>(target_); }
  [[nodiscard]] std::string expectation() const;  // "a whole number from 1 to 1000000"
  [[nodiscard]] std::string value_text() const;   // as --help shows it
  [[nodiscard]] std::string config_text() const;  // as a configuration file has it; empty for an empty optional
  [[nodiscard]] std::string value_name() const;   // "N", "FILE"
  bool store(const std::string& text);            // false: not what the flag takes
};

class Options {
 public:
  /// `command` as typed, what it does in one sentence, and an example to show under --help.
  Options(std::string command, std::string summary, std::string example);
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  /// Flags declared from here on are listed under this heading.
  void section(std::string heading) { section_ = std::move(heading); }
  /// --name VALUE (a bool: --name, --no-name). `name` in kebab-case. The variable's present value is the default.
  Flag& flag(const std::string& name, Target target, const std::string& help);
  /// A word without a name, in order of declaration; a vector takes all that are left. Required unless optional().
  Flag& argument(const std::string& name, Target target, const std::string& help);

  /// Sets the variables: flag > STFLOW_NAME in the environment > --config file > default. Also sets up the terminal and
  /// the number of threads. False: --help or --print-config has been printed and the command is done.
  /// Throws Exit::usage naming the flag, what was found and what is expected.
  bool parse(const Args& args);

  /// True when the flag was set by the command line, the environment or the configuration file.
  [[nodiscard]] bool given(std::string_view name) const;
  /// --threads as given: 0 is all that this process may use.
  [[nodiscard]] int threads() const { return threads_; }
  /// All flags with their values, as a configuration file; each line ends with where the value comes from.
  [[nodiscard]] std::string config_text() const;
  [[nodiscard]] std::string help_text() const;

 private:
  struct Word {
    Flag* flag;
    std::string value, shown;  // shown: "--lr", for the error
  };

  Flag& add(const std::string& name, Target target, const std::string& help, bool is_argument);
  void set(Flag& f, const std::string& text, const std::string& shown, const std::string& source);
  void set_from_config(const std::string& path);
  void set_from_environment();
  std::vector<Word> read_words(const Args& args);
  Args take_rest(const Args& args);
  Flag* find(std::string_view name);
  Flag* find_rest();
  [[noreturn]] void unknown(std::string_view found, const std::string& shown) const;

  std::string command_, summary_, example_, section_;
  std::deque<Flag> flags_;  // a deque: the references that flag() gives out stay valid
  terminal::Settings terminal_;
  std::string config_;
  int threads_ = 0;
  bool help_ = false, print_config_ = false;
};

}  // namespace stflow
