#include "data/spatial/layouts.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "data/dataset.h"
#include "data/spatial/hest_bench.h"
#include "tests/data/tiny.h"

using namespace stflow;

namespace {

namespace fs = std::filesystem;

const std::string kFixture = "tests/fixtures/spatial/anndata012.h5ad";

void h5ad(const test::TempFolder& folder, const std::string& at) {
  fs::create_directories(fs::path(folder.path(at)).parent_path());
  fs::copy_file(kFixture, folder.path(at), fs::copy_options::overwrite_existing);
}

}  // namespace

TEST_CASE("layouts: HEST-1k with scale and patient of the metadata, folders of h5ad files") {
  const test::TempFolder folder;
  for (const char* folder_of_slide : {"wsis", "st", "patches", "metadata"}) fs::create_directory(folder.path(folder_of_slide));
  h5ad(folder, "st/S1.h5ad"), h5ad(folder, "st/S2.h5ad");
  folder.file("wsis/S1.jpg", test::jpeg(test::picture(900, 500)));
  folder.file("metadata/S1.json", R"({"patient": "P1", "pixel_size_um_estimated": 0.51})");
  folder.file("metadata/S2.json", R"({"patient": "P2", "pixel_size_um_estimated": 0.9})");
  folder.file("patches/S1.h5", "");
  const Layout layout = recognise(folder.path());
  CHECK(layout.name == "HEST-1k");
  REQUIRE(layout.sources.size() == 2);
  CHECK(layout.sources[0].patches == folder.path("patches/S1.h5"));
  CHECK(layout.sources[1].patient == "P2");
  test::refuses(
      Exit::data,
      "{}: microns per pixel: 0.9 from S2.json, 0.5003 from 100 um between Visium's spots that are 199.9 pixels apart, expected at "
      "most 5 % between them",
      folder.path("st/S2.h5ad"), [&] { open_dataset(folder.path()); });
  fs::remove(folder.path("metadata/S2.json"));
  const Dataset d = open_dataset(folder.path());
  CHECK(d.sections[0].mpp == 0.51);
  CHECK(d.sections[0].mpp_from == "S1.json");
  CHECK(d.sections[0].width == 900);
  CHECK(d.sections[1].width == 45);  // the image in the file
  folder.file("metadata/S2.json", "[1]");
  test::refuses(Exit::data, "{}: no object, expected a slide's metadata", folder.path("metadata/S2.json"),
                [&] { recognise(folder.path()); });
  CHECK(recognise(folder.path("st")).name == "h5ad");
  CHECK(is_data_set(folder.path("st")));
}

TEST_CASE("layouts: STImage-1K4M, y before x, scale from legacy names") {
  const test::TempFolder folder;
  for (const char* sub : {"ST/coord", "ST/gene_exp", "ST/image"}) fs::create_directories(folder.path(sub));
  std::string coord = ",yaxis,xaxis,r\n", counts = ",A,B\n";
  for (int n = 0; n < 6; n++) {
    coord += fmt::format("S_{}x{},{},{},10\n", n / 2, n % 2, 20 + 40 * (n % 2), 30 + 40 * (n / 2));
    counts += fmt::format("S_{}x{},{},{}\n", n / 2, n % 2, n, 2 * n + 1);
  }
  folder.file("ST/coord/S_coord.csv", coord), folder.file("ST/coord/none_coord.csv", coord);
  folder.file("ST/gene_exp/S_count.csv", counts);
  folder.file("ST/image/S.jpg", test::jpeg(test::picture(150, 100)));
  const Dataset d = open_dataset(folder.path());
  CHECK(d.layout == "STImage-1K4M");
  REQUIRE(d.sections.size() == 1);
  CHECK(d.warnings[0] == "none: no gene_exp/none_count.csv, left out");
  const Section& s = d.sections[0];
  CHECK(s.size() == 6);
  CHECK(s.xy[2] == 30);
  CHECK(s.xy[3] == 60);
  CHECK(s.count(3, 1) == 7);
  CHECK(s.mpp == 5);
  CHECK(s.mpp_from == "200 um between spots that are 40.0 pixels apart");
}

