#include "data/tissue/contours.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/random.h"
#include "tests/files.h"

using namespace stflow;

namespace {

TissueMask random_mask(int64_t width, int64_t height, uint64_t seed, uint32_t of_ten) {
  TissueMask m{width, height, 2.5, std::vector<uint8_t>(size_t(width * height))};
  for (size_t i = 0; i < m.on.size(); i++) m.on[i] = RandomKey(seed, Stream::test).draw(i).v[0] % 10 < of_ten;
  return m;
}

double area(const Ring& r) {
  double sum = 0;
  for (size_t i = 0; i < r.size(); i++) sum += r[i].x * r[(i + 1) % r.size()].y - r[(i + 1) % r.size()].x * r[i].y;
  return sum / 2;
}

}  // namespace

TEST_CASE("contours: a ring of tissue has an outer line and a hole, corners only") {
  TissueMask m{5, 4, 10, std::vector<uint8_t>(20, 1)};
  m.on[6] = m.on[7] = 0;
  const std::vector<Polygon> p = contours(m, 0);
  REQUIRE(p.size() == 1);
  CHECK(p[0].outer == Ring{{50, 0}, {50, 40}, {0, 40}, {0, 0}});
  REQUIRE(p[0].holes.size() == 1);
  CHECK(area(p[0].outer) == 2000);
  CHECK(area(p[0].holes[0]) == -200);
}

TEST_CASE("contours: pieces that touch by a corner are two, holes that do are one or two lines around them") {
  const std::vector<Polygon> p = contours(TissueMask{2, 2, 1, {1, 0, 0, 1}}, 0);
  REQUIRE(p.size() == 2);
  CHECK(p[0].outer == Ring{{1, 0}, {1, 1}, {0, 1}, {0, 0}});
  CHECK(p[1].outer == Ring{{2, 1}, {2, 2}, {1, 2}, {1, 1}});
  CHECK(contours(TissueMask{3, 2, 1, {0, 0, 0, 0, 0, 0}}, 0).empty());
  CHECK(contours(TissueMask{}, 0).empty());
}

TEST_CASE("contours: the mask of the outlines is the mask") {
  for (uint64_t seed = 0; seed < 40; seed++) {
    const TissueMask m = random_mask(1 + int64_t(seed % 17), 1 + int64_t(seed % 13), seed, 1 + uint32_t(seed % 9));
    const std::vector<Polygon> p = contours(m, 0);
    CHECK(mask_of(p, m.width, m.height, m.scale, "t").on == m.on);
    double all = 0;
    for (const Polygon& q : p) {
      CHECK(area(q.outer) > 0);
      all += area(q.outer);
      for (const Ring& hole : q.holes) all += area(hole);
    }
    CHECK(all == doctest::Approx(m.share() * double(m.on.size()) * 2.5 * 2.5));
  }
}

TEST_CASE("contours: simplified outlines stay within the tolerance") {
  TissueMask m{120, 90, 4, std::vector<uint8_t>(size_t(120 * 90))};
  for (int64_t y = 0; y < 90; y++)
    for (int64_t x = 0; x < 120; x++) m.on[size_t(y * 120 + x)] = std::hypot(double(x) - 60, double(y) - 45) < 40;
  const std::vector<Polygon> whole = contours(m, 0), few = contours(m);
  REQUIRE(few.size() == 1);
  CHECK(few[0].outer.size() < whole[0].outer.size() / 2);
  const TissueMask again = mask_of(few, 120, 90, 4, "t");
  int64_t differ = 0;
  for (int64_t y = 0; y < 90; y++)
    for (int64_t x = 0; x < 120; x++) {
      const double from = std::abs(std::hypot(double(x) - 60, double(y) - 45) - 40);
      const bool same = again.on[size_t(y * 120 + x)] == m.on[size_t(y * 120 + x)];
      CHECK((same || from < 2));
      differ += !same;
    }
  CHECK(differ < 120);
}

TEST_CASE("contours: points on left and upper sides are inside, on right and lower ones outside") {
  const Polygon left{{{0, 0}, {2, 0}, {2, 2}, {0, 2}}, {}}, right{{{2, 0}, {4, 0}, {4, 2}, {2, 2}}, {}};
  CHECK(contains(left, {0, 0}));
  CHECK(contains(left, {1, 0}));
  CHECK_FALSE(contains(left, {2, 1}));
  CHECK_FALSE(contains(left, {1, 2}));
  CHECK(contains(right, {2, 1}));
  const Polygon holed{{{0, 0}, {9, 0}, {9, 9}, {0, 9}}, {{{3, 3}, {6, 3}, {6, 6}, {3, 6}}}};
  CHECK_FALSE(contains(holed, {4, 4}));
  CHECK(contains(holed, {7, 4}));
  CHECK(contains(holed, {6, 4}));  // a hole's right side is tissue's left
  // Two triangles that share a slanted side: each point is in one of them.
  const Polygon a{{{0, 0}, {7, 0}, {3, 10}}, {}}, b{{{7, 0}, {3, 10}, {9, 9}}, {}};
  const TissueMask ma = mask_of({a}, 20, 20, 0.5, "t"), mb = mask_of({b}, 20, 20, 0.5, "t");
  for (int64_t y = 0; y < 20; y++)
    for (int64_t x = 0; x < 20; x++) {
      const Vertex p{(double(x) + 0.5) / 2, (double(y) + 0.5) / 2};
      const auto at = size_t(y * 20 + x);
      CHECK((ma.on[at] != 0) == contains(a, p));
      CHECK((mb.on[at] != 0) == contains(b, p));
      CHECK(ma.on[at] + mb.on[at] <= 1);
    }
}

TEST_CASE("contours: polygons that overlap add up, those outside are cut") {
  const Polygon big{{{-50, -50}, {3, -50}, {3, 3}, {-50, 3}}, {}}, small{{{1, 1}, {2, 1}, {2, 2}, {1, 2}}, {}};
  const TissueMask m = mask_of({big, small, {{{90, 90}, {99, 90}, {99, 99}}, {}}}, 5, 4, 1, "t");
  CHECK(m.on == std::vector<uint8_t>{1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("bad input: outlines that would take minutes") {
  std::vector<Polygon> many(2500, Polygon{{{0, 0}, {1000, 0}, {0, 1000}}, {}});
  test::refuses(Exit::data, "t.geojson: polygon 1997: 2500 polygons cover too many pixels, expected fewer or smaller ones", "",
                [&] { mask_of(many, 1000, 1000, 1, "t.geojson"); });
}
