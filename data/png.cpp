#include "data/png.h"

#include <zlib.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "engine/error.h"
#include "engine/file.h"

namespace stflow {
namespace {

std::string big_endian(uint32_t x) { return {char(x >> 24), char(x >> 16 & 255), char(x >> 8 & 255), char(x & 255)}; }

/// Length, type, content, CRC of type and content.
std::string chunk(const std::string& type, const std::string& content) {
  std::string body = type + content;
  auto crc = uint32_t(crc32(0, reinterpret_cast<const Bytef*>(body.data()), uInt(body.size())));
  return big_endian(uint32_t(content.size())) + body + big_endian(crc);
}

/// Filter 4 of the PNG specification: the neighbour (left, above, upper left) nearest to left + above - upper left.
uint8_t paeth(int a, int b, int c) {
  int pa = std::abs(b - c), pb = std::abs(a - c), pc = std::abs(a + b - 2 * c);
  return uint8_t(pa <= pb && pa <= pc ? a : pb <= pc ? b : c);
}

}  // namespace

// A PNG is a signature and four chunks; written here because libpng would add nothing but its error jumps.
void write_png(const std::string& path, const Image& image) {
  const int64_t bytes = image.width * 3;
  check(image.width > 0 && image.height > 0 && int64_t(image.rgb.size()) == bytes * image.height, "{}: {} bytes for {} x {} pixels", path,
        image.rgb.size(), image.width, image.height);
  std::string raw;
  raw.reserve(size_t((bytes + 1) * image.height));
  for (int64_t y = 0; y < image.height; y++) {
    const uint8_t* row = image.rgb.data() + y * bytes;
    const uint8_t* above = y > 0 ? row - bytes : nullptr;
    raw.push_back(4);
    for (int64_t i = 0; i < bytes; i++) {
      int left = i >= 3 ? row[i - 3] : 0, up = above ? above[i] : 0, corner = above && i >= 3 ? above[i - 3] : 0;
      raw.push_back(char(uint8_t(row[i] - paeth(left, up, corner))));
    }
  }
  uLongf size = compressBound(uLong(raw.size()));
  std::string packed(size, '\0');
  check(compress2(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(raw.data()), uLong(raw.size()), 6) == Z_OK,
        "{}: deflate failed", path);
  packed.resize(size);
  std::string header = big_endian(uint32_t(image.width)) + big_endian(uint32_t(image.height)) + std::string("\x08\x02\0\0\0", 5);
  write_atomic(path, "\x89PNG\r\n\x1a\n" + chunk("IHDR", header) + chunk("IDAT", packed) + chunk("IEND", ""));
}

}  // namespace stflow
