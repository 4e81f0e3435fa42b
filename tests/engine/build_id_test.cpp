#include "engine/build_id.h"

#include <doctest/doctest.h>

#include <filesystem>

using namespace stflow;

TEST_CASE("build id: this program's is the linker's, with the size of its file, and it stays") {
  const std::string id = build_id();
  CHECK(id.find_first_not_of("0123456789abcdef") == 16);
  CHECK(id.substr(16) == ", " + std::to_string(std::filesystem::file_size("/proc/self/exe")) + " bytes");
  CHECK(build_id() == id);
}
