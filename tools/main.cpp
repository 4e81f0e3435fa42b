// The command line: finds the subcommand, and turns whatever it throws into one line and an exit code.
#include <cstdio>
#include <exception>
#include <new>

#include "engine/error.h"
#include "engine/nearest.h"
#include "tools/commands.h"
#include "tools/signals.h"
#include "tools/terminal.h"
#include "tools/version.h"

namespace stflow {
namespace {

struct Command {
  const char* name;
  const char* help;
  int (*run)(const Args&);
};

constexpr Command kCommands[] = {
    {"train", "train STFlow on tissue sections and score it on held-out ones", train},
    {"predict", "predict expression for further sections with a trained model", predict},
    {"eval", "compare predictions with what was measured: scores, intervals, calibration", eval},
    {"launch", "start train or predict in several processes that work together, on one host or several", launch},
    {"embed", "turn patches of tissue into features with an image encoder", embed},
    {"verify", "compare the model code with golden numbers of the reference", verify},
    {"pretrain", "train an encoder on unlabelled H&E images", pretrain},
    {"inspect", "what a file is: a slide, weights", inspect},
    {"convert", "write weights of any container as one safetensors file", convert},
    {"bench", "time the operators, a training step and sampling on this machine", bench},
    {"doctor", "what this machine offers, and whether stflow works on it", doctor},
};

std::string overview() {
  std::string out = "stflow: spatial gene expression from H&E images with STFlow\n\nusage: stflow COMMAND [flags]\n\n";
  for (auto& c : kCommands) out += fmt::format("  {:<10} {}\n", c.name, c.help);
  return out + "\n'stflow COMMAND --help' lists a command's flags; 'stflow --version' tells how this program was built.\n";
}

int run(const Args& words) {
  if (words.empty()) {
    std::fputs(overview().c_str(), stderr);
    return int(Exit::usage);
  }
  const std::string& name = words[0];
  if (name == "--help" || name == "-h" || (name == "help" && words.size() == 1)) return terminal::result(overview()), 0;
  if (name == "--version") return terminal::result(version_text()), 0;
  const bool help = name == "help";
  const std::string& wanted = help ? words[1] : name;
  std::vector<std::string> names;
  for (auto& c : kCommands) {
    if (wanted == c.name) return c.run(help ? Args{"--help"} : Args(words.begin() + 1, words.end()));
    names.emplace_back(c.name);
  }
  fail(Exit::usage, "'{}': no such command; the nearest is '{}' (see 'stflow --help')", wanted, nearest(wanted, names));
}

}  // namespace
}  // namespace stflow

int main(int argc, char** argv) {
  using namespace stflow;
  ignore_write_signals();
  try {
    const int code = run(Args(argv + (argc > 0), argv + argc));
    terminal::flush();
    return code;
  } catch (const Error& e) {
    terminal::error(e.what());
    return int(e.code());
  } catch (const std::bad_alloc&) {
    terminal::error("out of memory");
    return int(Exit::memory);
  } catch (const std::exception& e) {
    terminal::error(fmt::format("internal fault: {}", e.what()));
    return int(Exit::internal);
  } catch (...) {
    terminal::error("internal fault");
    return int(Exit::internal);
  }
}
