// stflow embed as a process, and its files in train and predict.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/embeddings.h"
#include "data/hdf5_write.h"
#include "data/image.h"
#include "data/png.h"
#include "data/resize.h"
#include "engine/cuda/memory.h"
#include "engine/safetensors.h"
#include "engine/storage.h"
#include "model/encoder.h"
#include "tests/run.h"
#include "tests/tools/tiny_run.h"

using namespace stflow;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

Words embed_words(const test::TinyRun& data, const Words& inputs, const std::string& out, const Words& more = {}) {
  Words w{"embed"};
  w.insert(w.end(), inputs.begin(), inputs.end());
  for (const std::string& word : Words{"--encoder", data.path("encoder.safetensors"), "-o", data.path(out), "--quiet"}) w.push_back(word);
  w.insert(w.end(), more.begin(), more.end());
  return w;
}

void runs(const Words& words) {
  const test::Ran r = test::run_stflow(words);
  CHECK_MESSAGE(r.code == 0, r.err);
}

/// The weights of `from` with other metadata.
void rewrite(const std::string& from, const std::string& to, const std::map<std::string, std::string>& changes) {
  const SafeTensors file(from);
  std::vector<OutTensor> tensors;
  std::vector<std::unique_ptr<Array>> values;
  for (const StoredTensor& t : file.tensors()) {
    Shape shape;
    for (const int64_t n : t.shape) shape.n[shape.rank++] = n;
    values.push_back(std::make_unique<Array>(shape, DType::f32));
    file.read_into(t.name, *values.back());
    tensors.emplace_back(t.name, *values.back());
  }
  auto metadata = file.metadata();
  metadata.erase("sha256");
  for (const auto& [key, value] : changes) metadata[key] = value;
  write_safetensors(to, std::move(tensors), metadata);
}

/// Features of one patch by the encoder alone.
std::vector<float> alone(const std::string& encoder, const Image& patch) {
  Encoder e(encoder);
  std::vector<float> x(size_t(e.dim()));
  e.embed(patch.rgb.data(), 1, x.data());
  return x;
}

std::vector<float> row(const Embeddings& e, int64_t i) { return {e.values.begin() + i * e.dim, e.values.begin() + (i + 1) * e.dim}; }

}  // namespace

TEST_CASE("embed: what it writes, in either layout, trains and predicts as what train embeds itself, byte for byte") {
  const test::TinyRun data;
  runs(data.words("whole"));
  runs(data.predict("whole", "whole.csv"));
  for (const char* layout : {"hest", "trident"}) {
    runs(embed_words(data, {data.path("manifest.csv")}, layout, {"--layout", layout}));
    const std::string files = data.path(layout), run = std::string("run-") + layout;
    runs(data.words(run, {"--embeddings", files}));
    CHECK(test::results(data.path(run)) == test::results(data.path("whole")));
    Words predict = data.predict(run, run + ".csv");
    predict.insert(predict.end(), {"--embeddings", files});
    runs(predict);
    CHECK(test::read_file(data.path(run + ".csv")) == test::read_file(data.path("whole.csv")));
  }
  // The same bytes at other numbers of threads, and of patches that are computed together.
  for (const char* number : {"1", "3"}) {
    runs(embed_words(data, {data.path("manifest.csv")}, "again", {"--threads", number, "--batch-size", number, "--overwrite"}));
    for (const char* s : {"/A.h5", "/B.h5", "/C.h5"})
      CHECK(test::read_file(data.path("again") + s) == test::read_file(data.path("hest") + s));
  }
}

