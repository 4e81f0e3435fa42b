#include "data/embeddings.h"

#include <doctest/doctest.h>
#include <hdf5.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "data/child.h"
#include "engine/file.h"
#include "tests/files.h"

using namespace stflow;

namespace {

/// A small HDF5 file; the tests bend it before it is closed.
struct Made {
  std::string path;
  hid_t file;
  Made(const test::TempFolder& folder, const std::string& name = "e.h5")
      : path(folder.path(name)), file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)) {}
  ~Made() { close(); }
  void close() {
    if (file >= 0) H5Fclose(file);
    file = -1;
  }
  void numbers(const char* name, const std::vector<hsize_t>& dims, const std::vector<double>& values, hid_t type = H5T_NATIVE_FLOAT,
               hid_t plist = H5P_DEFAULT) const {
    hid_t space = H5Screate_simple(int(dims.size()), dims.data(), nullptr);
    hid_t data = H5Dcreate2(file, name, type, space, H5P_DEFAULT, plist, H5P_DEFAULT);
    if (!values.empty()) H5Dwrite(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
    H5Dclose(data), H5Sclose(space);
  }
  void fixed_strings(const char* name, const std::vector<hsize_t>& dims, const std::string& bytes, size_t length) const {
    hid_t space = H5Screate_simple(int(dims.size()), dims.data(), nullptr), type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, length);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    hid_t data = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data());
    H5Dclose(data), H5Tclose(type), H5Sclose(space);
  }
  void variable_strings(const char* name, const std::vector<const char*>& strings) const {
    hsize_t n = strings.size();
    hid_t space = H5Screate_simple(1, &n, nullptr), type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    hid_t data = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, strings.data());
    H5Dclose(data), H5Tclose(type), H5Sclose(space);
  }
};

Section three_spots(const std::string& embeddings) {
  Section s;
  s.source.sample = std::string("S"), s.source.embeddings = embeddings;
  s.spots = {"1x1", "2x1", "1x2"};
  s.xy = {1, 1, 2, 1, 1, 2};
  s.genes = {"A"}, s.counts = sparse(std::vector<float>{7, 8, 9}, 1);
  return s;
}

}  // namespace

