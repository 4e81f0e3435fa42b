// stflow predict on slides that have no spots, as a process: places, files, measured spots, plans and refusals.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "data/csv.h"
#include "data/png.h"
#include "data/spatial/h5ad.h"
#include "engine/text.h"
#include "tests/run.h"
#include "tests/tools/tiny_run.h"

using namespace stflow;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

/// A trained tiny model and white slides with a round, stained piece of tissue of 10 um pixels.
struct Slides : test::TinyRun {
  explicit Slides(const Words& more = {}) { REQUIRE(test::run_stflow(words("run", more)).code == 0); }

  std::string slide(const std::string& name, int64_t size = 200, bool tissue = true) const {
    Image image{size, size, std::vector<uint8_t>(size_t(size * size * 3), 245)};
    for (int64_t y = 0; y < size; y++)
      for (int64_t x = 0; x < size; x++) {
        if (!tissue || std::hypot(double(x) - double(size) / 2, double(y) - double(size) / 2) > 0.4 * double(size)) continue;
        uint8_t* p = image.rgb.data() + (y * size + x) * 3;
        p[0] = uint8_t(170 + (x * 7 + y * 3) % 60), p[1] = uint8_t(70 + (x * 5 + y * 11) % 60), p[2] = uint8_t(150 + (x + y) % 60);
      }
    write_png(path(name), image);
    return path(name);
  }
  Words predict_slide(const std::string& slide, const std::string& out, const Words& more = {}) const {
    Words w{"predict",     path(slide),   "--model", path("run"), "--encoder", path("encoder.safetensors"), "--out", path(out),
            "--cache-dir", path("cache"), "--quiet", "--mpp",     "10"};
    w.insert(w.end(), more.begin(), more.end());
    return w;
  }
};

/// The rows of a prediction's CSV by spot: x, y, then the genes.
std::map<std::string, std::vector<double>> rows_of(const std::string& path) {
  std::map<std::string, std::vector<double>> rows;
  const std::string text = test::read_file(path);
  for (size_t begin = text.find('\n') + 1; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    std::vector<double> values;
    std::string spot;
    for (size_t at = begin; at < end;) {
      const size_t comma = std::min(text.find(',', at), end);
      const std::string word = text.substr(at, comma - at);
      if (at == begin) spot = word;
      else values.push_back(parse_number(word).value());
      at = comma + 1;
    }
    rows[spot] = values;
    begin = end + 1;
  }
  return rows;
}

void refused(const Words& words, int code, const std::string& line) {
  const test::Ran r = test::run_stflow(words);
  CAPTURE(r.err);
  CHECK(r.code == code);
  CHECK(r.err.find(line) != std::string::npos);
  CHECK(r.err.ends_with("\n"));
}

}  // namespace

