// Every reader on files that were whole once: bytes flipped, cut, doubled, moved. A reader gives a value or throws Error; anything
// else (a crash, a sanitizer's finding, another exception, memory without end) is a fault. Each mutant is a function of its number.
// `make test` tries a few hundred of each kind; `make fuzz` goes on for FUZZ_SECONDS per reader under ASan and UBSan.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>

#include "data/coordinates.h"
#include "data/embeddings.h"
#include "data/hdf5_write.h"
#include "data/image.h"
#include "data/legacy_st.h"
#include "data/manifest.h"
#include "data/panel.h"
#include "data/patch_file.h"
#include "data/png.h"
#include "data/prediction/read.h"
#include "data/spatial/h5ad.h"
#include "data/spatial/mex.h"
#include "data/spatial/positions.h"
#include "data/spatial/tenx.h"
#include "data/tissue/geojson.h"
#include "data/weights/open.h"
#include "data/weights/torch_file.h"
#include "engine/file.h"
#include "engine/json.h"
#include "engine/safetensors.h"
#include "engine/text.h"
#include "model/encoder.h"
#include "tests/data/tiny.h"
#include "tests/mutants.h"

using namespace stflow;
using namespace stflow::test;

namespace {

double seconds_each() {
  const char* text = std::getenv("STFLOW_FUZZ_SECONDS");
  return text ? parse_number(text).value_or(0) : 0;
}

// `few` mutants of `whole`, more for as long as STFLOW_FUZZ_SECONDS says; `read` must take the whole file.
void fuzz(const std::string& whole, uint32_t few, const std::function<void(const std::string& path, const std::string& bytes)>& read) {
  const TempFolder folder;
  auto try_one = [&](const std::string& bytes) { read(folder.file("file", bytes), bytes); };
  REQUIRE_NOTHROW(try_one(whole));
  const auto start = std::chrono::steady_clock::now();
  const double seconds = seconds_each();
  auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  uint32_t refused = 0, tried = 0;
  for (; tried < few || elapsed() < seconds; tried++) {
    CAPTURE(tried);
    try {
      try_one(mutant(whole, tried));
    } catch (const Error& e) {
      refused++;
      const std::string line = e.what();
      CHECK(!line.empty());
      CHECK(line.find('\n') == std::string::npos);
    } catch (const std::exception& e) {
      FAIL_CHECK("not an Error: " << e.what());
    }
  }
  CHECK(refused > tried / 20);  // most changes break something
}

std::string fixture(const std::string& name) { return read_text("tests/fixtures/" + name); }

}  // namespace

TEST_CASE("fuzz: safetensors") {
  const TempFolder folder;
  std::vector<float> a{1, 2, 3, 4, 5, 6}, b{7};
  write_safetensors(folder.path("whole"), {{"a", view(a.data(), {2, 3}), Stored::f16}, {"b", view(b.data(), {1})}}, {{"format", "test"}});
  fuzz(read_text(folder.path("whole")), 1000, [](const std::string& path, const std::string&) {
    const SafeTensors f(path);
    for (const StoredTensor& t : f.tensors()) static_cast<void>(f.read<float>(t.name));
    f.verify();
  });
}

TEST_CASE("fuzz: PyTorch checkpoints") {
  for (const char* name : {"torch_types.pth", "torch_lightning.ckpt", "torch_legacy.pth"})
    fuzz(fixture(name), 1000, [](const std::string& path, const std::string&) {
      const Weights w = open_weights(path);
      for (const StoredTensor& t : w.tensors()) static_cast<void>(w.read<float>(t.name));
      if (w.container() == "PyTorch zip") verify_torch_zip(path);
    });
}

TEST_CASE("fuzz: encoders") {
  fuzz(fixture("vit_plain.safetensors"), 100, [](const std::string& path, const std::string&) { const Encoder e(path); });
}

TEST_CASE("fuzz: JSON and panels") {
  fuzz(R"({"a": [1, 2.5, "x\u00e9", null, true], "b": {"c": -1e300}})", 1000,
       [](const std::string& path, const std::string&) { static_cast<void>(read_json(path)); });
  fuzz(R"({"genes": ["ERBB2", "FASN", "ACTG1"]})", 1000, [](const std::string& path, const std::string&) { read_panel(path); });
}

TEST_CASE("fuzz: count tables and spot files") {
  const std::string counts = "\tACTB\tERBB2\tFASN\n1x2\t1\t0\t3\n2x2\t0\t0\t7\n3x4\t12\t1\t0\n";
  const std::string spots =
      "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n1\t2\t1.01\t2.02\t10.5\t20.25\t1\n2\t2\t2\t2\t20\t20\t1\n3\t4\t3\t4\t30\t40\t0\n";
  for (const std::string& bytes : {counts, gzip(counts)})
    fuzz(bytes, 1000, [](const std::string& path, const std::string& b) { read_counts(b, path, {}); });
  fuzz(spots, 1000, [](const std::string& path, const std::string& b) { read_spots(b, path, {}); });
}

