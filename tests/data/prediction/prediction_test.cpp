// Predictions out: what a reader of each format finds.
#include "data/prediction/prediction.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <clocale>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "data/csv.h"
#include "data/hdf5_file.h"
#include "data/lines.h"
#include "data/prediction/read.h"
#include "engine/file.h"
#include "tests/data/prediction/sample.h"
#include "tests/data/tiny.h"
#include "tests/disk.h"

using namespace stflow;

namespace {

std::string seen(const std::string& path, const std::function<std::string(const Hdf5File&)>& look) {
  return read_hdf5(path, {}, [&] { return look(Hdf5File(path)); });
}

template <class T> std::string list(const std::vector<T>& values) {
  std::string s;
  for (const T& v : values) s += fmt::format("{} ", v);
  return s;
}

std::string numbers(const Hdf5File& f, const std::string& name) {
  int64_t rows = 0, columns = 0;
  const std::string values = list(f.matrix<float>(name, rows, columns));
  return fmt::format("{}({} {}) ", values, rows, columns);
}

}  // namespace

TEST_CASE("prediction: h5ad says of every part what it is, and has what was put in") {
  const test::TempFolder folder;
  const test::PredictionSample sample;
  const std::string path = folder.path("a.h5ad");
  write_prediction(path, sample.file);
  CHECK(seen(path, [](const Hdf5File& f) {
          return numbers(f, "X") + numbers(f, "layers/mean") + numbers(f, "layers/std") + numbers(f, "layers/sample_0");
        }) == "0.5 0 1.25 2 nan 3 (3 2) 0.5 0 1.25 2 nan 3 (3 2) 0.1 0.2 0.3 0.4 0.5 0.6 (3 2) 1 2 3 4 5 6 (3 2) ");
  CHECK(seen(path,
             [](const Hdf5File& f) {
               return list(f.strings("obs/_index")) + numbers(f, "obs/in_tissue") + numbers(f, "obs/array_row") +
                      numbers(f, "obs/array_col") + numbers(f, "obs/pxl_row_in_fullres") + numbers(f, "obs/pxl_col_in_fullres") +
                      numbers(f, "obs/feature_distance") + numbers(f, "obsm/spatial");
             }) ==
        "1x5 2x5 10x12 1 1 1 (3 1) 5 5 12 (3 1) 1 2 10 (3 1) 20 21.5 60 (3 1) 10 30 50 (3 1) 0.5 1 nan (3 1) 10 20 30 21.5 50 60 (3 2) ");
  CHECK(seen(path, [](const Hdf5File& f) {
          return list(f.strings("var/_index")) + list(f.strings("var/gene_ids")) + numbers(f, "var/train_pcc");
        }) == "ACTB \xc3\xa9,\"1\" ENSG1 ENSG2 0.75 nan (2 1) ");
  const std::string at = "uns/spatial/S_1/";
  const std::vector<uint8_t> pixels = test::picture(8, 6).rgb;
  CHECK(seen(path, [&](const Hdf5File& f) {
          std::string s;
          for (const char* name : {"images/hires", "images/downscaled_fullres"})
            s += list(f.shape(at + name)) + (f.bytes(at + name, 0, 6) == std::string(pixels.begin(), pixels.end()) ? "same " : "other ");
          return s + f.text("uns/stflow/seed", "encoding-type").value_or("") + " " + f.text("obs", "_index").value_or("");
        }) == "6 8 3 same 6 8 3 same string _index");
  for (const auto& [object, type] : std::map<std::string, std::string>{{"/", "anndata"},
                                                                       {"X", "array"},
                                                                       {"layers", "dict"},
                                                                       {"layers/mean", "array"},
                                                                       {"obs", "dataframe"},
                                                                       {"obs/_index", "string-array"},
                                                                       {"obsm", "dict"},
                                                                       {"uns/spatial", "dict"},
                                                                       {at + "scalefactors/tissue_hires_scalef", "numeric-scalar"},
                                                                       {"varp", "dict"}})
    CHECK_MESSAGE(seen(path, [&](const Hdf5File& f) { return f.text(object, "encoding-type").value_or("none"); }) == type, object);
  write_prediction(folder.path("b.h5ad"), sample.file);
  CHECK(read_text(path) == read_text(folder.path("b.h5ad")));
}