TEST_CASE("layouts: a task of HEST-bench, its folds and genes") {
  const test::TempFolder folder;
  h5ad(folder, "adata/S1.h5ad"), h5ad(folder, "adata/S2.h5ad");
  fs::create_directory(folder.path("patches")), fs::create_directory(folder.path("splits"));
  for (const char* name : {"patches/S1.h5", "patches/S2.h5"}) folder.file(name, "");
  folder.file("var_50genes.json", R"({"genes": ["ERBB2", "FASN"]})");
  const std::string header = "sample_id,patches_path,expr_path\n";
  auto row = [](const std::string& s) { return s + ",patches/" + s + ".h5,adata/" + s + ".h5ad\n"; };
  for (int fold = 0; fold < 2; fold++) {
    folder.file(fmt::format("splits/train_{}.csv", fold), header + row(fold ? "S2" : "S1"));
    folder.file(fmt::format("splits/test_{}.csv", fold), header + row(fold ? "S1" : "S2"));
  }
  const HestBench bench = read_hest_bench(folder.path());
  REQUIRE(bench.folds.size() == 2);
  CHECK(bench.folds[1].test[0].sample == "S1");
  CHECK(bench.folds[1].train[0].patches == folder.path("patches/S2.h5"));
  CHECK(bench.folds[0].test[0].expression == folder.path("adata/S2.h5ad"));
  CHECK(bench.genes == std::vector<std::string>{"ERBB2", "FASN"});
  const Layout layout = recognise(folder.path());
  CHECK(layout.name == "HEST-bench");
  CHECK(layout.sources[1].patches == folder.path("patches/S2.h5"));

  auto refuse = [&](const std::string& text, const std::string& line, Exit code = Exit::data) {
    const std::string path = folder.file("splits/test_0.csv", text);
    test::refuses(code, line, path, [&] { read_hest_bench(folder.path()); });
  };
  refuse(header + row("S1"), "{}: slide 'S1' is in train_0.csv, too, expected each slide on one side");
  refuse(header + row("S2") + row("S2"), "{}: line 3, column 1 ('sample_id'): 'S2' a second time, expected each slide once");
  refuse(header, "{}: line 1: no slides, expected rows after the header");
  refuse(header + ",patches/S1.h5,adata/S1.h5ad\n", "{}: line 2, column 1 ('sample_id'): empty, expected a slide's name");
  refuse(header + "S2,../x.h5,adata/S2.h5ad\n",
         "{}: line 2, column 2 ('patches_path'): '../x.h5', expected a path inside the task's folder");
  refuse(header + "S2,patches/S9.h5,adata/S2.h5ad\n",
         folder.path("patches/S9.h5") + ": No such file, expected the 'patches_path' of line 2 of {}", Exit::missing);
  fs::remove_all(folder.path("splits"));
  test::refuses(Exit::missing, "{}: no such folder, expected splits/train_0.csv and test_0.csv", folder.path("splits"),
                [&] { read_hest_bench(folder.path()); });
  fs::create_directory(folder.path("splits"));
  test::refuses(Exit::missing, "{}: no train_0.csv, expected one", folder.path("splits"), [&] { read_hest_bench(folder.path()); });
}

TEST_CASE("bad input: an image for several sections, spots outside the image of their file") {
  const test::TempFolder folder;
  h5ad(folder, "A.h5ad"), h5ad(folder, "B.h5ad");
  DataOptions options;
  options.image = folder.file("i.jpg", test::jpeg(test::picture(20, 10)));
  test::refuses(Exit::usage, "--image: {} has 2 sections, expected one; a manifest names the image of each", folder.path(),
                [&] { open_dataset(folder.path(), options); });
  test::refuses(Exit::data, "{}: 11 of 11 spots outside the 20 x 10 pixels of the image, expected at most 1 %", folder.path("A.h5ad"),
                [&] { open_dataset(folder.path("A.h5ad"), options); });
}
