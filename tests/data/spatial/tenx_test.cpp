#include "data/spatial/tenx.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "data/dataset.h"
#include "data/hdf5_write.h"
#include "data/png.h"
#include "data/spatial/mex.h"
#include "data/spatial/positions.h"
#include "engine/file.h"
#include "tests/data/tiny.h"

using namespace stflow;

namespace {

namespace fs = std::filesystem;

const std::string kFixtures = "tests/fixtures/spatial/";

/// The barcodes of make_spatial_files.py, with another ending if wanted.
std::string barcode(int n, const char* end = "-1") {
  const std::string letters = "ACGT";
  return std::string(4, letters[size_t(n % 4)]) + std::string(4, letters[size_t(n / 4)]) + end;
}

std::string positions(bool header, const char* end = "-1") {
  std::string text = header ? "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres\n" : "";
  for (int n = 11; n >= 0; n--)  // another order than the counts
    text += fmt::format("{},{},{},{},{},{}\n", barcode(n, end), int(n > 0), n / 4, 2 * (n % 4) + n / 4 % 2, 100 + 173.205 * (n / 4),
                        100 + 100 * (2 * (n % 4) + n / 4 % 2));
  return text + fmt::format("TTTTTTTT{},0,40,2,7028.2,300\n", end);  // of the array, not of the counts
}

/// Space Ranger's outs in `folder`/outs: of version 3 or 2, with a reduced image.
std::string outs(const test::TempFolder& folder, const char* fixture = "tenx_v3.h5", bool header = false) {
  const fs::path root = fs::path(folder.path("sample")) / "outs";
  fs::create_directories(root / "spatial");
  fs::copy_file(kFixtures + fixture, root / "filtered_feature_bc_matrix.h5", fs::copy_options::overwrite_existing);
  const std::string spatial = "sample/outs/spatial/";
  folder.file(spatial + (header ? "tissue_positions.csv" : "tissue_positions_list.csv"), positions(header));
  folder.file(spatial + "scalefactors_json.json",
              R"({"spot_diameter_fullres": 110, "tissue_hires_scalef": 0.05, "tissue_lowres_scalef": 0.02})");
  write_png((root / "spatial" / "tissue_hires_image.png").string(), test::picture(45, 25));
  return root.string();
}

void check_section(const Section& s, size_t genes) {
  CHECK(s.sample() == "sample");
  REQUIRE(s.size() == 11);  // one is off the tissue
  REQUIRE(s.genes.size() == genes);
  CHECK(s.genes[3] == "ENSG00000000103");  // TBCE twice
  for (int64_t n = 0; n < 11; n++)
    for (size_t g = 0; g < genes; g++) CHECK(s.count(n, int64_t(g)) == float(((n + 1) * 7 + int64_t(g) * 3) % 5));
  CHECK(s.width == 45);
  CHECK(s.reduced == 0.05);
  CHECK(s.mpp == doctest::Approx(10).epsilon(0.001));
  CHECK(s.mpp_from == "100 um between Visium's spots that are 200.0 pixels apart");
  CHECK(s.xy[0] == doctest::Approx(15));
  CHECK(s.xy[1] == doctest::Approx(5));
}

void write_mex(const test::TempFolder& folder, const std::string& at, bool zipped) {
  fs::create_directories(folder.path(at));
  auto put = [&](const std::string& name, const std::string& text) {
    folder.file(at + "/" + name + (zipped ? ".gz" : ""), zipped ? test::gzip(text) : text);
  };
  std::string values, features, barcodes;
  int many = 0;
  for (int n = 0; n < 12; n++) {
    barcodes += barcode(n) + "\n";
    for (int g = 5; g >= 0; g--)
      if (const int c = (n * 7 + g * 3) % 5; c > 0) values += fmt::format("{} {} {}\n", g + 1, n + 1, c), many++;
  }
  const char* names[] = {"ACTB", "ERBB2", "FASN", "TBCE", "TBCE", "GNAS"};
  for (int g = 0; g < 6; g++) features += fmt::format("ENSG{:011}\t{}{}\n", 100 + g, names[g], zipped ? "\tGene Expression" : "");
  put("matrix.mtx", fmt::format("%%MatrixMarket matrix coordinate integer general\n%metadata\n6 12 {}\n", many) + values);
  put(zipped ? "features.tsv" : "genes.tsv", features);
  put("barcodes.tsv", barcodes);
}

}  // namespace