TEST_CASE("prediction: h5ad without an image, spots off a grid, no genes' columns") {
  const test::TempFolder folder;
  test::PredictionSample sample;
  sample.section.spots = {"AAAC-1", "2x5", "10x12"};
  sample.section.source.sample = "";
  PredictionFile& p = sample.file;
  p.hires.reset(), p.spot_diameter = 0, p.layers.clear(), p.gene_columns.clear(), p.gene_ids.clear();
  p.spot_columns = {{"in_tissue", {0, 1, 1}}, {"array_row", {7, 8, 9}}};
  const std::string path = folder.path("a.h5ad");
  write_prediction(path, p);
  CHECK(seen(path, [](const Hdf5File& f) {
          return numbers(f, "obs/in_tissue") + numbers(f, "obs/array_row") +
                 fmt::format("{} {} {}", f.has("obs/array_col"), f.has("uns/spatial/section/images/hires"),
                             f.has("uns/spatial/section/images"));
        }) == "0 1 1 (3 1) 7 8 9 (3 1) false false true");
}

TEST_CASE("prediction: CSV is the table that was always written") {
  const test::TempFolder folder;
  const test::PredictionSample sample;
  write_prediction(folder.path("a.csv"), sample.file);
  write_predictions(folder.path("b.csv"), sample.section, sample.file.genes, sample.file.mean);
  CHECK(read_text(folder.path("a.csv")) == read_text(folder.path("b.csv")));
  CHECK(read_text(folder.path("a.csv")) ==
        "spot,x,y,ACTB,\"\xc3\xa9,\"\"1\"\"\"\n1x5,10,20,0.5,0\n2x5,30,21.5,1.25,2\n10x12,50,60,nan,3\n");
}

TEST_CASE("prediction: GeoJSON for QuPath, plain and gzip, under any locale") {
  const test::TempFolder folder;
  test::PredictionSample sample;
  const std::string before = std::setlocale(LC_ALL, nullptr);
  std::setlocale(LC_ALL, "de_DE.UTF-8");
  write_prediction(folder.path("a.geojson"), sample.file);
  std::setlocale(LC_ALL, before.c_str());
  write_prediction(folder.path("a.geojson.gz"), sample.file);
  const std::string text = read_text(folder.path("a.geojson"));
  std::string unpacked;
  {
    const FileView packed(folder.path("a.geojson.gz"));
    CHECK(packed.text().starts_with(std::string_view("\x1f\x8b\x08\0\0\0\0\0", 8)));  // no time
    Lines lines(packed.text(), "a.geojson.gz");
    for (std::string_view line; lines.next(line);) unpacked += std::string(line) + "\n";
  }
  CHECK(unpacked == text);
  const auto json = nlohmann::json::parse(text);
  CHECK(json["type"] == "FeatureCollection");
  REQUIRE(json["features"].size() == 3);
  const auto& second = json["features"][1];
  CHECK(second["type"] == "Feature");
  CHECK(second["properties"]["objectType"] == "detection");
  CHECK(second["properties"]["name"] == "2x5");
  CHECK(second["properties"]["measurements"] == nlohmann::json{{"ACTB", 1.25}, {"\xc3\xa9,\"1\"", 2}});
  CHECK(json["features"][2]["properties"]["measurements"] == nlohmann::json{{"\xc3\xa9,\"1\"", 3}});  // NaN is no JSON
  const auto ring = second["geometry"]["coordinates"][0];
  CHECK(second["geometry"]["type"] == "Polygon");
  CHECK(ring.front() == ring.back());
  for (const auto& corner : ring)
    CHECK(std::hypot(corner[0].get<double>() - 30, corner[1].get<double>() - 21.5) == doctest::Approx(4).epsilon(0.01));

  sample.file.square_spots = true;
  write_prediction(folder.path("b.geojson"), sample.file);
  CHECK(nlohmann::json::parse(read_text(folder.path("b.geojson")))["features"][0]["geometry"]["coordinates"] ==
        nlohmann::json::parse("[[[6,16],[14,16],[14,24],[6,24],[6,16]]]"));
  sample.file.spot_diameter = 0;
  write_prediction(folder.path("c.geojson"), sample.file);
  CHECK(nlohmann::json::parse(read_text(folder.path("c.geojson")))["features"][1]["geometry"] ==
        nlohmann::json::parse(R"({"type":"Point","coordinates":[30,21.5]})"));
  sample.section.keep({}), sample.file.mean.clear();
  sample.file.layers.clear(), sample.file.spot_columns.clear();
  write_prediction(folder.path("d.geojson"), sample.file);
  CHECK(nlohmann::json::parse(read_text(folder.path("d.geojson")))["features"].empty());
}