TEST_CASE(
    "bad input: features of another encoder, pooling, preprocessing or of different origin are refused, those of unknown origin noted") {
  const test::TinyRun data;
  const std::string encoder = data.path("encoder.safetensors"), mean = data.path("mean.safetensors");
  rewrite(encoder, mean, {{"pooling", "mean"}});
  runs(data.words("run", {"--epochs", "1", "--members", "1"}));
  runs(embed_words(data, {data.path("manifest.csv")}, "mean", {"--encoder", mean}));
  runs(embed_words(data, {data.path("manifest.csv")}, "cls"));
  Words predict = data.predict("run", "p.csv");
  predict.insert(predict.end(), {"--embeddings", data.path("mean")});
  auto refuses = [&](const Words& words, const std::string& line, int lines = 1) {
    const test::Ran r = test::run_stflow(words);
    CHECK(r.code == 65);
    CHECK_MESSAGE(r.err.find(line) != std::string::npos, r.err);
    CHECK(std::count(r.err.begin(), r.err.end(), '\n') == lines);
  };
  // The named encoder and the file's disagree; without a name the model and the file do.
  refuses(predict, "C: embeddings: kind encoder, weights ");
  std::erase(predict, "--encoder"), std::erase(predict, encoder);
  refuses(predict, "features: 'pooling' is mean, expected cls as in training (here: kind encoder, weights ");
  refuses(data.words("mixed", {"--embeddings", data.path("mean")}), "A: embeddings: kind encoder, weights ");
  fs::copy_file(data.path("cls/B.h5"), data.path("mean/B.h5"), fs::copy_options::overwrite_existing);
  refuses(data.words("mixed", {"--embeddings", data.path("mean")}), "B: embeddings: kind encoder");
  // A file of another program: its width is compared, what made it is not known.
  const Embeddings known = load_embeddings(data.path("cls/C.h5"));
  const auto n = int64_t(known.barcodes.size());
  auto foreign = [&](int64_t dim) {
    fs::create_directories(data.path("foreign"));
    Hdf5Writer file(data.path("foreign/C.h5"));
    file.numbers<float>("embeddings", {n, dim}, known.values.data());
    file.strings("barcodes", {n, 1}, known.barcodes);
    file.commit();
  };
  foreign(known.dim);
  predict.back() = data.path("foreign");
  const test::Ran r = test::run_stflow(predict);
  CHECK_MESSAGE(r.code == 0, r.err);
  CHECK_MESSAGE(r.err.find("features that do not say what made them are taken for those of training (kind encoder") != std::string::npos,
                r.err);
  CHECK(test::read_file(data.path("p.csv")) == test::read_file(data.path("run/predictions/C.csv")));
  foreign(known.dim - 1);
  predict.push_back("--overwrite");
  refuses(predict, "C: features of width", 2);  // after the warning
}

