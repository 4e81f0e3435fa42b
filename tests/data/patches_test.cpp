#include "data/patches.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "data/png.h"
#include "tests/data/tiny.h"

using namespace stflow;

namespace {

std::map<int64_t, std::vector<uint8_t>> cut(const std::string& image, const std::vector<double>& xy, int64_t side, int size) {
  std::map<int64_t, std::vector<uint8_t>> patches;
  cut_patches(image, xy, side, size, [&](int64_t i, const uint8_t* rgb) {
    CHECK(patches.count(i) == 0);
    patches[i].assign(rgb, rgb + size * size * 3);
  });
  return patches;
}

/// The same patch the plain way, in double: crop, then triangle resampling along x, then along y.
std::vector<uint8_t> plainly(const Image& image, double cx, double cy, int64_t side, int size) {
  auto left = int64_t(std::round(cx - double(side) / 2)), top = int64_t(std::round(cy - double(side) / 2));
  double scale = double(side) / size, support = std::max(1.0, scale);
  auto weight = [&](int o, int64_t i) { return std::max(0.0, 1 - std::fabs(double(i) + 0.5 - (o + 0.5) * scale) / support); };
  std::vector<uint8_t> out;
  for (int oy = 0; oy < size; oy++)
    for (int ox = 0; ox < size; ox++)
      for (int c = 0; c < 3; c++) {
        double sum = 0, total = 0;
        for (int64_t y = 0; y < side; y++)
          for (int64_t x = 0; x < side; x++) {
            double w = weight(oy, y) * weight(ox, x);
            int64_t px = left + x, py = top + y;
            bool inside = px >= 0 && py >= 0 && px < image.width && py < image.height;
            sum += w * (inside ? image.rgb[size_t((py * image.width + px) * 3 + c)] : 255), total += w;
          }
        out.push_back(uint8_t(sum / total + 0.5));
      }
  return out;
}

int largest_difference(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  REQUIRE(a.size() == b.size());
  int worst = 0;
  for (size_t i = 0; i < a.size(); i++) worst = std::max(worst, std::abs(int(a[i]) - int(b[i])));
  return worst;
}

}  // namespace

TEST_CASE("patches: whole pixels are copied, other sizes are resampled without aliasing, outside is white") {
  test::TempFolder folder;
  Image image = test::picture(50, 40);
  write_png(folder.path("a.png"), image);
  const std::vector<double> xy{20, 15, 3, 38, 49.9, 0, 25.4, 20.6, -500, 1e6};
  for (auto [side, size] : {std::pair<int64_t, int>{8, 8}, {16, 7}, {9, 14}, {1, 3}, {64, 5}}) {
    auto patches = cut(folder.path("a.png"), xy, side, size);
    REQUIRE(patches.size() == 5);
    for (int64_t i = 0; i < 5; i++)
      CHECK(largest_difference(patches[i], plainly(image, xy[size_t(2 * i)], xy[size_t(2 * i + 1)], side, size)) <= 1);
  }
  auto exact = cut(folder.path("a.png"), {20, 15}, 8, 8);
  for (int64_t y = 0; y < 8; y++)
    for (int64_t x = 0; x < 24; x++) REQUIRE(exact[0][size_t(y * 24 + x)] == image.rgb[size_t((y + 11) * 150 + 48 + x)]);
}

TEST_CASE("patches: a patch does not depend on the others") {
  test::TempFolder folder;
  write_png(folder.path("a.png"), test::picture(50, 40));
  std::vector<double> xy, reversed;
  for (int i = 0; i < 30; i++) xy.insert(xy.end(), {double(i * 7 % 50), double(i * 11 % 40)});
  for (int i = 29; i >= 0; i--) reversed.insert(reversed.end(), {xy[size_t(2 * i)], xy[size_t(2 * i + 1)]});
  auto a = cut(folder.path("a.png"), xy, 13, 10), b = cut(folder.path("a.png"), reversed, 13, 10);
  for (int64_t i = 0; i < 30; i++) {
    CHECK(a[i] == b[29 - i]);
    CHECK(a[i] == cut(folder.path("a.png"), {xy[size_t(2 * i)], xy[size_t(2 * i + 1)]}, 13, 10)[0]);
  }
}

TEST_CASE("patches: the side follows from microns") {
  Section s;
  s.mpp = 0.6877;
  CHECK(patch_side(s, {112, 224}) == 163);
  s.mpp = 0.5;
  CHECK(patch_side(s, {112, 224}) == 224);
}

TEST_CASE("bad input: coordinates outside the image, in shared places") {
  Section s;
  s.source.sample = std::string("S"), s.source.spots = "s.tsv";
  s.width = 100, s.height = 1000;
  std::vector<std::string> warnings;
  for (int i = 0; i < 200; i++) {
    s.spots.push_back(std::to_string(i));
    s.xy.insert(s.xy.end(), {double(i % 100), double(i * 4)});
  }
  s.xy[0] = 100;
  check_coordinates(s, warnings);
  CHECK(warnings ==
        std::vector<std::string>{"S: 1 of 200 spots outside the 100 x 1000 pixels of the image: their patches are partly or wholly white"});
  s.xy[2] = -1, s.xy[4] = 500;
  test::refuses(Exit::data, "s.tsv: 3 of 200 spots outside the 100 x 1000 pixels of the image, expected at most 1 %", "",
                [&] { check_coordinates(s, warnings); });
  for (size_t i = 0; i < 200; i++) s.xy[2 * i] = double(i * 4), s.xy[2 * i + 1] = double(i % 100);
  test::refuses(Exit::data,
                "s.tsv: 175 of 200 spots outside the 100 x 1000 pixels of the image, expected at most 1 %; swapped axes fit better", "",
                [&] { check_coordinates(s, warnings); });
  warnings.clear();
  for (double& x : s.xy) x = 50;
  check_coordinates(s, warnings);
  CHECK(warnings == std::vector<std::string>{"S: 199 spots stand exactly where another one stands"});
  warnings.clear();
  // Coordinates are double: neighbours beyond 2^24 pixels stay apart.
  s.spots = {"a", "b"}, s.xy = {16777216.25, 1, 16777216.5, 1};
  s.width = int64_t(1) << 30;
  check_coordinates(s, warnings);
  CHECK(warnings.empty());
}
