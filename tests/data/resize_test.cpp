#include "data/resize.h"

#include <doctest/doctest.h>

#include "data/table.h"
#include "engine/file.h"
#include "engine/hash.h"
#include "tests/files.h"

using namespace stflow;

namespace {

/// As tests/fixtures/make_resize_golden.py draws it.
Image picture(int64_t width, int64_t height) {
  Image image{width, height, {}};
  for (uint32_t y = 0; y < uint32_t(height); y++)
    for (uint32_t x = 0; x < uint32_t(width); x++)
      for (uint32_t c = 0; c < 3; c++) {
        const uint32_t fine = (x * 73856093u) ^ (y * 19349663u) ^ (c * 83492791u);
        const uint32_t coarse = ((x >> 3) * 2654435761u) ^ ((y >> 3) * 2246822519u) ^ (c * 3266489917u);
        image.rgb.push_back(uint8_t((x + y) & 2 ? fine >> 13 : coarse >> 21));
      }
  return image;
}

std::string digest(const Image& image) { return sha256({reinterpret_cast<const char*>(image.rgb.data()), image.rgb.size()}); }

}  // namespace

TEST_CASE("resize: every byte is Pillow's, and torchvision's crop") {
  const std::string path = "tests/fixtures/resize_golden.csv";
  const FileView file(path);
  Table table(file.text(), path, ',');
  int cases = 0;
  for (; table.next(); cases++) {
    const Image in = picture(table.integer(1), table.integer(2));
    const int64_t a = table.integer(3), b = table.integer(4);
    const PixelFilter filter = table.cell(5) == "bicubic" ? PixelFilter::bicubic : PixelFilter::bilinear;
    CAPTURE(table.line());
    const Image out = table.cell(0) == "resize" ? resize(in, a, b, filter) : preprocess(in, a, filter, b);
    CHECK(out.rgb.size() == size_t(out.width * out.height * 3));
    CHECK(digest(out) == table.cell(6));
  }
  CHECK(cases == 64);
}

TEST_CASE("resize: a small picture in full, to see where a difference is") {
  CHECK(resize(picture(4, 3), 3, 4, PixelFilter::bilinear).rgb ==
        std::vector<uint8_t>{0,  21,  43,  56, 91,  142, 150, 121, 112, 3,   54,  62,  52, 143, 162, 72, 84, 99,
                             40, 111, 133, 43, 139, 158, 16,  46,  73,  101, 173, 231, 34, 81,  132, 0,  21, 43});
  CHECK(resize(picture(4, 3), 3, 4, PixelFilter::bicubic).rgb ==
        std::vector<uint8_t>{0,  10,  30,  54, 87,  146, 166, 131, 114, 0,   38,  40,  54, 158, 174, 77, 83, 99,
                             40, 113, 133, 44, 152, 166, 6,   33,  64,  114, 188, 250, 31, 73,  128, 0,  12, 30});
}

TEST_CASE("resize: a patch of the right size goes through untouched, without a copy") {
  Image image = picture(24, 24);
  const auto bytes = image.rgb;
  const uint8_t* where = image.rgb.data();
  image = preprocess(std::move(image), 24, PixelFilter::bicubic, 24);
  CHECK(image.rgb.data() == where);
  CHECK(image.rgb == bytes);
  image = preprocess(std::move(image), 0, PixelFilter::bilinear, 0);
  CHECK(image.rgb.data() == where);
}