// Among the slow ones, so not under ASan: its allocator of g++ 12 is not held over a fork, so that a child of one decoder may wait for ever
// for what another thread held.
TEST_CASE("slow: embed: patch files, tile images and an image with coordinates give the encoder's own features") {
  const test::TinyRun data;
  const std::string encoder = data.path("encoder.safetensors");
  const Image image = read_image(data.path("A.png"));
  std::vector<Image> tiles;
  std::vector<uint8_t> bytes;
  for (const int64_t at : {0, 40, 90}) {
    Image t{32, 32, {}};
    for (int64_t y = 0; y < 32; y++) {
      const auto from = image.rgb.begin() + ((at + y) * image.width + at) * 3;
      t.rgb.insert(t.rgb.end(), from, from + 96);
    }
    bytes.insert(bytes.end(), t.rgb.begin(), t.rgb.end());
    tiles.push_back(t);
  }
  fs::create_directory(data.path("tiles")), fs::create_directory(data.path("patches"));
  for (size_t i = 0; i < 3; i++) write_png(data.path(fmt::format("tiles/t{}.png", i)), tiles[i]);
  for (const char* sample : {"S1", "S2"}) {
    Hdf5Writer file(data.path(fmt::format("patches/{}.h5", sample)));
    file.numbers<uint8_t>("img", {3, 32, 32, 3}, bytes.data());
    file.strings("barcode", {3, 1}, {"a", "b", "c"});
    file.numbers<int64_t>("coords", {3, 2}, std::vector<int64_t>{0, 0, 40, 40, 90, 90}.data());
    file.commit();
  }
  const std::string corners = data.path("corners.h5");
  {
    Hdf5Writer file(corners);
    file.numbers<int64_t>("coords", {3, 2}, std::vector<int64_t>{0, 0, 40, 40, 90, 90}.data());
    file.attribute("coords", "patch_size", int64_t(32)), file.attribute("coords", "patch_size_level0", int64_t(32));
    file.commit();
  }
  const std::string centres = data.folder.file("centres.csv", "barcode,x,y,r\na,16,16,16\nb,56,56,16\nc,106,106,16\n");

  runs(embed_words(data, {data.path("patches/S1.h5")}, "patch.h5"));
  runs(embed_words(data, {data.path("patches")}, "folder"));
  runs(embed_words(data, {data.path("tiles")}, "tiles.h5"));
  runs(embed_words(data, {data.path("tiles/t0.png"), data.path("tiles/t1.png"), data.path("tiles/t2.png")}, "list.h5"));
  runs(embed_words(data, {data.path("A.png")}, "corners_out.h5", {"--coords", corners, "--layout", "trident"}));
  runs(embed_words(data, {data.path("A.png")}, "centres_out.h5", {"--coords", centres, "--mpp", "6.25"}));
  for (const char* name : {"patch.h5", "folder/S1.h5", "folder/S2.h5", "tiles.h5", "list.h5", "corners_out.h5", "centres_out.h5"}) {
    CAPTURE(name);
    const Embeddings e = load_embeddings(data.path(name));
    REQUIRE(e.barcodes.size() == 3);
    for (int64_t i = 0; i < 3; i++) CHECK(row(e, i) == alone(encoder, tiles[size_t(i)]));
    CHECK(e.origin.at("patch") == "32");
    CHECK(e.origin.at("kind") == "encoder");
    CHECK(e.coords.empty() == (std::string(name) == "tiles.h5" || std::string(name) == "list.h5"));
  }
  CHECK(load_embeddings(data.path("tiles.h5")).barcodes == Words{"t0", "t1", "t2"});
  CHECK(load_embeddings(data.path("corners_out.h5")).coords == std::vector<double>{0, 0, 40, 40, 90, 90});
  CHECK(load_embeddings(data.path("centres_out.h5")).coords == std::vector<double>{16, 16, 56, 56, 106, 106});
  CHECK(load_embeddings(data.path("centres_out.h5")).origin.at("microns") == "200");  // 32 pixels of 6.25 um

  // Other sizes: refused, resampled when asked for, or as the recipe of a published encoder has it.
  const std::string published = data.path("published.safetensors");
  rewrite(encoder, published, {{"preset", "gigapath"}, {"image_size", "224"}});
  const test::Ran r = test::run_stflow(embed_words(data, {data.path("A.png")}, "x.h5"));
  CHECK(r.code == 65);
  CHECK_MESSAGE(
      r.err.find("A: patch 1: 216 x 168 pixels, expected 32 x 32 as the encoder takes them; --resample resizes") != std::string::npos,
      r.err);
  CHECK(!fs::exists(data.path("x.h5")));
  runs(embed_words(data, {data.path("A.png")}, "resampled.h5", {"--resample"}));
  CHECK(row(load_embeddings(data.path("resampled.h5")), 0) == alone(encoder, preprocess(image, 32, PixelFilter::bilinear, 32)));
  runs(embed_words(data, {data.path("A.png")}, "card.h5", {"--encoder", published}));
  runs(embed_words(data, {data.path("A.png")}, "stpath.h5", {"--encoder", published, "--preprocess", "stpath"}));
  CHECK(row(load_embeddings(data.path("card.h5")), 0) == alone(published, preprocess(image, 256, PixelFilter::bicubic, 224)));
  CHECK(row(load_embeddings(data.path("stpath.h5")), 0) == alone(published, preprocess(image, 0, PixelFilter::bicubic, 224)));
  CHECK(load_embeddings(data.path("card.h5")).origin.at("preprocess") == "bicubic 256, crop 224");
  // A file that was converted for a recipe is used with it.
  runs({"convert", encoder, data.path("stpath.safetensors"), "--preset", "gigapath", "--preprocess", "stpath", "--quiet"});
  runs(embed_words(data, {data.path("A.png")}, "converted.h5", {"--encoder", data.path("stpath.safetensors")}));
  CHECK(load_embeddings(data.path("converted.h5")).origin.at("preprocess") == "crop 224");
  // By its name from Hugging Face's cache, and as a file that does not say what it is: the same features.
  const std::string cache = data.path("hub"), snapshot = std::string(40, 'a');
  data.folder.file("hub/models--prov-gigapath--prov-gigapath/refs/main", snapshot);
  const std::string raw = data.folder.file("hub/models--prov-gigapath--prov-gigapath/snapshots/" + snapshot + "/pytorch_model.bin", "");
  rewrite(encoder, raw, {{"image_size", "224"}});
  const test::Ran named =
      test::run_stflow(embed_words(data, {data.path("A.png")}, "named.h5", {"--encoder", "prov-gigapath"}), {"HF_HUB_CACHE=" + cache});
  CHECK_MESSAGE(named.code == 0, named.err);
  runs(embed_words(data, {data.path("A.png")}, "told.h5", {"--encoder", raw, "--encoder-preset", "gigapath"}));
  CHECK(test::read_file(data.path("named.h5")) == test::read_file(data.path("told.h5")));
  CHECK(load_embeddings(data.path("named.h5")).origin.at("mean") == "0.485,0.456,0.406");
}

