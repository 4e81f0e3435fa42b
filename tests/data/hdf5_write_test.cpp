#include "data/hdf5_write.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "data/coordinates.h"
#include "data/embedding_writer.h"
#include "data/embeddings.h"
#include "data/hdf5_file.h"
#include "data/patch_file.h"
#include "engine/file.h"
#include "tests/data/hdf5_seen.h"
#include "tests/files.h"

using namespace stflow;
using test::list, test::seen;

namespace {

void everything(const std::string& path) {
  Hdf5Writer file(path);
  const std::vector<float> f{1.5f, -2, 3, 4, 5, 6};
  const std::vector<double> d{0.1, 1e300};
  const std::vector<int64_t> n{-1, int64_t(1) << 40};
  const std::vector<uint8_t> b{0, 255, 7};
  file.group("obs");
  file.group("obs/deep");
  file.numbers<float>("f", {2, 3}, f.data(), {.growing = true});
  file.numbers<double>("obs/deep/d", {2}, d.data());
  file.numbers<int64_t>("n", {2, 1}, n.data(), {.chunk = 1, .gzip = 6});
  file.numbers<uint8_t>("b", {1, 3}, b.data());
  file.numbers<double>("scalar", {}, d.data());
  file.numbers<float>("none", {0, 4}, nullptr, {.growing = true});
  file.strings("names", {2, 1}, {"spot \xc3\xa9", ""}, {.growing = true});
  file.strings("fixed", {2}, {"ab", "c"}, {}, true);
  file.declare<float>("rows", {5, 2});
  file.rows<float>("rows", 3, 2, f.data());
  file.rows<float>("rows", 0, 1, f.data() + 4);
  file.attribute("/", "encoding-type", "anndata");
  file.attribute("obs", "column-order", std::vector<std::string>{});
  file.attribute("obs", "names", std::vector<std::string>{"a", "b"});
  file.attribute("f", "shape", std::vector<int64_t>{2, 3});
  file.attribute("f", "scale", 0.5);
  file.attribute("f", "count", int64_t(7));
  file.commit();
}

EmbeddingHeader two_patches() {
  EmbeddingHeader h;
  h.sample = "S", h.names = {"1x1", "2x1"}, h.xy = {100, 50, 300, 80}, h.dim = 3;
  h.origin = {{"kind", "encoder"}, {"weights", "abc"}};
  h.patch = 224, h.side = 112, h.mpp = 1, h.width = 1000, h.height = 800;
  return h;
}

}  // namespace

TEST_CASE("hdf5 out: numbers, strings, groups and attributes come back, and the same calls give the same bytes") {
  const test::TempFolder folder;
  const std::string path = folder.path("a.h5");
  everything(path);
  int64_t rows = 0, columns = 0;
  const std::string said = seen(path, [&](const Hdf5File& f) {
    std::string s = list(f.matrix<float>("f", rows, columns));
    s += fmt::format("({} {}); ", rows, columns);
    s += list(f.matrix<double>("obs/deep/d", rows, columns)) + "; " + list(f.matrix<double>("n", rows, columns)) + "; ";
    s += list(f.strings("names")) + "; " + list(f.strings("fixed")) + "; " + list(f.matrix<float>("rows", rows, columns)) + "; ";
    const std::string b = f.bytes("b", 0, 1);
    s += list(std::vector<int>{uint8_t(b[0]), uint8_t(b[1]), uint8_t(b[2])}) + "; ";
    s += fmt::format("{} {} {} {}; ", *f.text("/", "encoding-type"), *f.number("f", "scale"), *f.number("f", "count"),
                     *f.number("f", "shape"));
    return s + fmt::format("{} {}", f.text("f", "none").has_value(), f.number("/", "encoding-type").has_value());
  });
  CHECK(said ==
        "1.5 -2 3 4 5 6 (2 3); 0.1 1e+300 ; -1 1099511627776 ; spot \xc3\xa9  ; ab c ; 5 6 0 0 0 0 1.5 -2 3 4 ; 0 255 7 ; "
        "anndata 0.5 7 2; false false");
  everything(folder.path("b.h5"));
  CHECK(read_text(path) == read_text(folder.path("b.h5")));
  CHECK(!std::filesystem::exists(path + ".partial"));
}