TEST_CASE("Space Ranger: outs of versions 1 to 3, positions with and without a header") {
  const test::TempFolder folder;
  Dataset d = open_dataset(outs(folder));
  CHECK(d.layout == "Space Ranger");
  REQUIRE(d.sections.size() == 1);
  check_section(d.sections[0], 5);
  CHECK(d.warnings ==
        std::vector<std::string>{
            "sample: 1 features are no genes and left out",
            "sample: 1 symbols stand for several genes (TBCE), which are called by their ids; --duplicate-genes changes that",
            "sample: 1 of 12 spots are not in tissue and left out",
            "sample: only tissue_hires_image.png is there, 0.05 of the full resolution: features of it see little; --image or a "
            "manifest names the full image"});
  const test::TempFolder other;
  d = open_dataset(outs(other, "tenx_v2.h5", true));
  check_section(d.sections[0], 6);
  check_section(open_dataset(outs(other, "tenx_v2.h5", true) + "/filtered_feature_bc_matrix.h5").sections[0], 6);
  const std::string alone = folder.path("x_feature_bc_matrix.h5");
  fs::copy_file(kFixtures + "tenx_v3.h5", alone);
  test::refuses(Exit::data, "{}: no folder 'spatial' beside it, expected Space Ranger's outputs", alone, [&] { open_dataset(alone); });
  // As text, and around several.
  const test::TempFolder text;
  for (const bool zipped : {true, false}) {
    const std::string root = outs(text);
    fs::remove(root + "/filtered_feature_bc_matrix.h5");
    fs::remove_all(root + "/filtered_feature_bc_matrix");
    write_mex(text, "sample/outs/filtered_feature_bc_matrix", zipped);
    check_section(open_dataset(text.path()).sections[0], 6);
  }
  // The full image by a manifest.
  text.file("full.jpg", test::jpeg(test::picture(900, 500)));
  d = open_dataset(text.file("m.csv", "sample,image,counts,spots\nsample,full.jpg,sample/outs,\n"));
  CHECK(d.sections[0].mpp == doctest::Approx(0.5).epsilon(0.001));
  CHECK(d.sections[0].xy[0] == 300);
}

TEST_CASE("Space Ranger: barcodes without their ending are joined by --barcode-strip only") {
  const test::TempFolder folder;
  const std::string root = outs(folder);
  const std::string path = folder.file("sample/outs/spatial/tissue_positions_list.csv", positions(false, ""));
  test::refuses(
      Exit::data,
      "{}: 12 spots only in the counts, 13 only in the positions, 0 in both, expected at least half to match; --barcode-strip joins "
      "barcodes that differ in '-1' at the end",
      path, [&] { open_dataset(root); });
  DataOptions options;
  options.barcode_strip = true;
  CHECK(open_dataset(root, options).sections[0].spots[0] == "CCCCAAAA");
}

