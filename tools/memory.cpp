#include "tools/memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

#include "engine/error.h"
#include "engine/text.h"

namespace stflow {

uint64_t rss_bytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * uint64_t(::sysconf(_SC_PAGESIZE));
}

uint64_t peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return uint64_t(usage.ru_maxrss) * 1024;
}

uint64_t parse_bytes(const std::string& flag, const std::string& text) {
  std::string number = text;
  double unit = 1;
  if (!number.empty() && (number.back() == 'B' || number.back() == 'b')) number.pop_back();
  if (!number.empty()) {
    const auto letter = std::string_view("kKmMgGtT").find(number.back());
    if (letter != std::string_view::npos) unit = std::ldexp(1.0, 10 * (int(letter) / 2 + 1)), number.pop_back();
  }
  const auto value = parse_number(number);
  if (!value || !(*value > 0) || *value * unit > 1e15)
    fail(Exit::usage, "--{}: found '{}', expected a size such as 2G or 512M", flag, text);
  return uint64_t(*value * unit);
}

}  // namespace stflow
