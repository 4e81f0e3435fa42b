// The corpus of the fuzzers, whose faults (regress-*) stay in it.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "engine/file.h"
#include "tests/fuzz/targets.h"
#include "tests/mutants.h"

using namespace stflow;
using namespace stflow::test;

TEST_CASE("fuzz: the corpus of each format, as it is and changed") {
  const std::map<std::string, void (*)(std::string_view)> targets{
      {"safetensors", fuzz_safetensors}, {"zip", fuzz_zip},   {"pickle", fuzz_pickle}, {"json", fuzz_json},
      {"geojson", fuzz_geojson},         {"tiff", fuzz_tiff}, {"mtx", fuzz_mtx},       {"positions", fuzz_positions}};
  uintmax_t bytes = 0;
  for (const auto& [format, target] : targets) {
    size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator("tests/fuzz/corpus/" + format)) {
      const std::string path = entry.path().string();
      CAPTURE(path);
      bytes += entry.file_size(), files++;
      const std::string whole(FileView(path).text());
      CHECK_NOTHROW(target(whole));
      for (uint32_t i = 0; i < 20; i++) CHECK_NOTHROW(target(mutant(whole, i)));
    }
    CHECK(files >= 3);
  }
  CHECK(bytes <= 100'000);
}
