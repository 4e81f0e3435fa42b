#include "data/patch_file.h"

#include <doctest/doctest.h>

#include "data/coordinates.h"
#include "data/hdf5_write.h"
#include "tests/data/tiny.h"

using namespace stflow;

namespace {

const std::vector<double> kPlaces{10, 20, 30, 40.5};

/// Two patches of 4 x 4 pixels, as HEST's file has them.
std::string patches(const test::TempFolder& folder, const char* pixels = "img", const char* names = "barcode",
                    const std::vector<int64_t>& shape = {2, 4, 4, 3}) {
  const std::string path = folder.path("p.h5");
  int64_t n = 1;
  for (const int64_t s : shape) n *= s;
  std::vector<uint8_t> bytes;
  for (int64_t i = 0; i < n; i++) bytes.push_back(uint8_t(i));
  Hdf5Writer file(path);
  file.numbers<uint8_t>(pixels, shape, bytes.data(), {.growing = true});
  if (*names) file.strings(names, {2, 1}, {"AAAC-1", "AAAG-1"});
  file.numbers<double>("coords", {2, 2}, kPlaces.data());
  file.commit();
  return path;
}

std::string corners(const test::TempFolder& folder, const std::vector<int64_t>& xy, int64_t size, int64_t level0, double downsample = 0) {
  const std::string path = folder.path("c.h5");
  Hdf5Writer file(path);
  file.numbers<int64_t>("coords", {int64_t(xy.size() / 2), 2}, xy.data());
  if (size > 0) file.attribute("coords", "patch_size", size);
  if (level0 > 0) file.attribute("coords", "patch_size_level0", level0);
  if (downsample > 0) file.attribute("coords", "downsample", downsample);
  file.commit();
  return path;
}

}  // namespace

TEST_CASE("patch files: HEST's with barcodes, CLAM's without, pixels in pieces") {
  const test::TempFolder folder;
  const PatchFile f = open_patch_file(patches(folder));
  CHECK(f.count == 2);
  CHECK(f.side == 4);
  CHECK(f.names == std::vector<std::string>{"AAAC-1", "AAAG-1"});
  CHECK(f.coords == kPlaces);
  const auto second = read_patches(f, 1, 1);
  REQUIRE(second.size() == 1);
  CHECK(second[0].width == 4);
  CHECK(second[0].rgb.front() == 48);
  CHECK(second[0].rgb.back() == 95);
  CHECK(read_patches(f, 0, 2)[0].rgb[47] == 47);
  const PatchFile clam = open_patch_file(patches(folder, "imgs", ""));
  CHECK(clam.dataset == "imgs");
  CHECK(clam.names == std::vector<std::string>{"10x20", "30x40.5"});
}

TEST_CASE("bad input: patch files") {
  const test::TempFolder folder;
  auto refuse = [&](const std::string& path, const std::string& line) {
    test::refuses(Exit::data, line, path, [&] { open_patch_file(path); });
  };
  refuse(patches(folder, "image"), "{}: coordinates without pixels, expected patches; embed the image and name this file with --coords");
  refuse(patches(folder, "img", "barcode", {2, 4, 3, 3}),
         "{}: dataset 'img': 4 dimensions, 4 x 3 x 3 each, expected (patches, side, side, 3) bytes");
  refuse(patches(folder, "img", "barcode", {2, 16}), "{}: dataset 'img': 2 dimensions, expected (patches, side, side, 3) bytes");
  refuse(patches(folder, "img", "barcode", {3, 4, 4, 3}), "{}: dataset 'coords': 2 x 2 values, expected 3 x 2");
  refuse(folder.file("x.h5", "<html>"), "{}: is an HTML page, expected an HDF5 file");
  const std::string path = folder.path("f.h5");
  const std::vector<float> floats(96, 0.5f);
  Hdf5Writer file(path);
  file.numbers<float>("img", {2, 4, 4, 3}, floats.data());
  file.commit();
  const PatchFile f = open_patch_file(path);
  test::refuses(Exit::data, "{}: dataset 'img': no unsigned bytes, expected pixels", path, [&] { read_patches(f, 0, 1); });
  Hdf5Writer twice(path);
  twice.numbers<uint8_t>("img", {2, 1, 1, 3}, std::vector<uint8_t>(6).data());
  twice.strings("barcodes", {2}, {"a", "a"});
  twice.commit();
  refuse(path, "{}: 'a' in row 1 a second time, expected each once");
}

TEST_CASE("coordinates: tables with centres, TRIDENT's and CLAM's files with corners") {
  const test::TempFolder folder;
  Coordinates c = read_coordinates(folder.file("c.csv", "barcode,x,y\nA,1.5,2\nB,3,4\n"));
  CHECK(c.names == std::vector<std::string>{"A", "B"});
  CHECK(c.xy == std::vector<double>{1.5, 2, 3, 4});
  CHECK(c.side == 0);
  c = read_coordinates(folder.file("s.csv", ",yaxis,xaxis,r\nspot1,20,10,7.5\nspot2,40,30,7.5\n"));  // STImage-1K4M
  CHECK(c.names == std::vector<std::string>{"spot1", "spot2"});
  CHECK(c.xy == std::vector<double>{10, 20, 30, 40});
  CHECK(c.side == 15);
  c = read_coordinates(folder.file("t.tsv", "x\ty\n1\t2\n"));
  CHECK(c.names == std::vector<std::string>{"1x2"});
  c = read_coordinates(corners(folder, {0, 512, 512, 512}, 256, 512));
  CHECK(c.xy == std::vector<double>{256, 768, 768, 768});
  CHECK(c.names == std::vector<std::string>{"0x512", "512x512"});
  CHECK(c.side == 512);
  CHECK(c.size == 256);
  c = read_coordinates(corners(folder, {0, 0}, 256, 0, 4));
  CHECK(c.side == 1024);
}

TEST_CASE("bad input: coordinates") {
  const test::TempFolder folder;
  auto refuse = [&](const std::string& path, const std::string& line) {
    test::refuses(Exit::data, line, path, [&] { read_coordinates(path); });
  };
  auto table = [&](const std::string& text) { return folder.file("c.csv", text); };
  refuse(table("barcode,x\nA,1\n"), "{}: line 1: no column 'y', expected x and y");
  refuse(table("x,y\n"), "{}: no coordinates, expected at least one place to cut a patch from");
  refuse(table("x,y\n1,nan\n"), "{}: line 2, column 2 ('y'): 'nan', expected a pixel of the image");
  refuse(table("x,y\n1,1e12\n"), "{}: line 2, column 2 ('y'): '1e12', expected a pixel of the image");
  refuse(table("x,y,r\n1,2,3\n1,3,4\n"), "{}: line 3, column 3 ('r'): '4', expected one radius in pixels for all rows");
  refuse(table("x,y\n1,2\n1,2\n"), "{}: '1x2' in row 1 a second time, expected each once");
  refuse(corners(folder, {0, 0}, 256, 0),
         "{}: dataset 'coords': patch_size 256, patch_size_level0 0, expected patches of 1 to 4096 pixels as an attribute");
  refuse(patches(folder, "img"),
         "{}: dataset 'coords': patch_size 0, patch_size_level0 0, expected patches of 1 to 4096 pixels as an attribute");
  Hdf5Writer file(folder.path("n.h5"));
  file.numbers<int64_t>("corners", {1}, std::vector<int64_t>{1}.data());
  file.commit();
  refuse(folder.path("n.h5"), "{}: found corners, expected a dataset 'coords'");
}
