#include "tools/tissue_flags.h"

#include <doctest/doctest.h>

#include "data/tissue/geojson.h"
#include "tests/data/tissue/slide.h"
#include "tests/files.h"

using namespace stflow;
using namespace stflow::test;

namespace {

/// A slide of 3200 x 2400 pixels of 0.5 microns, seen at 8 microns a pixel.
Image drawn() {
  Image slide = blank_slide(200, 150, {245, 243, 242});
  draw_tissue(slide, 90, 70, 40);
  return slide;
}

Places lay(const Image& slide, const TissueFlags& f) { return places_on(slide, 16, 3200, 2400, 0.5, f, 112, "slide.svs"); }

}  // namespace

TEST_CASE("tissue flags: positions on found tissue are those on the outlines that were saved") {
  const TempFolder folder;
  TissueFlags f;
  f.save_tissue = folder.path("t.geojson");
  const Places found = lay(drawn(), f);
  CHECK(found.size() > 20);
  const std::vector<Polygon> saved = read_tissue(f.save_tissue);
  CHECK(saved.size() == 1);
  CHECK(contains(saved[0], {90 * 16, 70 * 16}));
  TissueFlags again;
  again.tissue = f.save_tissue;
  const Places read = lay(blank_slide(200, 150, {245, 243, 242}), again);
  CHECK(std::abs(read.size() - found.size()) <= 2);
  f.save_tissue.clear(), f.grid = "square", f.overlap = 56;
  const Places square = lay(drawn(), f);
  CHECK(square.pitch == 112);
  CHECK(square.side == 224);
}

TEST_CASE("tissue flags: as typed") {
  TissueFlags f;
  Options o("t", "", "");
  declare_tissue(o, f);
  CHECK(o.parse({"--grid=square", "--overlap", "12", "--min_tissue_proportion", "0.5", "--no-remove-holes", "--remove-penmarks"}));
  const GridOptions g = f.grid_options(112);
  CHECK_FALSE(g.hexagonal);
  CHECK(g.pitch == 100);
  CHECK(g.least_share == 0.5);
  CHECK_FALSE(f.remove_holes);
}

TEST_CASE("bad input: slides and outlines without tissue, flags that contradict each other") {
  const TempFolder folder;
  TissueFlags f;
  refuses(Exit::data, "slide.svs: tissue: none found at 8.0 microns per pixel, expected some; --tissue FILE takes outlines drawn by hand",
          "", [&] {
            lay(blank_slide(200, 150, {245, 243, 242}), f);
          });
  f.min_tissue_proportion = 1, f.pitch = 2000;
  refuses(Exit::data,
          "slide.svs: tissue: no patch of 112 microns has 1 of it (17.49 % of the slide is tissue), expected some; lower "
          "--min-tissue-proportion",
          "", [&] { lay(drawn(), f); });
  f = {};
  f.tissue = folder.file("far.geojson", R"({"type":"Polygon","coordinates":[[[5000,0],[5100,0],[5000,100]]]})");
  refuses(Exit::data, "{}: features: no outline on the slide of 3200 x 2400 pixels, expected full-resolution pixels of it", f.tissue,
          [&] { lay(drawn(), f); });
  f = {};
  f.overlap = 10;
  refuses(Exit::usage, "--overlap: found 10 for --grid visium, expected --grid square", "", [&] { check_tissue(f, 112); });
  f.grid = "square";
  refuses(Exit::usage, "--overlap: found 10 microns, expected less than a patch's side of 8", "", [&] { check_tissue(f, 8); });
  f.pitch = 50;
  refuses(Exit::usage, "--overlap: found 10 beside --pitch 50, expected one of them", "", [&] { check_tissue(f, 112); });
}
