#include "data/spatial/h5ad.h"

#include <doctest/doctest.h>

#include <cmath>

#include "data/dataset.h"
#include "data/hdf5_write.h"
#include "data/panel.h"
#include "tests/data/tiny.h"

using namespace stflow;

namespace {

const std::string kFolder = "tests/fixtures/spatial/";

/// What make_spatial_files.py made.
float expected(int64_t n, int64_t g) { return float((n * 7 + g * 3) % 5); }

void check_counts(const SparseRows& rows, const std::vector<int64_t>& spots, int64_t genes) {
  REQUIRE(rows.rows() == int64_t(spots.size()));
  for (int64_t n = 0; n < rows.rows(); n++)
    for (int64_t g = 0; g < genes; g++) CHECK(rows.at(n, g) == expected(spots[size_t(n)], g));
}

std::vector<int64_t> all(int64_t from) {
  std::vector<int64_t> rows;
  for (int64_t n = from; n < 12; n++) rows.push_back(n);
  return rows;
}

/// A file of 2 spots and 3 genes that tests break in one place.
struct Tiny {
  std::vector<int64_t> indptr{0, 2, 3}, indices{0, 2, 1}, shape{2, 3};
  std::vector<float> data{1, 2, 3};
  std::string encoding = "csr_matrix", version = "0.1.0";
  std::vector<std::string> barcodes{"A-1", "B-1"}, genes{"a", "b", "c"};
  std::vector<double> spatial{1, 2, 3, 4};
  bool has_spatial = true;

  [[nodiscard]] std::string write(const test::TempFolder& folder) const {
    std::string path = folder.path("t.h5ad");
    Hdf5Writer file(path);
    file.group("X");
    file.attribute("X", "encoding-type", encoding);
    file.attribute("X", "encoding-version", version);
    file.attribute("X", "shape", shape);
    auto numbers = [&]<class T>(const char* name, const std::vector<T>& v) { file.numbers<T>(name, {int64_t(v.size())}, v.data()); };
    numbers("X/indptr", indptr), numbers("X/indices", indices), numbers("X/data", data);
    for (const auto& [name, index] : {std::pair{"obs", &barcodes}, {"var", &genes}}) {
      file.group(name);
      file.attribute(name, "_index", "_index");
      file.strings(std::string(name) + "/_index", {int64_t(index->size())}, *index);
    }
    file.group("obsm");
    if (has_spatial) file.numbers<double>("obsm/spatial", {int64_t(spatial.size() / 2), 2}, spatial.data());
    file.commit();
    return path;
  }
};

Section section(const std::string& path, const DataOptions& options, std::vector<std::string>& warnings) {
  Section s;
  s.source.sample = "S", s.source.counts = s.source.spots = path;
  read_h5ad_section(s, options, warnings);
  return s;
}

}  // namespace

TEST_CASE("h5ad: the encodings of anndata 0.6, 0.7, 0.8 and 0.12 have the same content") {
  for (const char* name : {"anndata06.h5ad", "anndata07.h5ad", "anndata08.h5ad", "anndata012.h5ad"}) {
    CAPTURE(name);
    H5adOptions options;
    options.obs = {"cluster", "array_row", "absent"};
    options.var = {"gene_ids", "gene_name"};
    if (std::string(name) == "anndata08.h5ad") options.layer = "counts";
    const H5ad h = read_h5ad(kFolder + name, options);
    REQUIRE(h.barcodes.size() == 12);
    CHECK(h.barcodes[5] == "CCCCCCCC-1");
    check_counts(h.matrix.rows, all(0), 6);
    CHECK(h.obs.at("cluster").texts[3] == "b");
    CHECK(h.obs.at("array_row").numbers[11] == 2);
    CHECK(!h.obs.contains("absent"));
    CHECK(h.spatial[2 * 5] == 400);
    CHECK(h.spatial[2 * 5 + 1] == 273);
  }
  const H5ad missing = read_h5ad(kFolder + "anndata012.h5ad", {"", false, {"flag", "size", "cluster"}, {}});
  CHECK(missing.obs.at("flag").numbers[0] == 1);
  CHECK(std::isnan(missing.obs.at("flag").numbers[1]));
  CHECK(missing.obs.at("size").numbers[4] == 4);
  CHECK(std::isnan(missing.obs.at("size").numbers[3]));
  CHECK(missing.obs.at("cluster").texts[0].empty());
  CHECK(missing.matrix.rows.empty());
}

