// stflow embed and stflow inspect on slides, as processes.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "data/embeddings.h"
#include "data/image.h"
#include "engine/file.h"
#include "tests/data/slide/tiny_tiff.h"
#include "tests/run.h"
#include "tests/tools/tiny_run.h"

using namespace stflow;
using namespace stflow::test;

namespace {

using Words = std::vector<std::string>;

Ran embed_slide(const TinyRun& data, const std::string& in, const std::string& out, const Words& more = {}) {
  Words w{"embed", data.path(in), "--encoder", data.path("encoder.safetensors"), "-o", data.path(out), "--quiet"};
  w.insert(w.end(), more.begin(), more.end());
  return run_stflow(w);
}

void same_features(const Embeddings& a, const Embeddings& b) {
  CHECK(a.values == b.values);
  CHECK(a.barcodes == b.barcodes);
  CHECK(a.coords == b.coords);
}

}  // namespace

TEST_CASE("embed: a slide's patches have the features of the same pixels in a PNG; its own scale is used") {
  const TinyRun data;
  const Image image = read_image(data.path("A.png"));
  write_tiff(data.path("slide.tif"),
             {{image, {.tile = 64, .compression = 8, .per_cm = 1600}}, {halved(image), {.tile = 64, .compression = 8}}});
  std::string table = "barcode,x,y\n";
  for (int i = 0; i < 150; i++) table += fmt::format("s{},{},{}\n", i, i * 37 % 216, i * 53 % 168);
  const std::string places = data.folder.file("places.csv", table);
  auto runs = [](const Ran& r) { CHECK_MESSAGE(r.code == 0, r.err); };
  runs(embed_slide(data, "slide.tif", "slide.h5", {"--coords", places}));
  runs(embed_slide(data, "slide.tif", "threads.h5", {"--coords", places, "--threads", "3"}));
  runs(embed_slide(data, "A.png", "plain.h5", {"--coords", places, "--mpp", "6.25"}));
  const Embeddings slide = load_embeddings(data.path("slide.h5"));
  REQUIRE(slide.barcodes.size() == 150);
  same_features(slide, load_embeddings(data.path("plain.h5")));
  CHECK(read_text(data.path("slide.h5")) == read_text(data.path("threads.h5")));
  // 12.5 microns are said of it: the patches are half as many pixels.
  const std::string list = data.folder.file("list.csv", "wsi,mpp\nslide.tif,9.5\n");
  runs(embed_slide(data, "slide.tif", "listed.h5", {"--coords", places, "--mpp-csv", list}));
  CHECK(load_embeddings(data.path("listed.h5")).values != slide.values);

  // A data set whose images are slides.
  std::string manifest = read_text(data.path("manifest.csv"));
  for (const char* name : {"A", "B", "C"}) {
    write_tiff(data.path(std::string(name) + ".tif"),
               {{read_image(data.path(std::string(name) + ".png")), {.tile = 32, .compression = 5}}});
    const std::string png = std::string(name) + ".png";
    for (size_t at = 0; (at = manifest.find(png, at)) != std::string::npos;) manifest.replace(at, 5, std::string(name) + ".tif");
  }
  data.folder.file("slides.csv", manifest);
  runs(embed_slide(data, "slides.csv", "slides"));
  runs(embed_slide(data, "manifest.csv", "images"));
  for (const char* name : {"A", "B", "C"})
    same_features(load_embeddings(data.path(fmt::format("slides/{}.h5", name))),
                  load_embeddings(data.path(fmt::format("images/{}.h5", name))));
}

TEST_CASE("bad input: embed refuses a slide of no scale, and names the tile that does not decode or leaves its patches out") {
  const TinyRun data;
  const Image image = waves(128, 96);
  const std::string path = write_tiff(data.path("slide.tif"), {{image, {.tile = 32, .compression = 7, .photometric = 6}}});
  const std::string places = data.folder.file("places.csv", "barcode,x,y\na,100,80\nb,10,10\nc,60,50\n");
  const Ran none = embed_slide(data, "slide.tif", "x.h5", {"--coords", places});
  CHECK(none.code == 65);
  CHECK(none.err ==
        "stflow: error: " + path +
            ": no microns per pixel: tried Aperio MPP, TIFF XResolution, OME PhysicalSizeX, sidecar JSON, expected one of them; "
            "pass --mpp\n");
  write_atomic(path, with_tag(read_text(path), 325, 70));
  const Words words{"--coords", places, "--mpp", "10"};
  const Ran bad = embed_slide(data, "slide.tif", "x.h5", words);
  CHECK(bad.code == 65);
  CHECK_MESSAGE(bad.err.starts_with("stflow: error: " + path + ": tile 0 of level 0: '"), bad.err);
  CHECK(std::count(bad.err.begin(), bad.err.end(), '\n') == 1);
  Words skip = words;
  skip.insert(skip.end(), {"--bad-tiles", "skip", "--json"});
  const Ran skipped = embed_slide(data, "slide.tif", "x.h5", skip);
  REQUIRE_MESSAGE(skipped.code == 0, skipped.err);
  CHECK_MESSAGE(skipped.err.find("1 of 3 patches lie on tiles that cannot be decoded and are left out: b") != std::string::npos,
                skipped.err);
  CHECK(nlohmann::json::parse(skipped.out)["slide"]["missing"] == nlohmann::json{"b"});
  CHECK(load_embeddings(data.path("x.h5")).barcodes == Words{"a", "c"});
}

TEST_CASE("inspect: says what a slide is, or why it cannot be read") {
  const TempFolder folder;
  const Image image = waves(64, 48);
  const std::string path = write_tiff(
      folder.path("s.svs"),
      {{image, {.compression = 7, .photometric = 6, .description = "Aperio Image|MPP = 0.25"}}, {halved(image), {.compression = 8}}});
  const Ran text = run_stflow({"inspect", path});
  CHECK(text.code == 0);
  CHECK(text.out.starts_with(path + "\n  format         Aperio SVS, 64 x 48 pixels\n"
                                    "  level 0        64 x 48, downsample 1, tiles of 16 x 16, JPEG\n"
                                    "  level 1        32 x 24, downsample 2, tiles of 16 x 16, Deflate\n"
                                    "  scale          0.25 microns per pixel (Aperio MPP)\n"
                                    "  size           0.016 x 0.012 mm\n"));
  CHECK(text.out.find("tissue") != std::string::npos);
  const auto json = nlohmann::json::parse(run_stflow({"inspect", path, "--json"}).out);
  CHECK(json["kind"] == "slide");
  CHECK(json["levels"].size() == 2);
  CHECK(json["levels"][1]["compression"] == "Deflate");
  CHECK(json["mpp"] == 0.25);
  CHECK(json["mpp_sources"]["Aperio MPP"] == nlohmann::json{0.25, 0.25});
  write_tiff(path, {{image, {.compression = 7}}});
  const Ran unscaled = run_stflow({"inspect", path});
  CHECK(unscaled.code == 0);
  CHECK(unscaled.out.find("problem        " + path + ": no microns per pixel") != std::string::npos);
  write_atomic(path, read_text(path).substr(0, 300));
  const Ran cut = run_stflow({"inspect", path});
  CHECK(cut.code == 65);
  CHECK_MESSAGE(cut.err.find("truncated") != std::string::npos, cut.err);
  CHECK(run_stflow({"inspect", "data/samples/her2st/ERBB2_C6.png"}).out.find("format         PNG") != std::string::npos);
}