TEST_CASE("Visium HD: places of bins by the homography, Parquet is explained") {
  const FoundPlaces p = read_feature_slice(kFixtures + "feature_slice.h5", {"s_016um_00002_00005-1"});
  // The bin's centre is at 43.5 spots of 2 um across and 19.5 down.
  const double x = 43.5, y = 19.5, w = 1 + 1e-5 * y;
  CHECK(p.xy[0] == doctest::Approx((-4 * y + 900) / w));
  CHECK(p.xy[1] == doctest::Approx((4 * x + 50) / w));
  CHECK(p.grid == std::vector<double>{5, 2});

  const test::TempFolder folder;
  const fs::path bins = fs::path(folder.path("hd")) / "binned_outputs";
  for (const char* bin : {"square_008um", "square_016um"}) fs::create_directories(bins / bin / "spatial");
  const std::string at = (bins / "square_016um").string();
  std::vector<std::string> barcodes;
  std::vector<int64_t> indptr{0}, indices;
  std::vector<float> data;
  for (int n = 0; n < 9; n++) {
    barcodes.push_back(fmt::format("s_016um_{:05}_{:05}-1", n / 3, n % 3));
    indices.push_back(n % 2), data.push_back(float(n + 1)), indptr.push_back(n + 1);
  }
  {
    Hdf5Writer file(at + "/filtered_feature_bc_matrix.h5");
    file.group("matrix"), file.group("matrix/features");
    file.strings("matrix/barcodes", {9}, barcodes, {}, true);
    file.strings("matrix/features/id", {2}, {"a", "b"}, {}, true);
    const std::vector<int64_t> shape{2, 9};
    file.numbers<int64_t>("matrix/shape", {2}, shape.data());
    file.numbers<int64_t>("matrix/indptr", {10}, indptr.data());
    file.numbers<int64_t>("matrix/indices", {9}, indices.data());
    file.numbers<float>("matrix/data", {9}, data.data());
    file.commit();
  }
  const std::string parquet = folder.file("hd/binned_outputs/square_016um/spatial/tissue_positions.parquet", "PAR1");
  test::refuses(
      Exit::data,
      "{}: Parquet, expected tissue_positions.csv, or feature_slice.h5 two folders above; convert it: python3 -c \"import pandas; "
      "pandas.read_parquet('tissue_positions.parquet').to_csv('tissue_positions.csv', index=False)\"",
      parquet, [&] { open_dataset(folder.path("hd")); });
  fs::copy_file(kFixtures + "feature_slice.h5", folder.path("hd/feature_slice.h5"));
  folder.file("hd/binned_outputs/square_016um/spatial/scalefactors_json.json", R"({"microns_per_pixel": 0.5, "bin_size_um": 16})");
  const Dataset d = open_dataset(folder.path("hd"));
  const Section& s = d.sections[0];
  CHECK(s.sample() == "hd_square_016um");
  CHECK(s.size() == 9);
  CHECK(s.count(4, 0) == 5);
  CHECK(s.mpp == 0.5);
  CHECK(s.mpp_from == "scalefactors_json.json");
  CHECK(s.width == 0);
  CHECK(d.warnings[0] == folder.path("hd") + ": of square_008um, square_016um the bins square_016um are taken; name another one's folder");
}

TEST_CASE("bad input: 10x HDF5 files and feature slices") {
  const test::TempFolder folder;
  const std::string path = folder.path("t.h5");
  auto refuse = [&](const std::vector<int64_t>& shape, const std::string& group, const std::string& line) {
    Hdf5Writer file(path);
    file.group(group), file.group(group + "/features");
    file.strings(group + "/barcodes", {2}, {"A-1", "B-1"});
    file.strings(group + "/features/id", {1}, {"a"});
    file.numbers<int64_t>(group + "/shape", {int64_t(shape.size())}, shape.data());
    file.commit();
    test::refuses(Exit::data, "{}: " + line, path, [&] { read_tenx_h5(path); });
  };
  refuse({1, 2}, "other", "found other, expected a group 'matrix', or one genome's");
  refuse({2, 1}, "matrix", "dataset 'matrix/shape': 2 x 1, expected 1 features x 2 barcodes");
  refuse({2}, "matrix", "dataset 'matrix/shape': 2 x 0, expected 1 features x 2 barcodes");
  refuse({1, 2}, "matrix", "dataset 'matrix/indptr': not there, expected one");
  const std::string slice = kFixtures + "feature_slice.h5";
  test::refuses(Exit::data, "{}: barcode 'AAAC-1', expected one as s_016um_00052_00082-1", slice,
                [&] { read_feature_slice(slice, {"AAAC-1"}); });
  test::refuses(Exit::data, "{}: no attribute metadata_json, expected Space Ranger's feature_slice.h5", path,
                [&] { read_feature_slice(path, {}); });
  Hdf5Writer file(path);
  file.attribute("/", "metadata_json", R"({"spot_pitch": 2})");
  file.commit();
  test::refuses(Exit::data, "{}: metadata_json: no 3 x 3 numbers at transform_matrices/spot_colrow_to_microscope_colrow, expected them",
                path, [&] { read_feature_slice(path, {}); });
}

