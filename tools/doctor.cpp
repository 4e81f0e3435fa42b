// stflow doctor: what this machine offers.
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "engine/device.h"
#include "engine/threads.h"
#include "engine/version.h"
#include "tools/commands.h"
#include "tools/json_out.h"

namespace stflow {
namespace {

// The text after "key:" in a /proc file, without leading blanks; empty when there is none.
std::string proc_line(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const size_t at = line.find_first_not_of(" \t:", key.size());
    return at == std::string::npos ? "" : line.substr(at);
  }
  return "";
}

}  // namespace

int doctor(const Args& args) {
  Options o("doctor", "Tells what this machine offers to stflow.", "stflow doctor --json");
  if (!o.parse(args)) return 0;

  utsname system{};
  uname(&system);
  const auto memory = uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGESIZE));
  std::string cpu = proc_line("/proc/cpuinfo", "model name");
  if (cpu.empty()) cpu = system.machine;
  JsonOut out{{"version", kVersion},
              {"system", fmt::format("{} {} {}", system.sysname, system.release, system.machine)},
              {"cpu", cpu},
              {"instruction_set", name_of(best_isa())},
              {"threads", thread_count()},
              {"memory_bytes", memory}};
  if (terminal::settings().json) {
    print_json(out);
    return 0;
  }
  terminal::Table table({"stflow", kVersion});
  table.row({"system", out["system"]});
  table.row({"cpu", cpu});
  table.row({"instruction set", name_of(best_isa())});
  table.row({"threads", std::to_string(thread_count())});
  table.row({"memory", terminal::bytes(memory)});
  terminal::result(table.text());
  return 0;
}

}  // namespace stflow
