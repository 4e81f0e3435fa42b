// What leaves: maps, prediction tables, cached features.
#include <doctest/doctest.h>

#include <clocale>
#include <cstdlib>
#include <filesystem>

#include "data/csv.h"
#include "data/feature_cache.h"
#include "data/png.h"
#include "engine/file.h"
#include "tests/data/tiny.h"

using namespace stflow;

TEST_CASE("output: PNG and CSV are the same bytes every time and under any locale") {
  test::TempFolder folder;
  Section s;
  s.spots = {"1x1", "a,\"b\""};
  s.xy = {1.5, 2, 0.1, 1e6};
  std::vector<std::string> genes{"A", "B,C"};
  std::vector<float> values{0.1f, -2, 1e-7f, 3};
  std::string before = std::setlocale(LC_ALL, nullptr);
  std::setlocale(LC_ALL, "de_DE.UTF-8");
  write_predictions(folder.path("p.csv"), s, genes, values);
  std::setlocale(LC_ALL, before.c_str());
  CHECK(read_text(folder.path("p.csv")) == "spot,x,y,A,\"B,C\"\n1x1,1.5,2,0.1,-2\n\"a,\"\"b\"\"\",0.1,1e+06,1e-07,3\n");
  Image image = test::picture(300, 7);
  write_png(folder.path("a.png"), image);
  write_png(folder.path("b.png"), image);
  CHECK(read_text(folder.path("a.png")) == read_text(folder.path("b.png")));
  CHECK(read_image(folder.path("a.png")).rgb == image.rgb);
  CHECK_FALSE(std::filesystem::exists(folder.path("a.png.partial")));
  test::refuses(Exit::create, "{}: No such file or directory, expected a place to write", folder.path("no/p.csv"),
                [&] { write_predictions(folder.path("no/p.csv"), s, genes, values); });
  test::refuses(Exit::create, "{}: No such file or directory, expected a place to write", folder.path("no/p.png"),
                [&] { write_png(folder.path("no/p.png"), image); });
}

TEST_CASE("feature cache: found by content, damage is noticed, an unwritable folder is no obstacle") {
  test::TempFolder folder;
  Section s;
  s.source.image = folder.file("a.img", "pixels");
  s.mpp = 0.5, s.spots = {"a", "b"}, s.xy = {1, 2, 3, 4};
  const std::string key = FeatureCache::key(s, "encoder 1", {112, 224});
  CHECK(key == FeatureCache::key(s, "encoder 1", {112, 224}));
  CHECK(key != FeatureCache::key(s, "encoder 2", {112, 224}));
  CHECK(key != FeatureCache::key(s, "encoder 1", {112, 112}));
  CHECK(key != FeatureCache::key(s, "encoder 1", {224, 224}));
  Section moved = s, other = s;
  moved.xy[3] = 4.5;
  CHECK(key != FeatureCache::key(moved, "encoder 1", {112, 224}));
  other.source.image = folder.file("b.img", "pixelz");
  CHECK(key != FeatureCache::key(other, "encoder 1", {112, 224}));
  other.source.image = folder.file("c.img", "pixels");  // another name, the same content
  CHECK(key == FeatureCache::key(other, "encoder 1", {112, 224}));

  FeatureCache cache(folder.path("cache"));
  std::vector<float> features{1, 2, 3, 4, 5, 6}, back;
  std::vector<std::string> warnings;
  const auto take = [&](int64_t row, const float* x) {
    CHECK(row == int64_t(back.size()) / 3);
    back.insert(back.end(), x, x + 3);
  };
  CHECK_FALSE(cache.load(key, 2, 3, take, warnings));
  cache.store(key, 2, 3, features, warnings);
  CHECK(cache.load(key, 2, 3, take, warnings));
  CHECK(back == features);
  CHECK(warnings.empty());
  std::string bytes = read_text(cache.path(key));
  bytes[bytes.size() - 1] ^= 1;
  write_atomic(cache.path(key), bytes);
  CHECK_FALSE(cache.load(key, 2, 3, take, warnings));
  CHECK(warnings ==
        std::vector<std::string>{
            cache.path(key) + ": sha256 differs from the one in its header, expected an undamaged file; the features are computed again"});
  warnings.clear();
  FeatureCache nowhere(folder.file("file", "x"));
  nowhere.store(key, 2, 3, features, warnings);
  CHECK(warnings ==
        std::vector<std::string>{folder.path("file") + "/features: Not a directory, expected an output folder; the features are not kept"});
  FeatureCache none("");
  none.store(key, 2, 3, features, warnings);
  CHECK_FALSE(none.load(key, 2, 3, take, warnings));
  warnings.clear();
  // Another number of rows under the same name is no match.
  cache.store("other", 3, 2, features, warnings);
  CHECK_FALSE(cache.load("other", 2, 3, take, warnings));
  CHECK(warnings == std::vector<std::string>{cache.path("other") + ": features (3, 2), expected (2, 3); the features are computed again"});
  CHECK(back == features);
}
