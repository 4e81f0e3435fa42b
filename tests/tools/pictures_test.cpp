// Heat maps and overlays that stflow predict writes beside a prediction.
#include <doctest/doctest.h>

#include <filesystem>

#include "data/image.h"
#include "data/slide/slide.h"
#include "engine/file.h"
#include "tests/run.h"
#include "tests/tools/tiny_run.h"

using namespace stflow;
namespace fs = std::filesystem;

TEST_CASE("predict: heat maps and overlays of a section, and of a slide in tiles") {
  const test::TinyRun data;
  REQUIRE(test::run_stflow(data.words("run")).code == 0);
  std::vector<std::string> words = data.predict("run", "p.csv");
  words.insert(words.end(), {"--heat-maps", "G5", "--overlay", "G5,G7"});
  const test::Ran r = test::run_stflow(words);
  REQUIRE_MESSAGE(r.code == 0, r.err);
  CHECK(read_image(data.path("p.G5.png")).width > 100);
  CHECK(!fs::exists(data.path("p.G7.png")));
  const Image section = read_image(data.path("C.png"));
  const SlideImage overlay(data.path("p.G5.ome.tif"));
  CHECK(overlay.width() == section.width);
  CHECK(overlay.height() == section.height);
  CHECK(overlay.mpp() > 0);
  CHECK(read_text(data.path("p.G5.ome.tif")) != read_text(data.path("p.G7.ome.tif")));

  // The overlay is a slide in tiles itself.
  data.folder.file("spots.csv", "x,y\n40,40\n80,40\n40,80\n");
  const std::vector<std::string> slide{"predict",
                                       data.path("p.G7.ome.tif"),
                                       "--model",
                                       data.path("run"),
                                       "--encoder",
                                       data.path("encoder.safetensors"),
                                       "--coords",
                                       data.path("spots.csv"),
                                       "--cache-dir",
                                       data.path("cache"),
                                       "--quiet",
                                       "--heat-maps",
                                       "G1",
                                       "--overlay",
                                       "G1",
                                       "--out",
                                       data.path("s.h5ad")};
  const test::Ran s = test::run_stflow(slide);
  REQUIRE_MESSAGE(s.code == 0, s.err);
  const SlideImage again(data.path("s.G1.ome.tif"));
  CHECK(again.width() == section.width);
  CHECK(again.mpp() == doctest::Approx(overlay.mpp()));
  CHECK(fs::exists(data.path("s.G1.png")));

  fs::remove(data.path("s.h5ad"));
  const test::Ran there = test::run_stflow(slide);
  CHECK(there.code == 73);
  CHECK(there.err == "stflow: error: " + data.path("s.G1.png") + ": exists, expected a new file; pass --overwrite\n");
  words[words.size() - 3] = "G55";
  words.emplace_back("--overwrite");
  const test::Ran unknown = test::run_stflow(words);
  CHECK(unknown.code == 64);
  CHECK(unknown.err == "stflow: error: --heat-maps: found 'G55', expected genes that the model predicts; the nearest is 'G5'\n");
}
