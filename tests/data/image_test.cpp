#include "data/image.h"

#include <doctest/doctest.h>
#include <png.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>

#include "data/png.h"
#include "engine/file.h"
#include "tests/data/tiny.h"

using namespace stflow;

namespace {

/// A PNG of any kind through libpng: rows of `bytes` bytes each.
std::string png_of(const test::TempFolder& folder, int width, int height, int depth, int colour, bool interlaced,
                   const std::vector<uint8_t>& pixels) {
  std::string path = folder.path("made.png");
  FILE* f = std::fopen(path.c_str(), "wb");
  png_structp p = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop i = png_create_info_struct(p);
  png_init_io(p, f);
  png_set_IHDR(p, i, png_uint_32(width), png_uint_32(height), depth, colour, interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(p, i);
  std::vector<png_bytep> rows;
  for (int y = 0; y < height; y++) rows.push_back(const_cast<png_bytep>(pixels.data() + size_t(y) * pixels.size() / size_t(height)));
  png_write_image(p, rows.data());
  png_write_end(p, i);
  png_destroy_write_struct(&p, &i);
  std::fclose(f);
  return path;
}

double largest_difference(const Image& a, const Image& b) {
  REQUIRE(a.rgb.size() == b.rgb.size());
  double worst = 0;
  for (size_t i = 0; i < a.rgb.size(); i++) worst = std::max(worst, std::fabs(double(a.rgb[i]) - double(b.rgb[i])));
  return worst;
}

std::string big_endian(uint32_t x) { return {char(x >> 24), char(x >> 16 & 255), char(x >> 8 & 255), char(x & 255)}; }

/// Replaces the size in a PNG header, with a correct checksum.
std::string resized_png(std::string bytes, uint32_t width, uint32_t height) {
  bytes.replace(16, 8, big_endian(width) + big_endian(height));
  uint32_t crc = ~0u;
  for (size_t i = 12; i < 29; i++) {
    crc ^= static_cast<unsigned char>(bytes[i]);
    for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
  }
  return bytes.replace(29, 4, big_endian(~crc));
}

/// Replaces the size in the first SOF marker of a JPEG.
std::string resized_jpeg(std::string bytes, uint16_t width, uint16_t height) {
  size_t sof = std::min(bytes.find("\xff\xc0"), bytes.find("\xff\xc2"));
  bytes.replace(sof + 5, 4, big_endian(uint32_t(height) << 16 | width));
  return bytes;
}

}  // namespace

TEST_CASE("image: PNG and JPEG, plain, progressive, grey, 16 bits, transparent, interlaced") {
  test::TempFolder folder;
  Image picture = test::picture(61, 43);
  write_png(folder.path("a.png"), picture);
  CHECK(read_image(folder.path("a.png")).rgb == picture.rgb);
  Image smooth{64, 48, std::vector<uint8_t>(64 * 48 * 3, 200)};
  for (size_t i = 0; i < smooth.rgb.size(); i++) smooth.rgb[i] = uint8_t(100 + i / 3 % 64);
  for (bool progressive : {false, true}) {
    test::JpegOptions options;
    options.progressive = progressive;
    Image back = read_image(folder.file("a.jpg", test::jpeg(smooth, options)));
    CHECK(back.width == 64);
    CHECK(largest_difference(back, smooth) <= 3);
  }
  std::vector<uint8_t> grey{10, 20, 30, 40};
  CHECK(read_image(png_of(folder, 2, 2, 8, PNG_COLOR_TYPE_GRAY, false, grey)).rgb ==
        std::vector<uint8_t>{10, 10, 10, 20, 20, 20, 30, 30, 30, 40, 40, 40});
  CHECK(read_image(png_of(folder, 1, 1, 16, PNG_COLOR_TYPE_RGB, false, {255, 255, 128, 0, 0, 0})).rgb == std::vector<uint8_t>{255, 128, 0});
  CHECK(read_image(png_of(folder, 2, 1, 8, PNG_COLOR_TYPE_RGBA, false, {9, 9, 9, 0, 1, 2, 3, 255})).rgb ==
        std::vector<uint8_t>{255, 255, 255, 1, 2, 3});
  CHECK(read_image(png_of(folder, 61, 43, 8, PNG_COLOR_TYPE_RGB, true, picture.rgb)).rgb == picture.rgb);
}

TEST_CASE("image: CMYK becomes RGB, and a density is told") {
  test::TempFolder folder;
  test::JpegOptions options;
  options.cmyk = true;
  Image smooth{64, 48, std::vector<uint8_t>(64 * 48 * 3, 200)};
  for (size_t i = 0; i < smooth.rgb.size(); i++) smooth.rgb[i] = uint8_t(100 + i / 3 % 64);
  CHECK(largest_difference(read_image(folder.file("a.jpg", test::jpeg(smooth, options))), smooth) <= 3);
  std::string bytes = test::jpeg(smooth);
  CHECK(ImageReader(folder.file("b.jpg", bytes)).density() == std::pair<double, double>{0, 0});
  bytes.replace(bytes.find("JFIF") + 7, 5, std::string("\2\x4e\x20\x27\x10", 5));  // 20,000 and 10,000 a centimetre
  CHECK(ImageReader(folder.file("b.jpg", bytes)).density() == std::pair<double, double>{0.5, 1});
}

TEST_CASE("image: reduction averages blocks") {
  test::TempFolder folder;
  write_png(folder.path("a.png"), Image{3, 2, {0, 0, 0, 10, 10, 10, 100, 0, 0, 20, 20, 20, 30, 30, 30, 200, 0, 0}});
  Image half = read_image(folder.path("a.png"), 2);
  CHECK(half.width == 2);
  CHECK(half.height == 1);
  CHECK(half.rgb == std::vector<uint8_t>{15, 15, 15, 150, 0, 0});
}

TEST_CASE("bad input: images") {
  test::TempFolder folder;
  auto refuse = [&](const std::string& bytes, const std::string& line) {
    std::string path = folder.file("bad.img", bytes);
    test::refuses(Exit::data, "{}: " + line, path, [&] { read_image(path); });
  };
  refuse("", "is empty, expected a JPEG or PNG image");
  refuse("<!doctype html><title>404", "is an HTML page, expected a JPEG or PNG image");
  refuse("version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer, not the data, expected a JPEG or PNG image");
  refuse("II*" + std::string(9, '\0'), "is a TIFF image, expected a JPEG or PNG image");
  refuse("wibble", "is of an unknown format, expected a JPEG or PNG image");
  refuse("GIF89a", "header: 0 x 0 pixels, expected at least one");
  refuse("P6\n9 9\n255\nshort", "9 x 9 pixels in 16 bytes, expected a whole PNM image");

  const Image picture = test::picture(64, 48);
  const std::string good = test::jpeg(picture);
  test::JpegOptions options;
  size_t pixels = good.find("\xff\xda");
  refuse(good.substr(0, (pixels + good.size()) / 2), "row 14: Premature end of JPEG file, expected a whole JPEG image");
  refuse(good.substr(0, good.size() - 2), "row 30: Premature end of JPEG file, expected a whole JPEG image");
  refuse(good.substr(0, pixels), "header: Invalid JPEG file structure: missing SOS marker, expected a whole JPEG image");
  refuse(good.substr(0, 20), "header: JPEG datastream contains no image, expected a whole JPEG image");
  std::string damaged = good;
  damaged.replace(pixels + 200, 2, "\xff\xd9");
  refuse(damaged, "row 14: Corrupt JPEG data: premature end of data segment, expected a whole JPEG image");
  refuse(resized_jpeg(good, 65000, 65000),
         "header: 65000 x 65000 pixels in " + std::to_string(good.size()) + " bytes, expected a whole image");
  refuse(resized_jpeg(good, 0, 10), "header: Empty JPEG image (DNL not supported), expected a whole JPEG image");
  options = {};
  options.progressive = true;
  std::string progressive = test::jpeg(picture, options);
  refuse(resized_jpeg(progressive, 16384, 8193) + std::string(200'000, '\0'),
         "header: 16384 x 8193 pixels in progressive or interlaced order, expected at most 134217728 pixels or plain order");
  // The same scan again and again: each would cost a pass over the image.
  size_t first = progressive.find("\xff\xda"), second = progressive.find("\xff\xda", first + 2),
         huffman = progressive.find("\xff\xc4", first + 2);
  std::string scan = progressive.substr(first, std::min(second, huffman) - first), bomb = progressive.substr(0, first);
  for (int i = 0; i < 250; i++) bomb += scan;
  refuse(bomb + "\xff\xd9", "row 0: more than 200 scans, expected a whole JPEG image");

  write_png(folder.path("good.png"), picture);
  const std::string png = read_text(folder.path("good.png"));
  refuse(png.substr(0, png.size() / 2), "row 0: the file ends early, expected a whole PNG image");
  refuse(png.substr(0, 20), "header: the file ends early, expected a whole PNG image");
  refuse(resized_png(png, 60000, 60000),
         "header: 60000 x 60000 pixels in " + std::to_string(png.size()) + " bytes, expected a whole image");
  refuse(resized_png(png, 64, 0), "header: Invalid IHDR data, expected a whole PNG image");
  std::string flipped = png;
  flipped[20] ^= 1;
  refuse(flipped, "header: IHDR: CRC error, expected a whole PNG image");
}

TEST_CASE("image: an EXIF orientation is ignored with a warning") {
  test::TempFolder folder;
  test::JpegOptions options;
  options.orientation = 6;
  std::string path = folder.file("a.jpg", test::jpeg(test::picture(20, 10), options));
  ImageReader reader(path);
  CHECK(reader.width() == 20);
  CHECK(reader.warnings() == std::vector<std::string>{path + ": EXIF orientation 6 ignored: coordinates refer to the pixels as stored"});
  CHECK(ImageReader(folder.file("b.jpg", test::jpeg(test::picture(20, 10)))).warnings().empty());
}

TEST_CASE("bad input: a refused image costs little memory") {
  test::TempFolder folder;
  std::string path = folder.file("bomb.jpg", resized_jpeg(test::jpeg(test::picture(64, 48)), 65000, 65000));
  CHECK(test::in_child([&] {
          rusage before{}, after{};
          ::getrusage(RUSAGE_SELF, &before);
          try {
            read_image(path);
          } catch (const Error&) {
            ::getrusage(RUSAGE_SELF, &after);
            return after.ru_maxrss - before.ru_maxrss < 64 * 1024 ? 42 : 43;
          }
          return 44;
        }) == 42);
}