TEST_CASE("embed: on the device, emulated, in bf16 and TF32, near the features of float32, in a file that says so") {
  if (!cuda_is_emulated()) return;
  const test::TinyRun data;
  const Image image = read_image(data.path("A.png"));
  Image tile{32, 32, {}};
  for (int64_t y = 0; y < 32; y++)
    tile.rgb.insert(tile.rgb.end(), image.rgb.begin() + y * image.width * 3, image.rgb.begin() + (y * image.width + 32) * 3);
  write_png(data.path("tile.png"), tile);
  const std::vector<float> want = alone(data.path("encoder.safetensors"), tile);
  for (auto [precision, bound] : {std::pair{"f32", 1e-5}, {"tf32", 1e-3}, {"bf16", 1e-2}}) {
    CAPTURE(precision);
    const std::string out = fmt::format("{}.h5", precision);
    runs(embed_words(data, {data.path("tile.png")}, out, {"--device", "cuda", "--emulate", "--precision", precision}));
    const Embeddings e = load_embeddings(data.path(out));
    const std::vector<float> got = row(e, 0);
    double apart = 0, size = 0;
    for (size_t i = 0; i < want.size(); i++) apart += std::pow(double(got[i] - want[i]), 2), size += std::pow(double(want[i]), 2);
    CHECK(std::sqrt(apart / size) < bound);
    CHECK((std::sqrt(apart / size) < 1e-5) == (precision == std::string("f32")));
    CHECK(e.origin.contains("precision") == (precision != std::string("f32")));
    if (e.origin.contains("precision")) CHECK(e.origin.at("precision") == precision);
  }
}

