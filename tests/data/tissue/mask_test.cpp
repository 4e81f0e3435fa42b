#include "data/tissue/mask.h"

#include <doctest/doctest.h>

#include <cmath>

#include "data/tissue/morphology.h"
#include "engine/random.h"
#include "engine/threads.h"
#include "tests/data/tissue/slide.h"

using namespace stflow;
using namespace stflow::test;

namespace {

/// Of the pixels of a rectangle, how many are tissue.
double share_in(const TissueMask& m, double x0, double y0, double x1, double y1) {
  return TissueShare(m).around((x0 + x1) / 2, (y0 + y1) / 2, std::min(x1 - x0, y1 - y0));
}

}  // namespace

TEST_CASE("tissue: a stained disc on a bright, a pink and a grey slide is found within a pixel of its border") {
  for (const Rgb background : {Rgb{245, 243, 242}, Rgb{235, 217, 232}, Rgb{186, 189, 197}}) {
    Image slide = blank_slide(200, 160, background);
    draw_tissue(slide, 80, 70, 45);
    const TissueMask m = find_tissue(slide, 8);
    CHECK(m.scale == 1);
    int64_t wrong = 0;
    for (int64_t y = 0; y < 160; y++)
      for (int64_t x = 0; x < 200; x++) {
        const double from = std::hypot(double(x) - 80, double(y) - 70) - 45;
        if (std::abs(from) > 3 && m.at(double(x), double(y)) != (from < 0)) wrong++;
      }
    CHECK(wrong == 0);
    CHECK(m.share() == doctest::Approx(3.14159 * 45 * 45 / (200 * 160)).epsilon(0.05));
  }
}

TEST_CASE("tissue: an empty slide, a black and a grey one have none, a full one is full") {
  for (const Rgb background : {Rgb{245, 243, 242}, Rgb{255, 255, 255}, Rgb{0, 0, 0}, Rgb{128, 128, 128}})
    CHECK(find_tissue(blank_slide(120, 90, background), 8).empty());
  Image full = blank_slide(120, 90, {245, 243, 242});
  draw_tissue(full, 60, 45, 500);
  CHECK(find_tissue(full, 8).share() > 0.99);
  CHECK(find_tissue(Image{}, 8).empty());
}

TEST_CASE("tissue: black borders, grey frames, printed dots, dust and washed-out eosin are none") {
  Image slide = blank_slide(240, 200, {240, 236, 238});
  draw_tissue(slide, 130, 100, 40);
  for (int64_t y = 0; y < 200; y++)
    for (int64_t x = 0; x < 240; x++) {
      if (x < 20 || y > 190) set_pixel(slide, x, y, {4, 6, 9});
      else if (x > 210 && y < 60) set_pixel(slide, x, y, {110, 108, 109});
      else if (x % 10 < 2 && y % 10 < 2 && x > 200) set_pixel(slide, x, y, {150, 148, 150});
      else if (std::hypot(double(x) - 60, double(y) - 150) < 25) set_pixel(slide, x, y, {242, 222, 234});  // a wash
    }
  const TissueMask m = find_tissue(slide, 8);
  CHECK(m.share() == doctest::Approx(3.14159 * 40 * 40 / (240 * 200)).epsilon(0.06));
  CHECK(m.at(130, 100));
  CHECK_FALSE(m.at(60, 150));
  CHECK_FALSE(m.at(10, 100));
}

TEST_CASE("tissue: pen marks are left out unless they are to stay") {
  const Rgb pens[] = {{20, 150, 60}, {30, 60, 190}, {25, 30, 160}, {230, 25, 35}, {20, 170, 190}};
  for (const Rgb pen : pens) {
    Image slide = blank_slide(200, 160, {245, 243, 242});
    draw_tissue(slide, 60, 80, 40);
    for (int64_t y = 20; y < 140; y++)
      for (int64_t x = 140; x < 155; x++) set_pixel(slide, x, y, pen);
    TissueOptions keep;
    keep.remove_penmarks = false;
    CHECK(find_tissue(slide, 8, keep).at(147, 80));
    const TissueMask m = find_tissue(slide, 8);
    CHECK(share_in(m, 130, 20, 165, 140) == 0);
    CHECK(share_in(m, 40, 60, 80, 100) == 1);
  }
}

