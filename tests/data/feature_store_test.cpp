// Features in a file without a name.
#include "data/feature_store.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <vector>

#include "engine/threads.h"
#include "tests/files.h"

using namespace stflow;

TEST_CASE("feature store: rows put in any order by several threads are there, also after they were forgotten, and no file is left") {
  const test::TempFolder folder;
  FeatureStore store(500, 7, folder.path(""));
  CHECK(std::filesystem::is_empty(folder.path("")));
  parallel_for(500, 1, [&](int64_t first, int64_t) {
    const int64_t row = 499 - first;
    const std::vector<float> values(7, float(row) + 0.5f);
    store.put(row, values.data());
  });
  for (int round = 0; round < 2; round++, store.forget()) {
    const std::span<const float> rows = store.rows();
    REQUIRE(rows.size() == 3500);
    for (size_t i = 0; i < rows.size(); i++) REQUIRE(rows[i] == float(i / 7) + 0.5f);
  }
  CHECK(FeatureStore(0, 7, folder.path("")).rows().empty());
}

TEST_CASE("bad input: a folder that cannot take features") {
  const test::TempFolder folder;
  test::refuses(Exit::create, "{}: No such file or directory, expected a folder for a temporary file", folder.path("none"),
                [&] { FeatureStore(3, 4, folder.path("none")); });
  CHECK_THROWS_WITH_AS(FeatureStore(int64_t(1) << 40, 1 << 10, folder.path("")), doctest::Contains("bytes of features"), Error);
}