TEST_CASE("bad input: embed refuses in one line, before any work") {
  const test::TinyRun data;
  const std::string there = data.folder.file("there.h5", "mine"), centres = data.folder.file("c.csv", "x,y\n16,16\n");
  fs::create_directory(data.path("empty"));
  write_png(data.path("wide.png"), {5000, 2, std::vector<uint8_t>(30000)});
  rewrite(data.path("encoder.safetensors"), data.path("unknown.safetensors"), {{"preset", "uni_v9"}});
  struct Case {
    Words inputs, more;
    int code;
    std::string line;
  };
  for (const Case& c : std::vector<Case>{
           {{data.path("none")}, {}, 66, data.path("none") + ": no such file or folder, expected something to embed"},
           {{data.path("empty")}, {}, 65, data.path("empty") + ": no data set recognised"},
           {{data.path("A.png"), data.path("B.png")}, {"--coords", centres}, 64, "--coords: found " + centres + " with several inputs"},
           {{data.path("A.png")}, {"--coords", centres}, 65, data.path("A.png") + ": no microns per pixel"},
           {{data.path("A.png"), there}, {}, 64, data.path("A.png") + ": with 1 of another kind, expected files of patches or tile images"},
           {{data.path("A.png")}, {"-o", there, "--resample"}, 73, there + ": exists, expected a new file; pass --overwrite, or --resume"},
           {{data.path("A.png")},
            {"--preprocess", "card"},
            64,
            "--preprocess: " + data.path("encoder.safetensors") + " does not say which"},
           {{data.path("A.png")}, {"--preprocess", "mine"}, 64, "--preprocess: found 'mine', expected one of card, hest, trident, stpath"},
           {{data.path("A.png")}, {"--layout", "trident", "--resample"}, 64, data.path("out.h5") + ": --layout trident: patches without"},
           {{data.path("A.png")},
            {"--encoder", data.path("unknown.safetensors")},
            65,
            data.path("unknown.safetensors") + ": metadata: preset is 'uni_v9', expected a published encoder; the nearest is uni_v1"},
           {{data.path("A.png")},
            {"--encoder-preset", "uni_v9"},
            64,
            "--encoder: found 'uni_v9', expected a file or the name of an encoder"},
           {{data.path("wide.png")}, {}, 65, data.path("wide.png") + ": no microns per pixel"},
           {{data.path("wide.png"), data.path("A.png")}, {}, 65, data.path("wide.png") + ": no microns per pixel"},
           {{data.path("A.tsv")}, {}, 65, data.path("A.tsv") + ": is of an unknown format, expected a JPEG or PNG image"},
           {{data.path("A.png")},
            {"--device", "cpu", "--precision", "tf32"},
            64,
            "--precision: found tf32 on the CPU, expected stored, f32, f16, bf16 or int8; --device cuda has tf32"},
           {{}, {}, 64, "found no INPUT, expected manifest or folder of sections"},
       }) {
    const test::Ran r = test::run_stflow(embed_words(data, c.inputs, "out.h5", c.more));
    CAPTURE(c.line);
    CHECK(r.code == c.code);
    CHECK_MESSAGE(r.err.starts_with("stflow: error: " + c.line), r.err);
    CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
    CHECK(!fs::exists(data.path("out.h5")));
    CHECK(!fs::exists(data.path("out.h5.partial")));
  }
  CHECK(test::read_file(there) == "mine");
}

TEST_CASE("embed: stopped by a signal it leaves whole files only, and --resume makes the rest") {
  const test::TinyRun data;
  runs(embed_words(data, {data.path("manifest.csv")}, "whole"));
  const pid_t process = test::start_stflow(embed_words(data, {data.path("manifest.csv")}, "stopped", {"--threads", "1"}));
  test::wait_until_caught(process, SIGTERM);
  ::kill(process, SIGTERM);
  const int code = test::ended(process);
  CHECK((code == 75 || code == 0));
  for (const auto& entry : fs::directory_iterator(data.path("stopped"))) CHECK(entry.path().extension() == ".h5");
  runs(embed_words(data, {data.path("manifest.csv")}, "stopped", {"--resume"}));
  for (const char* s : {"/A.h5", "/B.h5", "/C.h5"})
    CHECK(test::read_file(data.path("stopped") + s) == test::read_file(data.path("whole") + s));
  CHECK(test::run_stflow(embed_words(data, {data.path("manifest.csv")}, "whole")).code == 73);
  const test::Ran other = test::run_stflow(embed_words(data, {data.path("manifest.csv")}, "whole", {"--resume", "--patch-microns", "100"}));
  CHECK(other.code == 65);
  CHECK_MESSAGE(other.err.find("A.h5: kind encoder") != std::string::npos, other.err);
}