TEST_CASE("predict: a slide without spots gets a grid over its tissue; the CSV and the h5ad say the same") {
  const Slides s;
  s.slide("slide.png");
  const test::Ran csv = test::run_stflow(s.predict_slide("slide.png", "p.csv", {"--json", "--pitch", "100"}));
  REQUIRE_MESSAGE(csv.code == 0, csv.err);
  const auto rows = rows_of(s.path("p.csv"));
  const auto json = nlohmann::json::parse(csv.out);
  CHECK(json["slide"]["spots"] == rows.size());
  CHECK(json["slide"]["tiles"] == 1);
  // Tissue of radius 80 pixels: 100 um are 10 pixels, a hexagonal cell of them has 86.6 square pixels.
  CHECK(double(rows.size()) == doctest::Approx(3.14159 * 80 * 80 / 86.6).epsilon(0.25));
  for (const auto& [spot, values] : rows) {
    CHECK(std::hypot(values[0] - 100, values[1] - 100) < 95);
    REQUIRE(values.size() == 2 + 6);
    for (size_t g = 2; g < values.size(); g++) CHECK(values[g] >= 0);
  }

  Words words = s.predict_slide("slide.png", "p.h5ad", {"--pitch", "100"});
  REQUIRE(test::run_stflow(words).code == 0);
  const std::string path = s.path("p.h5ad");
  H5adOptions columns;
  columns.obs = {"array_row", "array_col", "feature_distance", "out_of_distribution"}, columns.var = {"train_pcc"};
  const H5ad file = read_h5ad(path, columns);
  const FloatMatrix x = read_h5ad_matrix(path, "X"), low = read_h5ad_matrix(path, "layers/q05"),
                    high = read_h5ad_matrix(path, "layers/q95"), sd = read_h5ad_matrix(path, "layers/std"),
                    draws_sd = read_h5ad_matrix(path, "layers/draws_std");
  REQUIRE(file.barcodes.size() == rows.size());
  REQUIRE(x.columns == 6);
  for (size_t i = 0; i < file.barcodes.size(); i++) {
    const std::vector<double>& row = rows.at(file.barcodes[i]);
    CHECK(file.spatial[2 * i] == row[0]);
    CHECK(file.spatial[2 * i + 1] == row[1]);
    for (size_t at = 6 * i; at < 6 * i + 6; at++) {
      CHECK(x.values[at] == float(row[at % 6 + 2]));
      CHECK(low.values[at] <= high.values[at]);
      CHECK(sd.values[at] > draws_sd.values[at]);  // a measurement is farther from the mean than the draws are
    }
  }
  for (const std::string& name : columns.obs) CHECK(file.obs.contains(name));
  CHECK(file.var.contains("train_pcc"));
  REQUIRE(file.libraries.size() == 1);
  CHECK(file.libraries[0].best_image() == "hires");
  CHECK(test::run_stflow(words).code == 73);  // it exists
  for (const auto& entry : fs::directory_iterator(s.path(""))) CHECK(entry.path().string().find("stflow-features") == std::string::npos);
}

TEST_CASE("predict: draws are layers, and a model that has seen no spots left out has their quantiles") {
  const Slides s({"--preset", "reference"});
  s.slide("slide.png");
  REQUIRE(test::run_stflow(s.predict_slide("slide.png", "p.h5ad", {"--keep-samples", "--samples", "4"})).code == 0);
  const std::string path = s.path("p.h5ad");
  const FloatMatrix x = read_h5ad_matrix(path, "X"), low = read_h5ad_matrix(path, "layers/q05"),
                    high = read_h5ad_matrix(path, "layers/q95"), sd = read_h5ad_matrix(path, "layers/std");
  std::vector<FloatMatrix> draws;
  for (int d = 0; d < 4; d++) draws.push_back(read_h5ad_matrix(path, "layers/sample_" + std::to_string(d)));
  double spread = 0;
  for (size_t at = 0; at < x.values.size(); at++) {
    float least = draws[0].values[at], most = least;
    double mean = 0;
    for (const FloatMatrix& d : draws)
      least = std::min(least, d.values[at]), most = std::max(most, d.values[at]), mean += double(d.values[at]) / 4;
    CHECK(low.values[at] >= least);
    CHECK(high.values[at] <= most);
    CHECK(low.values[at] <= high.values[at]);
    if (least > 0) CHECK(double(x.values[at]) == doctest::Approx(mean).epsilon(1e-4));  // nothing was clipped
    spread += double(sd.values[at]);
  }
  CHECK(spread > 0);
}

