#include "data/dataset.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "data/manifest.h"
#include "tests/data/tiny.h"

using namespace stflow;

namespace {

const std::string kHeader = "sample,image,counts,spots,mpp,patient,split\n";
std::string row(const std::string& s, const std::string& rest) {
  return s + "," + s + ".png," + s + ".tsv,alignment_table_" + s + ".tsv," + rest + "\n";
}

}  // namespace

TEST_CASE("manifest: paths are relative to it, optional cells may be empty") {
  test::TempFolder folder;
  test::tiny_section(folder, "A");
  std::filesystem::create_directory(folder.path("sub"));
  std::string path =
      folder.file("sub/m.csv", "spots,sample,counts,image,split\n../alignment_table_A.tsv,A,../A.tsv," + folder.path("A.png") + ",\n");
  auto sources = read_manifest(path);
  REQUIRE(sources.size() == 1);
  CHECK(sources[0].counts == folder.path("A.tsv"));
  CHECK(sources[0].image == folder.path("A.png"));
  CHECK(sources[0].split == Split::none);
  CHECK(sources[0].mpp == 0);
}

TEST_CASE("bad input: manifests") {
  test::TempFolder folder;
  test::tiny_section(folder, "A");
  test::tiny_section(folder, "B", "9\t9\t9");
  auto refuse = [&](const std::string& text, const std::string& line, Exit code = Exit::data) {
    std::string path = folder.file("m.csv", text);
    test::refuses(code, line, path, [&] { read_manifest(path); });
  };
  refuse("smaple,image,counts,spots\n",
         "{}: line 1, column 1 ('smaple'): unknown column, expected one of sample, image, counts, spots, mpp, patient, split, embeddings; "
         "the nearest is sample");
  refuse("sample,image,counts\n", "{}: line 1: no column 'spots', expected one; the nearest is 'counts'");
  refuse("sample,image,counts,spots,mpp,mpp\n", "{}: line 1, column 6 ('mpp'): column a second time, expected each once");
  refuse(kHeader, "{}: line 1: no sections, expected rows after the header");
  refuse(kHeader + row("A", "1,p,train") + row("A", "1,p,train"),
         "{}: line 3, column 1 ('sample'): 'A' a second time, expected each sample once");
  refuse(kHeader + "../A,A.png,A.tsv,alignment_table_A.tsv,1,p,train\n",
         "{}: line 2, column 1 ('sample'): '../A', expected a name that can be part of a file name");
  refuse(kHeader + "A,,A.tsv,alignment_table_A.tsv,1,p,train\n", "{}: line 2, column 2 ('image'): empty, expected a path");
  refuse(kHeader + row("A", "1,p,training"), "{}: line 2, column 7 ('split'): 'training', expected train, val or test");
  refuse(kHeader + row("A", "0.001,p,train"), "{}: line 2, column 5 ('mpp'): '0.001', expected 0.05 to 10 microns per pixel");
  refuse(kHeader + row("A", "nan,p,train"), "{}: line 2, column 5 ('mpp'): 'nan', expected 0.05 to 10 microns per pixel");
  refuse(kHeader + row("A", "half,p,train"), "{}: line 2, column 5 ('mpp'): 'half', expected a number");
  refuse(kHeader + row("A", "1,p"), "{}: line 2, column 7 ('split'): 6 cells, expected 7 as in the header");
  refuse(kHeader + row("X", "1,p,train"), folder.path("X.png") + ": No such file, expected the 'image' of line 2 of {}", Exit::missing);
}

TEST_CASE("dataset: folders are recognised, a split is stated") {
  test::TempFolder folder;
  test::tiny_section(folder, "A");
  test::tiny_section(folder, "B", "9\t9\t9");
  test::tiny_section(folder, "C", "8\t8\t8");
  std::filesystem::remove(folder.path("C.png"));
  DataOptions options;
  options.mpp = 0.5, options.spot_pitch = 5;
  Dataset d = open_dataset(folder.path(), options);
  CHECK(d.layout == "alignment tables");
  REQUIRE(d.sections.size() == 2);
  CHECK(d.sections[0].split() == Split::train);
  CHECK(d.sections[1].split() == Split::test);
  CHECK(d.warnings[0] == "C: no image, left out");
  CHECK(d.warnings[1] == "no split is stated: B is taken for the test, the others for training; --test chooses");
  CHECK(d.describe()[0] == "A [train]: 3 spots, 3 genes, image 40 x 30, 0.5 um per pixel (--mpp)");
  options.test = {"A"};
  d = open_dataset(folder.path(), options);
  CHECK(d.sections[0].split() == Split::test);
  CHECK(d.sections[1].split() == Split::train);
  options.test = {"a"};
  test::refuses(Exit::usage, "--test: 'a', expected a sample of {}; the nearest is 'A'", folder.path(),
                [&] { open_dataset(folder.path(), options); });
}

TEST_CASE("bad input: folders") {
  test::TempFolder folder;
  test::refuses(Exit::missing, "{}: no such folder, expected a data set", folder.path("none"), [&] { open_dataset(folder.path("none")); });
  const std::string wanted =
      ", expected manifest.csv, or ST-cnts/, ST-spotfiles/ and ST-imgs/, or <S>.tsv, alignment_table_<S>.tsv and <S>.jpg, or "
      "Space Ranger's outs, HEST's st/ or adata/, STImage's coord/, or .h5ad files";
  test::refuses(Exit::data, "{}: no data set recognised" + wanted, folder.path(), [&] { open_dataset(folder.path()); });
  test::tiny_section(folder, "A");
  std::filesystem::remove(folder.path("A.png"));
  test::refuses(Exit::data, "{}: no section has all its files (A: no image, left out)" + wanted, folder.path(),
                [&] { open_dataset(folder.path()); });
}

TEST_CASE("bad input: one patient on both sides, the same slide twice") {
  test::TempFolder folder;
  test::tiny_section(folder, "A");
  test::tiny_section(folder, "B");
  std::string path = folder.file("m.csv", kHeader + row("A", ",p1,train") + row("B", ",p1,test"));
  DataOptions options;
  options.spot_pitch = 10;
  test::refuses(Exit::data, "{}: patient 'p1' has A for training and B for testing, expected each patient on one side", path,
                [&] { open_dataset(path, options); });
  path = folder.file("m.csv", kHeader + row("A", ",p1,train") + row("B", ",p2,test"));
  CHECK(open_dataset(path, options).warnings == std::vector<std::string>{"A and B have the same image", "A and B have the same counts"});
}

TEST_CASE("bad input: spots without counts, a section of one spot") {
  test::TempFolder folder;
  test::tiny_section(folder, "A", "0\t0\t0");
  DataOptions options;
  options.spot_pitch = 10;
  Dataset d = open_dataset(folder.path(), options);
  CHECK(d.warnings == std::vector<std::string>{"A: 1 spots have no counts at all and are kept as zeros; --min-counts 1 leaves them out"});
  CHECK(d.sections[0].size() == 3);
  options.min_counts = 8;
  d = open_dataset(folder.path(), options);
  CHECK(d.warnings ==
        std::vector<std::string>{"A: 2 spots with fewer than 8 counts are left out (--min-counts)", "A: one spot: it has no neighbours"});
  options.min_counts = 100;
  test::refuses(Exit::data, "{}: no spot has 100 counts, expected at least one; lower --min-counts", folder.path("A.tsv"),
                [&] { open_dataset(folder.path(), options); });
}