TEST_CASE("h5ad: matrices by name, layers, raw, images as bytes and as floats") {
  const std::string old = kFolder + "anndata08.h5ad";
  for (const char* name : {"layers/counts", "layers/dense", "raw/X"}) {
    const FloatMatrix m = read_h5ad_matrix(old, name);
    REQUIRE(m.rows == 12);
    REQUIRE(m.columns == 6);
    CHECK(m.values[5 * 6 + 2] == expected(5, 2));
  }
  CHECK(read_h5ad_matrix(old, "X").values[5 * 6 + 2] == float(std::log1p(double(expected(5, 2)))));
  CHECK(read_h5ad_matrix(old, "obsm/spatial").values[1] == 100);
  check_counts(read_h5ad(old, {"raw", true, {}, {}}).matrix.rows, all(0), 6);
  const auto names = h5ad_names(old);
  for (const char* name : {"X", "raw/X", "layers/counts", "obsm/spatial", "obs/cluster", "var/gene_ids"})
    CHECK(std::find(names.begin(), names.end(), name) != names.end());
  for (const char* name : {"anndata08.h5ad", "anndata012.h5ad"}) {
    const Image image = read_image(kFolder + name);
    REQUIRE(image.width == 45);
    REQUIRE(image.height == 25);
    CHECK(int(image.rgb[size_t((7 * 45 + 11) * 3 + 2)]) == (11 * 5 + 7 * 3 + 80) % 256);
  }
}

TEST_CASE("h5ad: a section with ids and symbols, scale from the array, the small image") {
  std::vector<std::string> warnings;
  DataOptions options;
  options.layer = "counts";
  Section s = section(kFolder + "anndata08.h5ad", options, warnings);
  CHECK(s.size() == 11);  // one is not in tissue
  check_counts(s.counts, all(1), 6);
  CHECK(s.genes == std::vector<std::string>{"ACTB", "ERBB2", "FASN", "ENSG00000000103", "ENSG00000000104", "GNAS"});
  CHECK(s.gene_ids[1] == "ENSG00000000101");
  CHECK(s.reduced == 0.05);
  CHECK(s.mpp == doctest::Approx(10).epsilon(0.001));
  CHECK(s.mpp_from == "100 um between Visium's spots that are 199.9 pixels apart");
  CHECK(s.xy[0] == doctest::Approx(15));
  CHECK(warnings ==
        std::vector<std::string>{
            "S: 1 symbols stand for several genes (TBCE), which are called by their ids; --duplicate-genes changes that",
            "S: 1 of 12 spots are not in tissue and left out",
            "S: only the image 'hires' of uns/spatial/made_up is there, 0.05 of the full resolution: features of it see little; "
            "--image or a manifest names the full image"});
  CHECK(counts_of(s, {{"ENSG00000000104", "FASN"}, ""}).values[0] == expected(1, 4));
}

TEST_CASE("h5ad: a file is a data set") {
  const test::TempFolder folder;
  DataOptions options;
  options.image = folder.file("big.jpg", test::jpeg(test::picture(900, 500)));
  const Dataset d = open_dataset(kFolder + "anndata012.h5ad", options);
  CHECK(d.layout == "h5ad");
  REQUIRE(d.sections.size() == 1);
  CHECK(d.describe()[0].starts_with("anndata012 [train]: 11 spots, 6 genes, image 900 x 500, 0.5"));
  CHECK(d.sections[0].mpp == doctest::Approx(0.5).epsilon(0.001));
  CHECK(d.sections[0].genes[3] == "ENSG00000000103");
  const Dataset small = open_dataset(kFolder + "anndata012.h5ad");
  CHECK(small.sections[0].width == 45);
  CHECK(small.sections[0].mpp == doctest::Approx(10).epsilon(0.001));
}

TEST_CASE("h5ad: values that are log1p of counts, by name of a layer, genes that share a symbol") {
  std::vector<std::string> warnings;
  DataOptions options;
  options.values = Values::log1p;
  Section s = section(kFolder + "anndata08.h5ad", options, warnings);
  CHECK(s.counts.at(4, 2) == doctest::Approx(expected(5, 2)));
  options.values = Values::counts, options.layer = "dense", options.duplicate_genes = DuplicateGenes::sum;
  s = section(kFolder + "anndata08.h5ad", options, warnings);
  CHECK(s.genes == std::vector<std::string>{"ACTB", "ERBB2", "FASN", "TBCE", "GNAS"});
  CHECK(s.gene_ids[4] == "ENSG00000000105");
  CHECK(s.counts.at(4, 3) == expected(5, 3) + expected(5, 4));
  options.duplicate_genes = DuplicateGenes::first;
  CHECK(section(kFolder + "anndata08.h5ad", options, warnings).counts.at(4, 3) == expected(5, 3));
  options.duplicate_genes = DuplicateGenes::drop, options.barcode_strip = true;
  s = section(kFolder + "anndata08.h5ad", options, warnings);
  CHECK(s.genes.size() == 4);
  CHECK(s.spots[0] == "CCCCAAAA");
}