TEST_CASE("fuzz: tables of predictions") {
  fuzz("spot,x,y,ACTB,ERBB2\n1x2,10.5,20,0.25,1e-3\n2x2,11,20,3,0\n", 300,
       [](const std::string& path, const std::string& b) { read_prediction_table(b, path); });
}

TEST_CASE("fuzz: manifests") {
  fuzz("sample,image,counts,spots,mpp,split\nA,file,file,file,0.5,train\nB,file,file,file,,test\n", 1000,
       [](const std::string& path, const std::string&) { read_manifest(path); });
}

TEST_CASE("fuzz: JPEG and PNG") {
  const Image p = picture(37, 23);
  const auto read = [](const std::string& path, const std::string&) { read_image(path, 2); };
  fuzz(jpeg(p), 300, read);
  fuzz(jpeg(p, {.progressive = true, .orientation = 6}), 300, read);
  const TempFolder folder;
  write_png(folder.path("p.png"), p);
  fuzz(read_text(folder.path("p.png")), 300, read);
}

TEST_CASE("fuzz: other images") {
  const auto read = [](const std::string& path, const std::string&) { read_image(path, 2); };
  const Image p = picture(9, 7);
  fuzz("P6\n9 7\n255\n" + std::string(p.rgb.begin(), p.rgb.end()), 60, read);
  fuzz(std::string("GIF89a\1\0\1\0\x80\0\0\x0a\x14\x1e\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2\x44\1\0;", 35), 60, read);
}

TEST_CASE("fuzz: h5ad and 10x files, from names to images") {
  DataOptions any;
  any.values = Values::any;
  for (const char* name : {"anndata06.h5ad", "anndata07.h5ad", "anndata012.h5ad"})
    fuzz(fixture(std::string("spatial/") + name), 12, [&](const std::string& path, const std::string&) {
      Section s;
      s.source.sample = "S", s.source.counts = path;
      std::vector<std::string> warnings;
      read_h5ad_section(s, any, warnings);
      if (!s.source.image.empty()) read_h5ad_image(path);
    });
  for (const char* name : {"tenx_v3.h5", "tenx_v2.h5"})
    fuzz(fixture(std::string("spatial/") + name), 12, [](const std::string& path, const std::string&) { read_tenx_h5(path); });
  fuzz(fixture("spatial/feature_slice.h5"), 12,
       [](const std::string& path, const std::string&) { read_feature_slice(path, {"s_016um_00002_00005-1"}); });
}

TEST_CASE("fuzz: text matrices and positions") {
  fuzz("%%MatrixMarket matrix coordinate integer general\n3 2 3\n1 1 7\n3 1 2\n2 2 1\n", 1000,
       [](const std::string& path, const std::string& b) { read_mtx(b, path, 3, 2); });
  fuzz("AAAC-1,1,0,0,100,100.5\nAAAG-1,0,0,2,100,300\n", 1000,
       [](const std::string& path, const std::string& b) { read_positions(b, path); });
}

TEST_CASE("fuzz: embeddings") {
  const std::string whole = read_text("data/samples/her2st/embeddings/C6.h5");
  fuzz(whole, 20, [](const std::string& path, const std::string&) { load_embeddings(path); });
}

TEST_CASE("fuzz: patch files and coordinates") {
  const TempFolder folder;
  const std::vector<uint8_t> pixels(size_t(5 * 8 * 8 * 3), 77);
  const std::vector<int64_t> corners{0, 0, 8, 0, 16, 0, 0, 8, 8, 8};
  {
    Hdf5Writer file(folder.path("p.h5"));
    file.numbers<uint8_t>("img", {5, 8, 8, 3}, pixels.data(), {.growing = true, .gzip = 3});
    file.strings("barcode", {5, 1}, {"a", "b", "c", "d", "e"});
    file.numbers<int64_t>("coords", {5, 2}, corners.data());
    file.attribute("coords", "patch_size", int64_t(8));
    file.attribute("coords", "patch_size_level0", int64_t(8));
    file.commit();
  }
  const std::string whole = read_text(folder.path("p.h5"));
  fuzz(whole, 20, [](const std::string& path, const std::string&) {
    const PatchFile f = open_patch_file(path);
    read_patches(f, 0, f.count);
  });
  fuzz(whole, 20, [](const std::string& path, const std::string&) { read_coordinates(path); });
  fuzz("barcode,x,y,r\nA,10,20,8\nB,30,40,8\nC,50.5,60.25,8\n", 1000,
       [](const std::string& path, const std::string&) { read_coordinates(path); });
}

TEST_CASE("fuzz: outlines of tissue") {
  const std::string whole =
      R"({"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"MultiPolygon","coordinates":[[[[0,0],[40.5,0],[40,3e1],[0,0]]]]}}]})";
  for (const std::string& bytes : {whole, gzip(whole)})
    fuzz(bytes, 500, [](const std::string& path, const std::string&) { mask_of(read_tissue(path), 64, 48, 1, path); });
}