TEST_CASE("embeddings: fixed and variable strings, (N) and (N, 1), whole and half floats") {
  test::TempFolder folder;
  Made a(folder, "a.h5");
  a.numbers("embeddings", {3, 2}, {1, 2, 3, 4, 5, 6});
  a.numbers("coords", {3, 2}, {10, 20, 30, 40, 50, 60}, H5T_STD_I64LE);
  a.fixed_strings("barcodes", {3, 1},
                  "1x2"
                  "abc"
                  "1x1",
                  3);
  a.close();
  Embeddings e = load_embeddings(a.path);
  CHECK(e.dim == 2);
  CHECK(e.values == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(e.coords == std::vector<double>{10, 20, 30, 40, 50, 60});
  CHECK(e.barcodes == std::vector<std::string>{"1x2", "abc", "1x1"});
  Made b(folder, "b.h5");
  b.numbers("embeddings", {2}, {1, 2}, H5T_IEEE_F64BE);
  b.variable_strings("barcode", {"spot \xc3\xa9", "s"});
  b.close();
  e = load_embeddings(b.path);
  CHECK(e.dim == 1);
  CHECK(e.barcodes == std::vector<std::string>{"spot \xc3\xa9", "s"});
  CHECK(e.coords.empty());
}

TEST_CASE("embeddings: joined by barcode") {
  test::TempFolder folder;
  Made m(folder);
  m.numbers("embeddings", {3, 2}, {1, 2, 3, 4, 0, 0});
  m.variable_strings("barcodes", {"1x2", "9x9", "1x1"});
  m.close();
  Section s = three_spots(m.path);
  std::vector<std::string> warnings;
  read_embeddings(s, {}, warnings);
  CHECK(s.spots == std::vector<std::string>{"1x1", "1x2"});
  CHECK(s.features == std::vector<float>{0, 0, 1, 2});
  CHECK(dense(s.counts, 1) == std::vector<float>{7, 9});
  CHECK(s.xy == std::vector<double>{1, 1, 1, 2});
  CHECK(warnings ==
        std::vector<std::string>{"S: 1 spots only in the counts, 1 only in the embeddings, 2 in both; unmatched spots are left out",
                                 "S: 1 spots have features that are all zero"});
}

TEST_CASE("bad input: embeddings that do not fit the spots") {
  test::TempFolder folder;
  auto refuse = [&](std::vector<double> values, std::vector<const char*> names, const std::string& line) {
    Made m(folder);
    m.numbers("embeddings", {names.size(), 1}, values);
    m.variable_strings("barcodes", names);
    m.close();
    Section s = three_spots(m.path);
    std::vector<std::string> warnings;
    test::refuses(Exit::data, "{}: " + line, m.path, [&] { read_embeddings(s, {}, warnings); });
  };
  refuse({1, 2, 3}, {"1x1-1", "2x1-1", "1x2"},
         "2 spots only in the counts, 2 only in the embeddings, 1 in both, expected at least half to match");
  refuse({1, 2, 3}, {"1x1", "2x1", "1x1"}, "barcodes: '1x1' in row 2 a second time, expected each once");
  refuse({1, NAN, 3}, {"1x1", "2x1", "1x2"},
         "embeddings: row 1 (spot '2x1'), column 0 is nan, expected a finite number; --drop-nonfinite leaves such spots out");
  Made m(folder, "nan.h5");
  m.numbers("embeddings", {3, 1}, {1, INFINITY, 3});
  m.variable_strings("barcodes", {"1x1", "2x1", "1x2"});
  m.close();
  Section s = three_spots(m.path);
  std::vector<std::string> warnings;
  DataOptions drop;
  drop.drop_nonfinite = true;
  read_embeddings(s, drop, warnings);
  CHECK(s.features == std::vector<float>{1, 3});
  CHECK(warnings == std::vector<std::string>{"S: 1 spots with NaN or Inf features are left out (--drop-nonfinite)"});
}

TEST_CASE("bad input: HDF5 files") {
  test::TempFolder folder;
  auto refuse_file = [](const std::string& path, const std::string& line) {
    test::refuses(Exit::data, "{}: " + line, path, [&] { load_embeddings(path); });
  };
  refuse_file(folder.file("x.h5", "<html>"), "is an HTML page, expected an HDF5 file");
  refuse_file(folder.file("x.h5", "version https://git-lfs.github.com/spec/v1\n"),
              "is a Git LFS pointer, not the data, expected an HDF5 file");
  refuse_file(folder.file("x.h5", "hello"), "is of an unknown format, expected an HDF5 file");
  refuse_file(folder.file("x.h5", "\x89HDF\r\n\x1a\n"), "damaged HDF5 file, expected one that opens");
  test::refuses(Exit::missing, "{}: No such file or directory, expected a readable file", folder.path("none.h5"),
                [&] { load_embeddings(folder.path("none.h5")); });

  auto refuse = [&](auto make, const std::string& line) {
    Made m(folder);
    make(m);
    m.close();
    refuse_file(m.path, line);
  };
  auto names = [](const Made& m) { m.variable_strings("barcodes", {"a", "b"}); };
  refuse([](const Made&) {}, "found nothing, expected a dataset 'embeddings'");
  refuse([](const Made& m) { m.numbers("coords", {1}, {1}), m.numbers("features", {1}, {1}); },
         "found coords, features, expected a dataset 'embeddings'");
  refuse([](const Made& m) { m.numbers("embeddings", {2, 1}, {1, 2}); }, "dataset 'barcodes': not there, expected one");
  refuse([&](const Made& m) { m.numbers("embeddings", {3, 1}, {1, 2, 3}), names(m); }, "2 barcodes, expected 3 as the rows of embeddings");
  refuse(
      [&](const Made& m) {
        m.numbers("embeddings", {2, 1, 1}, {1, 2}), names(m);
      },
      "dataset 'embeddings': 3 dimensions, expected 1 or 2");
  refuse(
      [&](const Made& m) {
        m.numbers("embeddings", {2, 0}, {}), names(m);
      },
      "dataset 'embeddings': 2 x 0 values, expected at least one");
  refuse(
      [&](const Made& m) {
        m.variable_strings("embeddings", {"a", "b"}), names(m);
      },
      "dataset 'embeddings': no numbers, expected numbers");
  refuse([](const Made& m) { m.numbers("embeddings", {1}, {1}), m.numbers("barcodes", {1}, {1}); },
         "dataset 'barcodes': no strings, expected strings");
  refuse(
      [](const Made& m) {
        m.numbers("embeddings", {1}, {1}), m.fixed_strings("barcodes", {1, 2}, "ab", 1);
      },
      "dataset 'barcodes': 2 columns, expected one");
  refuse([](const Made& m) { m.numbers("embeddings", {1}, {1}), m.fixed_strings("barcodes", {1}, std::string(5000, 'a'), 5000); },
         "dataset 'barcodes': strings of 5000 bytes, expected at most 4096");
  refuse(
      [&](const Made& m) {
        m.numbers("embeddings", {2}, {1, 2}), m.numbers("coords", {2, 3}, {1, 2, 3, 4, 5, 6}), names(m);
      },
      "dataset 'coords': 2 x 3 values, expected 2 x 2");
  refuse([](const Made& m) { H5Gclose(H5Gcreate2(m.file, "embeddings", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)); },
         "dataset 'embeddings': damaged or a group, expected a dataset");
  refuse([](const Made& m) { H5Lcreate_external("/etc/passwd", "/x", m.file, "embeddings", H5P_DEFAULT, H5P_DEFAULT); },
         "dataset 'embeddings': a link to elsewhere, expected data in this file");
  refuse([](const Made& m) { H5Lcreate_soft("/elsewhere", m.file, "embeddings", H5P_DEFAULT, H5P_DEFAULT); },
         "dataset 'embeddings': a link to elsewhere, expected data in this file");
  refuse(
      [](const Made& m) {
        hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
        H5Pset_external(plist, "/etc/passwd", 0, 8);
        m.numbers("embeddings", {2}, {}, H5T_NATIVE_FLOAT, plist);
        H5Pclose(plist);
      },
      "dataset 'embeddings': external storage, expected data in this file");
  refuse(
      [](const Made& m) {
        hsize_t two = 2;
        hid_t plist = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(1, &two, nullptr);
        H5Pset_virtual(plist, space, "/etc/passwd", "x", space);
        m.numbers("embeddings", {2}, {}, H5T_NATIVE_FLOAT, plist);
        H5Pclose(plist), H5Sclose(space);
      },
      "dataset 'embeddings': virtual storage, expected data in this file");
  refuse(
      [](const Made& m) {  // chunks that were never written: a claim of 4 TB in a file of 1 kB
        hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
        hsize_t chunk[2] = {1024, 1024};
        H5Pset_chunk(plist, 2, chunk);
        m.numbers("embeddings", {1'000'000, 1'000'000}, {}, H5T_NATIVE_FLOAT, plist);
        H5Pclose(plist);
      },
      "dataset 'embeddings': 0 bytes stored for 1000000 x 1000000 values, expected a whole dataset");
}

TEST_CASE("bad input: a reader that crashes, hangs or eats memory becomes one error line") {
  auto refuse = [](const std::function<std::string()>& work, const ChildLimits& limits, const std::string& line) {
    test::refuses(Exit::data, "f.h5: the reader " + line + ", expected a readable HDF5 file", "",
                  [&] { in_child_process("f.h5", "HDF5", limits, work); });
  };
  refuse(
      []() -> std::string {
        std::raise(SIGSEGV);
        return "";
      },
      {}, "crashed (signal 11)");
  refuse(
      []() -> std::string {
        std::raise(SIGABRT);
        return "";
      },
      {}, "crashed (signal 6)");
  refuse([]() -> std::string { ::_exit(9); }, {}, "ended with status 9");
  refuse(
      []() -> std::string {
        for (;;) std::this_thread::sleep_for(std::chrono::seconds(10));
      },
      {1, int64_t(1) << 20}, "needed more than 1 s or 1048576 bytes");
  refuse([]() -> std::string { throw std::bad_alloc(); }, {1, int64_t(1) << 20}, "needed more than 1048576 bytes");
  try {  // a sanitizer ends the process in its own way when memory is refused
    in_child_process("f.h5", "HDF5", {5, int64_t(3) << 20}, []() -> std::string { return std::string(4 << 20, 'x'); });
    FAIL("accepted");
  } catch (const Error& e) {
    CHECK(e.code() == Exit::data);
    CHECK(std::string(e.what()).starts_with("f.h5: the reader "));
  }
  test::refuses(Exit::create, "a line", "",
                [] { in_child_process("f.h5", "HDF5", {}, []() -> std::string { throw Error(Exit::create, "a line"); }); });
  CHECK(in_child_process("f.h5", "HDF5", {}, [] { return std::string(1 << 20, 'x'); }).size() == 1 << 20);
}

TEST_CASE("bad input: flipped bytes in an HDF5 file never end the program") {
  test::TempFolder folder;
  const std::string good = read_text("data/samples/her2st/embeddings/C2.h5");
  int refused = 0;
  for (size_t i = 0; i < 60; i++) {
    std::string bad = good;
    bad[(i * 7919) % 6000] ^= char(0xff);  // the first bytes are structure
    std::string path = folder.file("bad.h5", bad);
    try {
      load_embeddings(path);
    } catch (const Error& e) {
      refused++;
      CHECK(e.code() == Exit::data);
      CHECK(std::string(e.what()).starts_with(path + ": "));
      CHECK(std::string(e.what()).find('\n') == std::string::npos);
    }
  }
  CHECK(refused > 5);
}
