// Files that were whole once, through the command: whatever they have become, it ends with 0 or with 65 and one line, in a few seconds and
// in memory that the file's size bounds. `make test` tries a few of each format; STFLOW_MUTANTS=10000 that many.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "data/hdf5_write.h"
#include "data/png.h"
#include "engine/text.h"
#include "tests/data/slide/tiny_tiff.h"
#include "tests/data/tiny.h"
#include "tests/mutants.h"
#include "tests/run.h"
#include "tests/tools/tiny_run.h"

using namespace stflow;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

struct Ended {
  int code;
  std::string err;
  double seconds;  // of a processor
  int64_t bytes;   // resident at most
};

Ended run(const Words& words, const std::string& scratch) {
  const pid_t process = test::start_stflow(words, {"OMP_NUM_THREADS=1"}, "/dev/null", scratch);
  int status = 0;
  rusage used{};
  REQUIRE(wait4(process, &status, 0, &used) == process);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), test::read_file(scratch),
          seconds(used.ru_utime) + seconds(used.ru_stime), int64_t(used.ru_maxrss) * 1024};
}

void overwrite(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), int64_t(bytes.size()));
  REQUIRE(file.good());
}

int64_t mutants() {
  const char* text = std::getenv("STFLOW_MUTANTS");
  return text ? parse_integer(text).value_or(0) : 12;
}

/// Puts mutants of `file` in its place and runs the command on each, also on those numbered `found`; the file itself must be taken.
void attack(const test::TempFolder& folder, const std::string& name, const std::string& file, const Words& words,
            const std::vector<uint32_t>& found = {}) {
  CAPTURE(name);
  const std::string whole = test::read_file(file), scratch = folder.path("stderr");
  const Ended good = run(words, scratch);
  REQUIRE_MESSAGE(good.code == 0, good.err);
  int64_t refused = 0;
  std::vector<uint32_t> numbers;
  for (uint32_t i = 0; i < mutants(); i++) numbers.push_back(i);
  numbers.insert(numbers.end(), found.begin(), found.end());
  for (const uint32_t i : numbers) {
    CAPTURE(i);
    const std::string bytes = test::mutant(whole, i);
    overwrite(file, bytes);
    const Ended e = run(words, scratch);
    CAPTURE(e.err);
    CHECK((e.code == 0 || e.code == 65));
    CHECK(e.seconds <= 5);
    if (e.code == 0) continue;
    refused++;
    const size_t line = e.err.rfind("stflow: error: ");
    REQUIRE(line != std::string::npos);
    CHECK(e.err.find("stflow: error: ") == line);  // one
    CHECK(std::count(e.err.begin() + int64_t(line), e.err.end(), '\n') == 1);
    CHECK(e.bytes <= good.bytes + (64 << 20) + 2 * int64_t(bytes.size()));
  }
  CHECK(refused > 0);
  overwrite(file, whole);
}

}  // namespace

TEST_CASE("slow: hostile slides and images through inspect, which decodes them all") {
  const test::TempFolder folder;
  const Image picture = test::waves(150, 100);
  const auto attack_slide = [&](const std::string& name, const std::string& file) {
    attack(folder, name, file, {"inspect", file, "--mpp", "10", "--quiet"});
  };
  attack_slide("TIFF", test::write_tiff(folder.path("plain.tif"), {{picture, {}}, {test::halved(picture), {.subfile = 1}}}));
  attack_slide("TIFF of JPEG", test::write_tiff(folder.path("jpeg.tif"), {{picture, {.tile = 32, .compression = 7, .photometric = 6}}}));
  attack_slide("TIFF of JPEG 2000", test::write_tiff(folder.path("jp2k.tif"), {{picture, {.tile = 32, .compression = 33005}}}));
  attack_slide("BigTIFF", test::write_tiff(folder.path("big.tif"), {{picture, {.mode = "w8", .tile = 0, .compression = 5}}}));
  write_png(folder.path("p.png"), picture);
  attack_slide("PNG", folder.path("p.png"));
  attack_slide("JPEG", folder.file("p.jpg", test::jpeg(picture)));
  // A slide's scale from the JSON file beside it.
  write_png(folder.path("scaled.png"), picture);
  folder.file("scaled.json", R"({"pixel_size_um_embedded": null, "pixel_size_um_estimated": 10.0, "image": {"a": [1, 2, {"b": "c"}]}})");
  attack(folder, "JSON", folder.path("scaled.json"), {"inspect", folder.path("scaled.png"), "--quiet"});
}