TEST_CASE("tissue: limits on pieces and holes are in square microns") {
  Image slide = blank_slide(300, 200, {245, 243, 242});
  draw_tissue(slide, 100, 100, 70);
  draw_tissue(slide, 240, 60, 16);  // 51,000 square microns at 8 microns a pixel
  draw_tissue(slide, 240, 150, 8);  // 13,000
  erase_disc(slide, 80, 90, 16);
  erase_disc(slide, 125, 110, 9);
  const TissueMask m = find_tissue(slide, 8);
  CHECK(m.at(240, 60));
  CHECK_FALSE(m.at(240, 150));
  CHECK(m.at(125, 110));
  TissueOptions o;
  o.max_hole = 20'000;
  CHECK_FALSE(find_tissue(slide, 8, o).at(80, 90));
  o.remove_holes = false;
  CHECK(find_tissue(slide, 8, o).at(80, 90));
  o.min_area = 5000;
  CHECK(find_tissue(slide, 8, o).at(240, 150));
}

TEST_CASE("tissue: a finer thumbnail is reduced, coordinates are of the full image") {
  Image slide = blank_slide(403, 301, {245, 243, 242});
  draw_tissue(slide, 200, 150, 90);
  const TissueMask m = find_tissue(slide, 2, {}, 16);  // 2 microns a pixel of the thumbnail, 0.125 of the slide
  CHECK(m.width == 101);
  CHECK(m.height == 76);
  CHECK(m.scale == 64);
  CHECK(m.at(200 * 16, 150 * 16));
  CHECK_FALSE(m.at(40 * 16, 150 * 16));
  for (const double x : {-0.5, 1e9, double(NAN)}) CHECK_FALSE(m.at(x, 10));
}

TEST_CASE("tissue: the same bytes at any number of threads") {
  Image slide = blank_slide(333, 222, {235, 217, 232});
  draw_tissue(slide, 150, 100, 60);
  const int before = thread_count();
  set_thread_count(1);
  const TissueMask one = find_tissue(slide, 4);
  set_thread_count(3);
  CHECK(find_tissue(slide, 4).on == one.on);
  set_thread_count(before);
}

TEST_CASE("tissue: the share of a square is exact, also where mask pixels are cut") {
  const TissueMask m{4, 3, 10, {0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1}};
  const TissueShare share(m);
  CHECK(share.around(15, 5, 10) == 1);
  CHECK(share.around(5, 5, 10) == 0);
  CHECK(share.around(10, 5, 10) == doctest::Approx(0.5));
  CHECK(share.around(20, 10, 20) == doctest::Approx(0.75));
  CHECK(share.around(20, 10, 10) == doctest::Approx(0.75));
  CHECK(share.around(40, 30, 20) == doctest::Approx(0.25));  // three quarters lie outside
  CHECK(share.around(-100, 5, 10) == 0);
  CHECK(share.around(20, 15, 1000) == doctest::Approx(4 * 100 / 1e6));
}

TEST_CASE("tissue: morphology against its definition") {
  for (const int64_t radius : {1, 2, 5}) {
    Bitmap b{13, 7, std::vector<uint8_t>(91)};
    for (size_t i = 0; i < 91; i++) b.on[i] = RandomKey(7, Stream::test).draw(i).v[0] % 3 == 0;
    Bitmap dilated = b, eroded = b, median = b;
    dilate(dilated, radius), erode(eroded, radius), majority(median, radius);
    for (int64_t y = 0; y < 7; y++)
      for (int64_t x = 0; x < 13; x++) {
        int64_t ones = 0, all = 0;
        for (int64_t v = y - radius; v <= y + radius; v++)
          for (int64_t u = x - radius; u <= x + radius; u++)
            if (u >= 0 && v >= 0 && u < 13 && v < 7) ones += b.on[size_t(v * 13 + u)], all++;
        const auto at = size_t(y * 13 + x);
        REQUIRE(dilated.on[at] == (ones > 0));
        REQUIRE(eroded.on[at] == (ones == all));
        REQUIRE(median.on[at] == (2 * ones > all));
      }
  }
  Bitmap b{4, 3, {1, 0, 1, 1, 0, 1, 0, 0, 0, 1, 0, 1}};  // ones that touch by corners are several pieces
  std::vector<size_t> sizes;
  flip_pieces(b, 1, [&](const auto& piece, bool) {
    sizes.push_back(piece.size());
    return piece.size() == 1;
  });
  CHECK(sizes == std::vector<size_t>{1, 2, 2, 1});
  CHECK(b.on == std::vector<uint8_t>{0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0});
}