TEST_CASE("hdf5 out: without commit nothing is there, and an earlier file stays") {
  const test::TempFolder folder;
  const std::string path = folder.file("a.h5", "earlier");
  {
    Hdf5Writer file(path);
    const std::vector<float> f(1000, 1);
    file.numbers<float>("f", {1000}, f.data());
  }
  CHECK(read_text(path) == "earlier");
  CHECK(!std::filesystem::exists(path + ".partial"));
  {
    Hdf5Writer file(path);
    test::refuses(Exit::create, "{}: another process is writing it, expected to be alone", path, [&] { const Hdf5Writer second(path); });
  }
  test::refuses(Exit::create, "{}: No such file or directory, expected a place to write", folder.path("none/a.h5"),
                [&] { const Hdf5Writer file(folder.path("none/a.h5")); });
}

TEST_CASE("bad input: an HDF5 file that the disk has no room for") {
  const test::TempFolder folder;
  const std::string path = folder.path("a.h5");
  const int code = test::in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{40'000, 40'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    Hdf5Writer file(path);
    const std::vector<float> f(100'000, 1);
    file.numbers<float>("f", {100'000}, f.data());
    file.commit();
    return 0;
  });
  CHECK(code == int(Exit::io));
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("embedding files: both layouts are read again with what made them, rows in any order") {
  const test::TempFolder folder;
  const std::vector<float> x{1, 2, 3}, y{4, 5, 6};
  for (const auto layout : {EmbeddingLayout::hest, EmbeddingLayout::trident}) {
    const std::string path = folder.path("e.h5");
    EmbeddingWriter file(path, layout, two_patches());
    file.put(1, y.data());
    file.put(0, x.data());
    file.commit();
    const Embeddings e = load_embeddings(path);
    CHECK(e.dim == 3);
    CHECK(e.values == std::vector<float>{1, 2, 3, 4, 5, 6});
    CHECK(e.barcodes == std::vector<std::string>{"1x1", "2x1"});
    CHECK(e.origin == two_patches().origin);
    const bool corners = layout == EmbeddingLayout::trident;
    CHECK(e.coords == (corners ? std::vector<double>{44, -6, 244, 24} : std::vector<double>{100, 50, 300, 80}));
    if (!corners) continue;
    const Coordinates c = read_coordinates(path);  // TRIDENT's own attributes
    CHECK(c.xy == two_patches().xy);
    CHECK(c.side == 112);
    CHECK(c.size == 224);
    CHECK(seen(path, [](const Hdf5File& f) {
            return fmt::format("{} {} {} {} {} {} {}", *f.number("coords", "level0_magnification"),
                               *f.number("coords", "target_magnification"), *f.number("coords", "overlap"), *f.text("coords", "name"),
                               *f.number("coords", "level0_width"), *f.text("features", "encoder"), *f.text("features", "name"));
          }) == "10 20 0 S 1000 abc S");
  }
  EmbeddingHeader nowhere = two_patches();
  nowhere.xy.clear();
  test::refuses(Exit::usage, "{}: --layout trident: patches without coordinates, expected --layout hest", folder.path("t.h5"),
                [&] { const EmbeddingWriter file(folder.path("t.h5"), EmbeddingLayout::trident, nowhere); });
  nowhere.names = {"a", "b"}, nowhere.xy = {1.5, 2, 3, 4};
  EmbeddingWriter(folder.path("f.h5"), EmbeddingLayout::hest, nowhere).commit();
  CHECK(load_embeddings(folder.path("f.h5")).coords == nowhere.xy);
}

TEST_CASE("bad input: an embedding file that says what made it in no JSON") {
  const test::TempFolder folder;
  const float x = 1;
  auto file = [&](const char* origin) {
    Hdf5Writer out(folder.path("e.h5"));
    out.numbers<float>("embeddings", {1, 1}, &x);
    out.strings("barcodes", {1}, {"a"});
    out.attribute("/", kFeatureOrigin, origin);
    out.commit();
    load_embeddings(folder.path("e.h5"));
  };
  test::refuses(Exit::data, "{}: attribute stflow: '[1]', expected an object of texts", folder.path("e.h5"), [&] { file("[1]"); });
  test::refuses(Exit::data, "{}: attribute stflow: '{\"a\":1}', expected an object of texts", folder.path("e.h5"),
                [&] { file("{\"a\":1}"); });
  CHECK_THROWS_AS(file("{"), Error);
  CHECK_NOTHROW(file("{\"kind\":\"encoder\"}"));
}