TEST_CASE("bad input: h5ad files") {
  const test::TempFolder folder;
  auto refuse = [&](const Tiny& file, const std::string& line, const DataOptions& options = {}) {
    const std::string path = file.write(folder);
    std::vector<std::string> warnings;
    test::refuses(Exit::data, "{}: " + line, path, [&] { section(path, options, warnings); });
  };
  std::vector<std::string> warnings;
  CHECK(section(Tiny{}.write(folder), {}, warnings).counts.at(0, 2) == 2);
  Tiny t;
  t.indptr = {0, 3, 2}, refuse(t, "dataset 'X/indptr': 2 after 3 at row 1, expected rising values");
  t.indptr = {1, 2, 3}, refuse(t, "dataset 'X/indptr': 1 at row 0, expected 0");
  t.indptr = {0, 2, 4}, refuse(t, "dataset 'X/indptr': 4 at the end, expected 3 as there are indices");
  t.indptr = {0, 3}, refuse(t, "dataset 'X/indptr': 2 values, expected 3 as there are 2 rows");
  t = {}, t.indices[1] = 3, refuse(t, "dataset 'X/indices': 3 in row 0, expected 0 to 2");
  t.indices[1] = -1, refuse(t, "dataset 'X/indices': -1 in row 0, expected 0 to 2");
  t.indices[1] = int64_t(1) << 40, refuse(t, "dataset 'X/indices': 2147483647 in row 0, expected 0 to 2");
  t = {}, t.data.push_back(4), refuse(t, "dataset 'X/data': 4 values, expected 3 as there are indices");
  t = {}, t.shape = {3, 2}, refuse(t, "'X': 3 x 2 values, expected 2 x 3 as obs and var have names");
  t = {}, t.encoding = "coo_matrix", refuse(t, "'X': encoding-type 'coo_matrix', expected array, csr_matrix, csc_matrix");
  t = {}, t.version = "0.9.0", refuse(t, "'X': encoding-version '0.9.0' of csr_matrix, expected at most 0.1.0");
  t = {}, t.data[2] = 2.5f;
  refuse(t,
         "'X': 2.5 in row 1 (spot 'B-1'), expected raw counts; --layer chooses another matrix of the file (raw, counts...); --x-is log1p "
         "takes "
         "the values as log(1 + count)");
  t.data[2] = -1;
  refuse(
      t,
      "'X': -1 in row 1 (spot 'B-1'), expected raw counts; --layer chooses another matrix of the file (raw, counts...); --x-is log1p takes "
      "the values as log(1 + count)");
  DataOptions log1p;
  log1p.values = Values::log1p;
  refuse(t, "'X': -1 in row 1 (spot 'B-1'), expected log(1 + count): 0 to 20", log1p);
  t.data[2] = std::nanf("");
  refuse(t, "'X': nan in row 1 (spot 'B-1'), expected a finite value; --drop-nonfinite leaves such spots out");
  t = {}, t.barcodes = {"A-1", "A-1"}, refuse(t, "barcode 'A-1' in row 1 a second time, expected each once");
  DataOptions strip;
  strip.barcode_strip = true;
  t.barcodes = {"A-1", "A-2"}, refuse(t, "--barcode-strip: barcode 'A' in row 1 a second time, expected each once", strip);
  t = {}, t.genes = {"a", "b", "a"};
  refuse(t, "1 genes more than once (a), expected each once; --duplicate-genes sum, first or drop decides");
  t = {}, t.has_spatial = false, refuse(t, "no 'obsm/spatial', expected pixels (spots, 2) of the image");
  t = {}, t.spatial = {1, 2}, refuse(t, "dataset 'obsm/spatial': 1 x 2 values, expected 2 x 2");
  t = {}, t.spatial[2] = std::nan("");
  refuse(t, "spot 'B-1' is at nan, 4, expected a finite place; --drop-nonfinite leaves such spots out");
  DataOptions layer;
  layer.layer = "counts", refuse({}, "no 'layers/counts', expected one of X", layer);
  DataOptions drop;
  drop.drop_nonfinite = true;
  CHECK(section(t.write(folder), drop, warnings).spots == std::vector<std::string>{"A-1"});

  const std::string other = folder.path("o.h5ad");
  Hdf5Writer file(other);
  file.group("matrix");
  file.commit();
  test::refuses(Exit::data, "{}: found matrix, expected obs and var: is it an .h5ad file?", other, [&] { read_h5ad(other); });
  test::refuses(Exit::data, "{}: no image in uns/spatial, expected one; name the slide's image", other, [&] { read_image(other); });
}