TEST_CASE("prediction: what was written is read again") {
  const test::TempFolder folder;
  test::PredictionSample sample;
  PredictionFile& p = sample.file;
  p.mean[4] = 7, p.genes[1] = "FASN";
  p.layers["q05"] = p.mean, p.layers["feature"] = p.mean;
  for (const std::string name : {"S.h5ad", "S.csv"}) {
    write_prediction(folder.path(name), p);
    const ReadPrediction r = read_prediction(folder.path(name));
    CHECK(r.sample == "S");
    CHECK(r.spots == sample.section.spots);
    CHECK(r.genes == p.genes);
    CHECK(r.mean == p.mean);
    if (name == "S.csv") continue;
    CHECK(r.layers.size() == 3);  // what is no measure of uncertainty is left out
    for (const char* layer : {"std", "q05", "sample_0"}) CHECK(r.layers.at(layer) == p.layers.at(layer));
  }
  CHECK(quantile_of_layer("q05") == 0.05);
  CHECK(quantile_of_layer("q975") == 0.975);
  for (const char* other : {"std", "q", "q5x", "sample_0", "quality"}) CHECK(quantile_of_layer(other) == 0);
  std::filesystem::remove(folder.path("S.csv"));
  write_prediction(folder.path("A.csv"), p);
  CHECK(prediction_files(folder.path()) == std::vector<std::string>{folder.path("A.csv"), folder.path("S.h5ad")});
  CHECK(prediction_files("any") == std::vector<std::string>{"any"});
}

TEST_CASE("bad input: an h5ad file that is no whole prediction") {
  const test::TempFolder folder;
  test::PredictionSample sample;
  const std::string path = folder.path("a.h5ad");
  write_prediction(path, sample.file);
  test::refuses(Exit::data, "{}: X: nan for spot '10x12' and gene 'ACTB', expected a finite number", path, [&] { read_prediction(path); });
  sample.file.mean[4] = 1, sample.file.layers["std"][0] = std::numeric_limits<float>::infinity();
  write_prediction(path, sample.file);
  test::refuses(Exit::data, "{}: layers/std: inf for spot '1x5' and gene 'ACTB', expected a finite number", path,
                [&] { read_prediction(path); });
  sample.file.layers.clear(), sample.section.spots[1] = "1x5";
  write_prediction(path, sample.file);
  test::refuses(Exit::data, "{}: spot '1x5' a second time, expected each once", path, [&] { read_prediction(path); });
  sample.section.keep({}), sample.file.mean.clear(), sample.file.spot_columns.clear();
  write_prediction(path, sample.file);
  test::refuses(Exit::data, "{}: 0 spots and 2 genes, expected at least one of each", path, [&] { read_prediction(path); });
  test::refuses(Exit::data, "{}: is of an unknown format, expected an HDF5 file", folder.file("b.h5ad", "text"),
                [&] { read_prediction(folder.path("b.h5ad")); });
}

TEST_CASE("bad input: a prediction in a format that is not written") {
  const test::PredictionSample sample;
  for (const std::string name : {"a.tsv", "a", "h5ad", "a.geojson.bz2"})
    test::refuses(Exit::usage, "{}: a prediction of unknown format, expected a name that ends with .h5ad, .csv, .geojson or .geojson.gz",
                  name, [&] { write_prediction(name, sample.file); });
  test::refuses(Exit::create, "{}: No such file or directory, expected a place to write", "/nonexistent/a.h5ad",
                [&] { write_prediction("/nonexistent/a.h5ad", sample.file); });
}

TEST_CASE("bad input: a disk without room for a prediction keeps the earlier file and no half one") {
  for (const std::string format : {"h5ad", "csv", "geojson", "geojson.gz"}) {
    const test::TempFolder folder;
    const std::string path = folder.file("a." + format, "earlier");
    const int code = test::in_child([&] {
      test::PredictionSample sample;
      sample.fill(20'000);
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{30'000, 30'000};
      ::setrlimit(RLIMIT_FSIZE, &limit);
      write_prediction(path, sample.file);
      return 0;
    });
    CAPTURE(format);
    CHECK(code == int(Exit::io));
    CHECK(test::files_of(folder.path()) == test::Files{{"a." + format, "earlier"}});
  }
}