TEST_CASE("predict: measured spots stay what they are, are spots of the slide, and change the others") {
  const Slides s({"--preset", "reference"});
  s.slide("slide.png");
  const std::string genes = [&] {
    const std::string text = test::read_file(s.path("run/predictions/C.csv"));
    std::string line = text.substr(0, text.find('\n'));
    line = line.substr(line.find(',') + 1), line = line.substr(line.find(',') + 1), line = line.substr(line.find(',') + 1);
    std::replace(line.begin(), line.end(), ',', '\t');
    return line;
  }();
  s.folder.file("known.tsv", "\t" + genes + "\n1x1\t9\t9\t9\t9\t9\t9\n2x1\t0\t0\t0\t0\t0\t0\n");
  s.folder.file("known_spots.tsv", "x\ty\tpixel_x\tpixel_y\n1\t1\t100\t100\n2\t1\t120\t100\n");
  s.folder.file("known.csv", "sample,image,counts,spots,mpp\nslide,slide.png,known.tsv,known_spots.tsv,10\n");
  REQUIRE(test::run_stflow(s.predict_slide("slide.png", "free.csv")).code == 0);
  const test::Ran r = test::run_stflow(s.predict_slide("slide.png", "held.csv", {"--known", s.path("known.csv")}));
  REQUIRE_MESSAGE(r.code == 0, r.err);
  const auto before = rows_of(s.path("free.csv")), after = rows_of(s.path("held.csv"));
  REQUIRE(after.contains("1x1"));
  for (size_t g = 2; g < 8; g++) {
    CHECK(float(after.at("1x1")[g]) == std::log1p(9.0f));
    CHECK(after.at("2x1")[g] == 0);
  }
  double moved = 0;
  int64_t left_out = 0;
  for (const auto& [spot, values] : before) {
    const auto now = after.find(spot);
    if (now == after.end()) {  // the same tissue as a measured spot
      CHECK(std::min(std::hypot(values[0] - 100, values[1] - 100), std::hypot(values[0] - 120, values[1] - 100)) < 5);
      left_out++;
      continue;
    }
    for (size_t g = 2; g < 8; g++) moved += std::fabs(now->second[g] - values[g]);
  }
  CHECK(after.size() == before.size() - size_t(left_out) + 2);
  CHECK(moved > 0);
  refused(s.predict_slide("slide.png", "x.csv", {"--known", s.path("manifest.csv")}), 65, "expected the measured spots of one slide");
}

TEST_CASE("predict: a folder of slides, given places, a plan alone") {
  const Slides s;
  fs::create_directory(s.path("slides"));
  s.slide("slides/a.png"), s.slide("slides/b.png", 120);
  Words words = s.predict_slide("slides", "out", {"--format", "geojson", "--json"});
  const test::Ran r = test::run_stflow(words);
  REQUIRE_MESSAGE(r.code == 0, r.err);
  CHECK(nlohmann::json::parse(r.out).size() == 2);
  for (const char* name : {"out/a.geojson", "out/b.geojson"})
    CHECK(nlohmann::json::parse(test::read_file(s.path(name)))["type"] == "FeatureCollection");
  s.folder.file("places.csv", "barcode,x,y\none,50,60\ntwo,90,100.5\n");
  REQUIRE(test::run_stflow(s.predict_slide("slides/a.png", "given.csv", {"--coords", s.path("places.csv")})).code == 0);
  const auto rows = rows_of(s.path("given.csv"));
  REQUIRE(rows.size() == 2);
  CHECK(rows.at("two")[1] == 100.5);
  words = s.predict_slide("slides/a.png", "none.h5ad", {"--dry-run", "--max-mem", "4G"});
  std::erase(words, "--quiet");
  const test::Ran plan = test::run_stflow(words);
  CHECK(plan.code == 0);
  CHECK(plan.err.find("at most 4.3 GB") != std::string::npos);
  CHECK(!fs::exists(s.path("none.h5ad")));
}

TEST_CASE("bad input: predict refuses what it cannot predict, in one line") {
  const Slides s;
  s.slide("slide.png"), s.slide("white.png", 100, false);
  Words no_scale = s.predict_slide("slide.png", "p.csv");
  no_scale.resize(no_scale.size() - 2);
  refused(no_scale, 65, "--mpp");
  refused(s.predict_slide("white.png", "p.csv"), 65, "white.png");
  refused(s.predict_slide("none.svs", "p.csv"), 66, "no such file or folder");
  refused(s.predict_slide("slide.png", "p.xlsx"), 64, "p.xlsx");
  refused(s.predict_slide("slide.png", "p.csv", {"--max-mem", "1M"}), 71, "--max-mem: found 1.0 MB, expected at least");
  refused(s.predict_slide("slide.png", "p.csv", {"--quantiles", "2"}), 64, "--quantiles: found '2', expected numbers from 0 to 1");
  refused(s.predict_slide("manifest.csv", "p.csv", {"--coords", "x"}), 64, "--coords");
  s.folder.file("page.svs", "<!DOCTYPE html><html>404</html>");
  refused(s.predict_slide("page.svs", "p.csv"), 65, "an HTML page");
  CHECK(!fs::exists(s.path("p.csv")));
}
