#include "data/folder.h"

#include <algorithm>
#include <system_error>

namespace stflow {

namespace fs = std::filesystem;

std::vector<std::string> entries(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string existing(std::initializer_list<fs::path> paths) {
  for (const fs::path& p : paths)
    if (fs::is_regular_file(p)) return p.string();
  return "";
}

}  // namespace stflow
