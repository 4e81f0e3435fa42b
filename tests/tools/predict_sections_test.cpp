// stflow predict on sections that have spots: where their features are while it works, tiles that cannot be decoded, measured genes.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/feature_cache.h"
#include "data/spatial/h5ad.h"
#include "engine/file.h"
#include "tests/data/slide/tiny_tiff.h"
#include "tests/run.h"
#include "tests/tools/tiny_run.h"
#include "tools/features.h"
#include "tools/predict/stored_features.h"

using namespace stflow;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

Words with(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace

TEST_CASE("predict: a section's features wait in a file, from the cache or not, with the same result") {
  const test::TinyRun data;
  REQUIRE(test::run_stflow(data.words("run", {"--epochs", "2", "--members", "1"})).code == 0);
  REQUIRE(test::run_stflow(data.predict("run", "cached.h5ad")).code == 0);
  const std::string want = test::read_file(data.path("cached.h5ad"));
  Words fresh = data.predict("run", "fresh.h5ad");
  *(std::find(fresh.begin(), fresh.end(), "--cache-dir") + 1) = "";
  REQUIRE(test::run_stflow(fresh).code == 0);
  CHECK(test::read_file(data.path("fresh.h5ad")) == want);
  // With little room they are not put into the cache, whose writer would hold all of them.
  const Dataset set = open_dataset(data.path("c.csv"));
  PredictInput input;
  input.section = set.sections[0];
  EncoderFlags flags;
  flags.encoder = data.path("encoder.safetensors");
  PatchEncoder encoder(flags);
  const auto stored = [&](const char* cache, size_t most) {
    const auto store = store_features(input, encoder, data.path(cache), data.path(""), most);
    return std::vector<float>(store->rows().begin(), store->rows().end());
  };
  const std::vector<float> features = stored("none", 16);
  CHECK(features.size() == size_t(input.section.size() * encoder.dim()));
  CHECK(!fs::exists(data.path("none")));
  CHECK(stored("some", SIZE_MAX) == features);
  CHECK(fs::exists(data.path("some/features")));
  CHECK(stored("some", 0) == features);
  CHECK(stored("cache", 0) == features);  // what training has put there
  input.section.source.image.clear();
  test::refuses(Exit::data, "{}: no image and no patches, expected what features are made of; --image names it, --embeddings has features",
                "C", [&] { static_cast<void>(stored("none", 0)); });
  const test::Ran small = test::run_stflow(with(data.predict("run", "small.h5ad"), {"--max-mem", "1M"}));
  CHECK(small.code == 71);
  CHECK(small.err.find("--max-mem: found 1.0 MB, expected at least") != std::string::npos);
}

TEST_CASE("bad input: predict and embed leave a section's spots on tiles that do not decode out, where they are told to") {
  const test::TinyRun data;
  REQUIRE(test::run_stflow(data.words("run", {"--epochs", "1", "--members", "1"})).code == 0);
  const std::string slide =
      test::write_tiff(data.path("C.tif"), {{read_image(data.path("C.png")), {.tile = 32, .compression = 7, .photometric = 6}}});
  write_atomic(slide, test::with_tag(read_text(slide), 325, 70));
  const std::string manifest = data.folder.file("damaged.csv", "sample,image,counts,spots,mpp\nC,C.tif,C.tsv,C_spots.tsv,\n");
  const Words encoder{"--encoder", data.path("encoder.safetensors"), "--json"};
  for (const Words& words :
       {with({"predict", manifest, "--model", data.path("run"), "--cache-dir", "", "--out", data.path("p.h5ad")}, encoder),
        with({"embed", manifest, "--out", data.path("e.h5")}, encoder)}) {
    const test::Ran bad = test::run_stflow(with(words, {"--quiet"}));
    CHECK(bad.code == 65);
    CHECK_MESSAGE(bad.err.starts_with("stflow: error: " + slide + ": tile 0 of level 0: '"), bad.err);
    const test::Ran skipped = test::run_stflow(with(words, {"--bad-tiles", "skip", "--quiet"}));
    REQUIRE_MESSAGE(skipped.code == 0, skipped.err);
    CHECK(skipped.err.find("1 of 48 patches lie on tiles that cannot be decoded and are left out: 1x1") != std::string::npos);
    CHECK(nlohmann::json::parse(skipped.out)["C"]["missing"] == nlohmann::json{"1x1"});
  }
  CHECK(read_h5ad(data.path("p.h5ad")).barcodes.size() == 47);
}

TEST_CASE("train and predict: sections whose images are slides in tiles, with maps, overlays and the image for plots") {
  const test::TinyRun data;
  const Image image = read_image(data.path("C.png"));
  test::write_tiff(data.path("C.tif"), {{image, {.tile = 64, .compression = 8}}, {test::halved(image), {.tile = 64, .compression = 8}}});
  data.folder.file("slides.csv",
                   "sample,image,counts,spots,mpp,patient,split\nA,A.png,A.tsv,A_spots.tsv,,p,train\nB,B.png,B.tsv,B_spots.tsv,,q,train\n"
                   "C,C.tif,C.tsv,C_spots.tsv,,r,test\n");
  const test::Ran train = test::run_stflow(data.words("run", {"--data", data.path("slides.csv"), "--epochs", "1", "--members", "1"}));
  REQUIRE_MESSAGE(train.code == 0, train.err);
  CHECK(!fs::is_empty(data.path("run/maps")));
  data.folder.file("tiles.csv", "sample,image,counts,spots,mpp\nC,C.tif,C.tsv,C_spots.tsv,\n");
  const Words pictures{"--heat-maps", "G5", "--overlay", "G5"};
  Words words = with(data.predict("run", "tiles.h5ad"), pictures);
  words[1] = data.path("tiles.csv");
  const test::Ran r = test::run_stflow(words);
  REQUIRE_MESSAGE(r.code == 0, r.err);
  REQUIRE(test::run_stflow(with(data.predict("run", "rows.h5ad"), pictures)).code == 0);
  // The same pixels in a PNG: the same features, and overlay.
  CHECK(read_h5ad_matrix(data.path("tiles.h5ad"), "X").values == read_h5ad_matrix(data.path("rows.h5ad"), "X").values);
  CHECK(test::read_file(data.path("tiles.G5.ome.tif")) == test::read_file(data.path("rows.G5.ome.tif")));
  CHECK(fs::exists(data.path("tiles.G5.png")));
  CHECK(read_h5ad(data.path("tiles.h5ad")).libraries[0].best_image() == "hires");
}

TEST_CASE("predict: measured genes are known by name or id") {
  Section known;
  known.source.sample = "S";
  known.spots = {"a", "b"}, known.genes = {"ACTB", "ENSG2"}, known.gene_ids = {"ENSG1", "ENSG2"};
  const std::vector<float> counts{1, 2, 0, 4};
  known.counts = sparse(counts, 2);
  const auto same = [](const std::vector<float>& found, const std::vector<float>& want) {
    REQUIRE(found.size() == want.size());
    for (size_t i = 0; i < want.size(); i++) CHECK((std::isnan(want[i]) ? std::isnan(found[i]) : found[i] == want[i]));
  };
  const float nan = NAN;
  const std::vector<float> want{nan, nan, nan, std::log1p(4.0f), 0, nan, std::log1p(2.0f), std::log1p(1.0f), nan};
  same(known_values(known, {"x", "b", "a"}, {"ENSG2", "ENSG1", "ENSG3"}), want);
  same(known_values(known, {"x", "b", "a"}, {"ENSG2", "ACTB", "other"}), want);
  test::refuses(Exit::data, "{}: 1 of 1 spots and 0 of 1 genes known, expected names of the section that is predicted", "S",
                [&] { static_cast<void>(known_values(known, {"a"}, {"ENSG3"})); });
}
