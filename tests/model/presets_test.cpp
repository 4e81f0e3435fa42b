#include "model/presets.h"

#include <doctest/doctest.h>

#include <set>

#include "tests/files.h"

using namespace stflow;

TEST_CASE("presets: found by HEST's, TRIDENT's, STFlow's and STPath's names") {
  for (const char* name : {"uni_v1", "uni_v1_official", "UNI", "MahmoodLab/UNI"}) CHECK(find_preset(name) == find_preset("uni_v1"));
  for (auto [alias, name] : {std::pair{"h0-mini", "h0_mini"},
                             {"kaiko-vitb8", "kaiko_base_8"},
                             {"hibou_l", "hibou_large"},
                             {"conch_v1_official", "conch_v1"},
                             {"phikon_official_hf", "phikon"},
                             {"resnet50_trunc", "resnet50"},
                             {"midnight12k", "midnight12k"},
                             {"conch_v15", "conch_v15"},
                             {"ciga", "ciga"},
                             {"uni_v2", "uni_v2"}}) {
    REQUIRE(find_preset(alias) != nullptr);
    CHECK(find_preset(alias)->name == name);
  }
  std::set<std::string> seen;
  for (const Preset& p : presets()) {
    CHECK(find_preset(p.name) == &p);  // no name means two encoders
    for (std::string_view alias : p.aliases) CHECK(find_preset(alias) == &p);
    CHECK(seen.insert(std::string(p.name)).second);
    CHECK(!p.files.empty());
    for (size_t c = 0; c < 3; c++) CHECK(p.std[c] > 0.1f);
  }
  CHECK(presets().size() >= 27);
}

TEST_CASE("presets: what a recipe changes, and what only the checkpoint can say") {
  const Preset& giga = preset_named("gigapath");
  CHECK(giga.use(Recipe::card).preprocess.text() == "bicubic 256, crop 224");
  CHECK(giga.use(Recipe::stpath).preprocess.text() == "crop 224");
  CHECK(preset_named("h0_mini").use(Recipe::hest).preprocess.text() == "none");
  CHECK(preset_named("midnight").use(Recipe::card).pooling == Pooling::cls_mean);
  CHECK(preset_named("midnight").use(Recipe::hest).pooling == Pooling::cls);
  const auto virchow = preset_metadata(preset_named("virchow"), Recipe::card);
  CHECK(virchow.at("num_heads") == "16");  // of 80, which no shape tells
  CHECK(virchow.at("pooling") == "cls_mean");
  CHECK(virchow.at("microns") == "112");
  CHECK(virchow.at("mean") == "0.485,0.456,0.406");
  CHECK(!preset_metadata(preset_named("phikon"), Recipe::card).contains("eps"));
  CHECK(!preset_metadata(preset_named("conch_v1"), Recipe::card).contains("pooling"));
  for (Recipe r : kRecipes) CHECK(recipe_of(name_of(r)) == r);
}

TEST_CASE("bad input: names of encoders and recipes") {
  test::refuses(Exit::usage, "--encoder: found 'uni_v3', expected a file or the name of an encoder; the nearest is uni_v1", "",
                [] { preset_named("uni_v3"); });
  CHECK(find_preset("uni_v3") == nullptr);
  test::refuses(Exit::usage, "--preprocess: found 'mine', expected card, hest, trident or stpath", "", [] { recipe_of("mine"); });
}
