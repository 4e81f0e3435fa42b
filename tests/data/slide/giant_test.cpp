// A slide of the size that scanners make, written sparsely: reading it must not cost memory by its size.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <tiffio.h>

#include <vector>

#include "data/slide/slide.h"
#include "engine/error.h"
#include "tests/files.h"

using namespace stflow;
using namespace stflow::test;

namespace {

/// 8-bit RGB tiles of 256, of which only those in `written` (column, row) exist; the others are background.
void write_level(TIFF* t, int64_t width, int64_t height, const std::vector<std::pair<int64_t, int64_t>>& written) {
  TIFFSetField(t, TIFFTAG_IMAGEWIDTH, uint32_t(width)), TIFFSetField(t, TIFFTAG_IMAGELENGTH, uint32_t(height));
  TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, 8), TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, 3);
  TIFFSetField(t, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB), TIFFSetField(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  TIFFSetField(t, TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE);
  TIFFSetField(t, TIFFTAG_TILEWIDTH, 256), TIFFSetField(t, TIFFTAG_TILELENGTH, 256);
  TIFFSetField(t, TIFFTAG_RESOLUTIONUNIT, RESUNIT_CENTIMETER);
  TIFFSetField(t, TIFFTAG_XRESOLUTION, 20000.0), TIFFSetField(t, TIFFTAG_YRESOLUTION, 20000.0);
  for (const auto& [i, j] : written) {
    std::vector<uint8_t> tile(size_t(256) * 256 * 3, uint8_t(40 + (i + 3 * j) % 150));
    REQUIRE(TIFFWriteEncodedTile(t, uint32_t(j * ((width + 255) / 256) + i), tile.data(), tmsize_t(tile.size())) >= 0);
  }
  REQUIRE(TIFFWriteDirectory(t));
}

}  // namespace

TEST_CASE("slow: a sparse pyramid of 100,000 x 80,000 pixels costs little memory to open, to read and to reduce") {
  const TempFolder folder;
  const std::string path = folder.path("giant.tif");
  TIFF* t = TIFFOpen(path.c_str(), "w8");
  REQUIRE(t);
  write_level(t, 100'000, 80'000, {{0, 0}, {390, 312}, {200, 100}});
  write_level(t, 6'250, 5'000, {{12, 6}});
  TIFFClose(t);
  CHECK(in_child([&] {
          rusage before{}, after{};
          ::getrusage(RUSAGE_SELF, &before);
          const SlideImage s(path);
          if (s.width() != 100'000 || s.levels().size() != 2 || s.mpp() != 0.5) return 1;
          if (s.read(0, 200 * 256 + 255, 100 * 256 + 255, 2, 1).rgb != std::vector<uint8_t>{90, 90, 90, 255, 255, 255}) return 2;
          if (s.patch(99'999, 79'999, 224, 224).rgb[0] != 40 + (390 + 3 * 312) % 150) return 3;
          for (int64_t i = 0; i < 300; i++) static_cast<void>(s.patch(i * 300, i * 250, 448, 224));
          if (s.thumbnail(1024).height != 819) return 4;
          ::getrusage(RUSAGE_SELF, &after);
          return after.ru_maxrss - before.ru_maxrss < 200 * 1024 ? 42 : 43;
        }) == 42);
}