TEST_CASE("bad input: positions") {
  const test::TempFolder folder;
  auto refuse = [&](const std::string& text, const std::string& line) {
    const std::string path = folder.file("tissue_positions.csv", text);
    test::refuses(Exit::data, "{}: " + line, path, [&] { read_positions(FileView(path).text(), path); });
  };
  const std::string header = "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres\r\n";
  CHECK(read_positions("\xef\xbb\xbf" + header + "A-1,1,0,2,30.5,40\r\n", "p.csv").xy == std::vector<double>{40, 30.5});
  refuse("A-1,1,0,2,30,40\nB-1,1,0,2,30,40,7\n", "line 2, column 7: 7 cells, expected 6 as in the header");
  refuse("A-1,2,0,2,30,40\n", "line 1, column 2 ('in_tissue'): '2', expected 0 or 1");
  refuse(header + "A-1,1,0,2,30\n", "line 2, column 6 ('pxl_col_in_fullres'): 5 cells, expected 6 as in the header");
  refuse(header + "A-1,1,0,x,30,40\n", "line 2, column 4 ('array_col'): 'x', expected a whole number");
  refuse(header + ",1,0,2,30,40\n", "line 2, column 1 ('barcode'): no barcode, expected one");
  refuse(header, "line 1: no spots, expected rows");
  refuse("", "is empty, expected a text table");
  refuse(test::gzip(""), "empty, expected a table of positions");
  refuse("x,y\n1,2\n", "line 1: no column 'barcode', expected one");
  refuse("spot,x,y\nA,1,2\n", "line 1: no column 'barcode', expected one");
}

TEST_CASE("bad input: MatrixMarket and its lists") {
  auto refuse = [&](const std::string& text, const std::string& line) {
    test::refuses(Exit::data, "m.mtx: " + line, "", [&] { read_mtx(text, "m.mtx", 2, 3); });
  };
  const std::string head = "%%MatrixMarket matrix coordinate integer general\n", size = head + "2 3 2\n";
  const Matrix m = read_mtx(size + "2 3 5\n1 1 4\n", "m.mtx", 2, 3);
  CHECK(dense(m.rows, 2) == std::vector<float>{4, 0, 0, 0, 0, 5});
  CHECK(read_mtx(size + "2 3 5\n2 3 4\n", "m.mtx", 2, 3).twice == 1);
  refuse("1 1 1\n", "line 1: no %%MatrixMarket header, expected a MatrixMarket file");
  refuse("%%MatrixMarket matrix array real general\n",
         "line 1: '%%MatrixMarket matrix array real general', expected matrix coordinate integer (or real) general");
  refuse(head, "line 1: the end of the file, expected the matrix's size");
  refuse(head + "2 3\n", "line 2: '2 3', expected rows, columns and values");
  refuse(head + "3 3 1\n", "line 2: 3 x 3 values, expected 2 features x 3 barcodes as in the lists beside it");
  refuse(size + "3 1 1\n", "line 3: '3', expected a whole number from 1 to 2");
  refuse(size + "1 0 1\n", "line 3: '0', expected a whole number from 1 to 3");
  refuse(size + "1 1 x\n", "line 3: 'x', expected a number");
  refuse(size + "1 1\n", "line 3: '1 1', expected a row, a column and a value");
  refuse(size + "1 1 1\n", "line 3: 1 values at the end of the file, expected 2: truncated?");
  refuse(size + "1 1 1\n1 2 1\n1 3 1\n", "line 5: more values, expected 2");
  test::refuses(Exit::data, "f.tsv: line 2: 'b', expected 2 columns as in the first line", "", [&] { read_list("a\tA\nb\n", "f.tsv", 3); });
  test::refuses(Exit::data, "f.tsv: empty, expected a list", "", [&] { read_list(test::gzip(""), "f.tsv", 3); });
  const test::TempFolder folder;
  test::refuses(Exit::missing, "{}: no matrix.mtx.gz, expected one", folder.path(), [&] { read_mex(folder.path()); });
}
