#include "data/tiles.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "data/png.h"
#include "model/tile_statistics.h"
#include "tests/files.h"

using namespace stflow;

namespace {

std::string picture_of(const test::TempFolder& folder, int side, const std::vector<int>& colour) {
  Image image{side, side, {}};
  for (int i = 0; i < side * side; i++)
    for (int v : colour) image.rgb.push_back(uint8_t(v));
  write_png(folder.path("flat.png"), image);
  return folder.path("flat.png");
}

}  // namespace

TEST_CASE("tiles: a flat picture gives its density; the stain jitter moves it, and each key gives one tile") {
  test::TempFolder folder;
  const std::string path = picture_of(folder, 128, {200, 120, 180});
  std::vector<float> a(32 * 32 * 3), b(a.size());
  TileSource still({{path, 48}}, 32, {.scale = 0.2, .stain = 0, .base = 0});
  CHECK(still.blocks() == 16);
  still.tile(RandomKey(1, Stream::augment, 2, 3), a.data());
  double worst = 0;
  for (size_t i = 0; i < a.size(); i++)
    worst = std::max(worst, std::fabs(double(a[i]) + std::log((std::vector{200, 120, 180}[i % 3] + 1) / 256.0)));
  CHECK(worst < 1e-5);
  TileSource moving({{path, 48}}, 32, {.scale = 0.2, .stain = 0.2, .base = 0.05});
  moving.tile(RandomKey(1, Stream::augment, 2, 3), b.data());
  CHECK(std::fabs(b[0] - a[0]) > 1e-4f);
  moving.tile(RandomKey(1, Stream::augment, 2, 3), a.data());
  CHECK(a == b);
  moving.tile(RandomKey(1, Stream::augment, 3, 3), a.data());
  CHECK(a != b);
}

TEST_CASE("tiles: white and black are no tissue, and a picture has to hold a tile") {
  test::TempFolder folder;
  for (const auto& colour : {std::vector<int>{250, 250, 250}, {5, 5, 5}, {128, 128, 128}}) {
    const std::string path = picture_of(folder, 128, colour);
    test::refuses(Exit::data, "{}: image: no tissue, expected coloured blocks of 32 pixels", path, [&] {
      TileSource({{path, 32}}, 32, {});
    });
  }
  const std::string path = picture_of(folder, 40, {200, 120, 180});
  test::refuses(Exit::data, "{}: header: 40 x 40 pixels, expected at least 43 x 43 for a tile", path, [&] {
    TileSource({{path, 32}}, 32, {});
  });
}

TEST_CASE("tile_statistics: flat, striped and partly seen tiles") {
  constexpr int size = 32, patch = 16;
  std::vector<float> tile(size * size * 3), flat(kTileStatistics), got(kTileStatistics), patches(4 * kPatchStatistics);
  std::fill(tile.begin(), tile.end(), 0.5f);
  tile_statistics(tile.data(), size, patch, nullptr, flat.data(), patches.data());
  for (int i = 0; i < kTileStatistics; i++) CHECK(flat[size_t(i)] == doctest::Approx(i < 3 ? 0.5 : 0.0));
  CHECK(patches[0] == doctest::Approx(1.5));
  CHECK(patches[1] == doctest::Approx(std::log(0.02) + 2));

  for (int y = 0; y < size; y++)  // the right half: columns 0 and 1 in turn, in the first channel
    for (int x = size / 2; x < size; x++) tile[size_t((y * size + x) * 3)] = float(x % 2);
  const uint8_t left[4] = {1, 0, 1, 0}, right[4] = {0, 1, 0, 1};
  tile_statistics(tile.data(), size, patch, left, got.data(), patches.data());
  CHECK(got[0] == doctest::Approx(0.5));
  CHECK(got[3] == doctest::Approx(0.0));
  tile_statistics(tile.data(), size, patch, right, got.data(), patches.data());
  CHECK(got[0] == doctest::Approx(0.5));
  CHECK(got[3] == doctest::Approx(0.5));   // deviation
  CHECK(got[6] == doctest::Approx(0.0));   // third moment
  CHECK(got[9] == doctest::Approx(0.25));  // variance
  CHECK(got[15] == doctest::Approx(1.0));  // differences to the right at full resolution ...
  CHECK(got[24] == doctest::Approx(0.0));  // ... and none after averaging two pixels
  CHECK(patches[0] == doctest::Approx(1.5));
  CHECK(patches[kPatchStatistics + 2] == doctest::Approx(std::log(1.01) + 2.5));
}
