#include "data/tissue/grid.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "tests/files.h"

using namespace stflow;

namespace {

TissueMask full(int64_t width, int64_t height, double scale) {
  return {width, height, scale, std::vector<uint8_t>(size_t(width * height), 1)};
}

}  // namespace

TEST_CASE("grid: a hexagonal one has six neighbours at the pitch, and Visium's columns") {
  const Places p = lay_grid(full(50, 50, 100), 5000, 5000, 0.5, {.pitch = 100, .patch = 112, .least_share = 0});
  CHECK(p.pitch == 200);
  CHECK(p.side == 224);
  CHECK(p.size() == 15 * 25 + 14 * 24);
  int64_t inner = 0;
  for (int64_t i = 0; i < p.size(); i++) {
    const double x = p.xy[size_t(2 * i)], y = p.xy[size_t(2 * i + 1)];
    CHECK((p.array_row[size_t(i)] + p.array_col[size_t(i)]) % 2 == 0);
    CHECK(x == doctest::Approx(100 + 100 * p.array_col[size_t(i)]));
    CHECK(y == doctest::Approx(100 + 100 * std::sqrt(3.0) * p.array_row[size_t(i)]));
    if (x < 400 || y < 400 || x > 4600 || y > 4600) continue;
    int near = 0;
    for (int64_t j = 0; j < p.size(); j++) near += j != i && std::hypot(p.xy[size_t(2 * j)] - x, p.xy[size_t(2 * j + 1)] - y) < 201;
    CHECK(near == 6);
    inner++;
  }
  CHECK(inner > 300);
  CHECK(p.names[0] == "r00000_c00000");
  CHECK(p.names[25] == "r00001_c00001");
}

TEST_CASE("grid: a square one is tiles from the corner, overlapping where its pitch is less than a patch") {
  const Places p = lay_grid(full(10, 6, 100), 1000, 600, 0.5, {.hexagonal = false, .pitch = 100, .patch = 100, .least_share = 0});
  CHECK(p.size() == 15);
  CHECK(p.xy[0] == 100);
  CHECK(p.xy[1] == 100);
  CHECK(p.xy[2] == 300);
  CHECK(p.names.back() == "r00002_c00004");
  const Places half = lay_grid(full(10, 6, 100), 1000, 600, 0.5, {.hexagonal = false, .pitch = 50, .patch = 100, .least_share = 0});
  CHECK(half.pitch == 100);
  CHECK(half.xy[2] == 200);
  CHECK(half.size() == 9 * 5);
}

TEST_CASE("grid: another share of tissue leaves positions out and renames none") {
  TissueMask m = full(40, 40, 50);
  for (int64_t y = 0; y < 40; y++)
    for (int64_t x = 0; x < 40; x++) m.on[size_t(y * 40 + x)] = x >= 18 && std::hypot(double(x) - 20, double(y) - 20) < 12;
  int64_t before = 0;
  std::set<std::string> more;
  for (const double share : {0.0, 0.25, 0.5, 1.0}) {
    const Places p = lay_grid(m, 2000, 2000, 0.5, {.pitch = 60, .least_share = share});
    CHECK(p.size() > 0);
    const TissueShare exact(m);
    const std::set<std::string> names(p.names.begin(), p.names.end());
    CHECK(int64_t(names.size()) == p.size());
    if (before > 0) {
      CHECK(p.size() < before);
      for (const std::string& n : names) CHECK(more.contains(n));
    }
    for (int64_t i = 0; i < p.size(); i++) {
      const double found = exact.around(p.xy[size_t(2 * i)], p.xy[size_t(2 * i + 1)], p.side);
      CHECK(found >= share);
      CHECK(found > 0);
    }
    before = p.size(), more = names;
  }
}

TEST_CASE("grid: given positions in tissue keep their names and order") {
  TissueMask m = full(10, 10, 10);
  for (size_t i = 0; i < 50; i++) m.on[i] = 0;
  const Places p = keep_in_tissue(m, {"a", "b", "c"}, {50, 80, 50, 20, 20, 60}, 20, 0.9);
  CHECK(p.names == std::vector<std::string>{"a", "c"});
  CHECK(p.xy == std::vector<double>{50, 80, 20, 60});
  CHECK(p.array_row.empty());
}

TEST_CASE("grid: a slide of 100,000 x 80,000 pixels, one narrower than the pitch") {
  const Places p = lay_grid(full(1000, 800, 100), 100'000, 80'000, 0.25, {.least_share = 0.25});
  CHECK(p.size() == 116 * 250 + 115 * 249);
  CHECK(lay_grid(full(1, 1, 10), 10, 10, 0.5, {}).size() == 0);
}

TEST_CASE("bad input: a pitch that makes more positions than memory holds") {
  test::refuses(Exit::usage, "pitch: found 0.5 microns, 115470 rows of 199999 columns, expected a wider one", "",
                [] { lay_grid(full(10, 10, 10'000), 100'000, 100'000, 0.5, {.pitch = 0.5}); });
}