TEST_CASE("slow: hostile tables and HDF5 files through predict") {
  const test::TinyRun data;
  const test::TempFolder folder;
  REQUIRE(test::run_stflow(data.words("run", {"--epochs", "1", "--members", "1"})).code == 0);
  const auto reads = [&](const std::string& path) {
    return Words{"predict", path, "--model", data.path("run"), "--out", folder.path("p.csv"), "--dry-run", "--quiet"};
  };
  const auto attack_fixture = [&](const std::string& name, const std::vector<uint32_t>& found) {
    fs::copy_file("tests/fixtures/spatial/" + name, folder.path(name));
    attack(folder, name, folder.path(name), reads(folder.path(name)), found);
  };
  // In which libhdf5 runs in circles, or wants room for what the file cannot hold.
  attack_fixture("anndata012.h5ad", {180, 6158, 7757});
  attack_fixture("anndata07.h5ad", {2628, 5256, 7673});
  test::tiny_section(folder, "S");
  const std::string counts = test::read_file(folder.path("S.tsv"));
  fs::remove(folder.path("S.tsv"));
  attack(folder, "gzipped counts", folder.file("S.tsv.gz", test::gzip(counts)), [&] {
    Words words = reads(folder.path());
    words.insert(words.end(), {"--spot-pitch", "50"});
    return words;
  }());
  const test::TempFolder outs;
  fs::create_directories(outs.path("filtered_feature_bc_matrix")), fs::create_directories(outs.path("spatial"));
  outs.file("filtered_feature_bc_matrix/barcodes.tsv", "AAA-1\nCCC-1\nGGG-1\n");
  outs.file("filtered_feature_bc_matrix/features.tsv", "ENSG1\tACTB\tGene Expression\nENSG2\tERBB2\tGene Expression\n");
  outs.file("filtered_feature_bc_matrix/matrix.mtx",
            "%%MatrixMarket matrix coordinate integer general\n%meta\n2 3 4\n1 1 5\n2 1 1\n2 2 7\n1 3 2\n");
  outs.file("spatial/tissue_positions_list.csv", "AAA-1,1,0,0,10,10\nCCC-1,1,0,2,10,30\nGGG-1,1,1,1,20,20\n");
  outs.file(
      "spatial/scalefactors_json.json",
      R"({"spot_diameter_fullres": 9.5, "tissue_hires_scalef": 1.0, "tissue_lowres_scalef": 0.5, "fiducial_diameter_fullres": 14.0})");
  write_png(outs.path("spatial/tissue_hires_image.png"), test::picture(40, 40));
  for (const char* name : {"filtered_feature_bc_matrix/matrix.mtx", "spatial/tissue_positions_list.csv", "spatial/scalefactors_json.json"})
    attack(outs, name, outs.path(name), reads(outs.path()));
}

TEST_CASE("slow: hostile HDF5 files of counts, features, places and patches") {
  const test::TinyRun data;
  REQUIRE(test::run_stflow(data.words("run", {"--epochs", "1", "--members", "1"})).code == 0);
  const test::TempFolder outs;
  const std::string counts = outs.path("filtered_feature_bc_matrix.h5"), features = data.path("features/C.h5");
  fs::copy_file("tests/fixtures/spatial/tenx_v3.h5", counts);
  outs.file("spatial/tissue_positions_list.csv", [] {
    std::string text;
    for (int n = 0; n < 12; n++)
      text += fmt::format("{0}{0}{0}{0}{1}{1}{1}{1}-1,1,{2},{3},{4},{5}\n", "ACGT"[n % 4], "ACGT"[n / 4], n / 4, 2 * (n % 4) + n / 4 % 2,
                          5.0 + 10.4 * (n / 4), 5 + 12 * (n % 4) + 6 * (n / 4 % 2));
    return text;
  }());
  outs.file("spatial/scalefactors_json.json", R"({"spot_diameter_fullres": 9.5, "tissue_hires_scalef": 1.0})");
  write_png(outs.path("spatial/tissue_hires_image.png"), test::picture(50, 40));
  attack(outs, "10x HDF5", counts,
         {"predict", outs.path(), "--model", data.path("run"), "--out", outs.path("p.csv"), "--dry-run", "--quiet"});
  const Words encoder{"--encoder", data.path("encoder.safetensors"), "--quiet", "--overwrite"};
  const auto with_encoder = [&](Words words) {
    words.insert(words.end(), encoder.begin(), encoder.end());
    return words;
  };
  REQUIRE(test::run_stflow(with_encoder({"embed", data.path("manifest.csv"), "--out", data.path("features")})).code == 0);
  Words reads = data.predict("run", "p.csv");
  reads.insert(reads.end(), {"--embeddings", data.path("features"), "--overwrite"});
  attack(data.folder, "features", features, reads);
  // TRIDENT's file of coordinates, HEST's of patches.
  const std::string places = data.path("places.h5"), patches = data.path("patches.h5");
  {
    Hdf5Writer file(places);
    const std::vector<int64_t> corners{10, 10, 60, 60, 100, 90};
    file.numbers<int64_t>("coords", {3, 2}, corners.data());
    for (const char* name : {"patch_size", "patch_size_level0"}) file.attribute("coords", name, int64_t(32));
    file.commit();
  }
  attack(data.folder, "coordinates", places,
         with_encoder({"embed", data.path("A.png"), "--coords", places, "--out", data.path("e.h5"), "--mpp", "10"}));
  {
    Hdf5Writer file(patches);
    std::vector<uint8_t> pixels(3 * 32 * 32 * 3);
    for (size_t i = 0; i < pixels.size(); i++) pixels[i] = uint8_t(i * i % 251);
    file.numbers<uint8_t>("img", {3, 32, 32, 3}, pixels.data());
    file.strings("barcode", {3, 1}, {"a", "b", "c"});
    file.commit();
  }
  attack(data.folder, "patches", patches, with_encoder({"embed", patches, "--out", data.path("e.h5")}));
}

TEST_CASE("slow: hostile outlines through predict") {
  const test::TinyRun data;
  REQUIRE(test::run_stflow(data.words("run", {"--epochs", "1", "--members", "1"})).code == 0);
  const std::string outlines = data.folder.file(
      "tissue.geojson",
      R"({"type":"FeatureCollection","features":[{"type":"Feature","properties":{"classification":{"name":"Tissue"}},"geometry":{"type":"Polygon","coordinates":[[[20,20],[150,20],[150,110],[20,110],[20,20]]]}}]})");
  attack(data.folder, "GeoJSON", outlines,
         {"predict", data.path("A.png"), "--model", data.path("run"), "--encoder", data.path("encoder.safetensors"), "--out",
          data.path("p.csv"), "--mpp", "10", "--tissue", outlines, "--dry-run", "--quiet"});
}
