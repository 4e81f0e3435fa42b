// A slide of the size that scanners make through the command, with the encoder that comes with stflow, in bounded memory.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <tiffio.h>

#include <nlohmann/json.hpp>

#include "data/spatial/h5ad.h"
#include "tests/run.h"
#include "tests/tools/tiny_run.h"

using namespace stflow;

namespace {

constexpr int64_t kTile = 256;

/// Tiles of stained tissue at the places [low, high) of both axes; all others are background that takes no room.
void write_level(TIFF* t, int64_t width, int64_t height, int64_t low, int64_t high) {
  TIFFSetField(t, TIFFTAG_IMAGEWIDTH, uint32_t(width)), TIFFSetField(t, TIFFTAG_IMAGELENGTH, uint32_t(height));
  TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, 8), TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, 3);
  TIFFSetField(t, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB), TIFFSetField(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  TIFFSetField(t, TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE);
  TIFFSetField(t, TIFFTAG_TILEWIDTH, uint32_t(kTile)), TIFFSetField(t, TIFFTAG_TILELENGTH, uint32_t(kTile));
  TIFFSetField(t, TIFFTAG_RESOLUTIONUNIT, RESUNIT_CENTIMETER);
  TIFFSetField(t, TIFFTAG_XRESOLUTION, 20000.0), TIFFSetField(t, TIFFTAG_YRESOLUTION, 20000.0);  // 0.5 um
  std::vector<uint8_t> tile(size_t(kTile * kTile * 3));
  for (int64_t p = 0; p < kTile * kTile; p++) {
    const int64_t x = p % kTile, y = p / kTile;
    uint8_t* at = tile.data() + p * 3;
    at[0] = uint8_t(170 + (x * 7 + y * 3) % 60), at[1] = uint8_t(70 + (x * 5 + y * 11) % 60), at[2] = uint8_t(150 + (x + y) % 60);
  }
  for (int64_t j = low; j < high; j++)
    for (int64_t i = low; i < high; i++)
      REQUIRE(TIFFWriteEncodedTile(t, uint32_t(j * ((width + kTile - 1) / kTile) + i), tile.data(), tmsize_t(tile.size())) >= 0);
  REQUIRE(TIFFWriteDirectory(t));
}

}  // namespace

TEST_CASE("slow: predict: a sparse pyramid of 100,000 x 80,000 pixels stays below --max-mem") {
  const test::TinyRun data;
  const std::string encoder = "weights/stflow-vit.safetensors", slide = data.path("giant.tif"), out = data.path("giant.h5ad");
  REQUIRE(test::run_stflow(data.words("run", {"--encoder", encoder, "--epochs", "1", "--members", "1"})).code == 0);
  TIFF* t = TIFFOpen(slide.c_str(), "w8");
  REQUIRE(t);
  write_level(t, 100'000, 80'000, 160, 176);  // 2 x 2 mm
  write_level(t, 6'250, 5'000, 10, 11);
  TIFFClose(t);
  const pid_t process = test::start_stflow({"predict", slide, "--model", data.path("run"), "--encoder", encoder, "--out", out, "--max-mem",
                                            "512M", "--quiet", "--cache-dir", data.path("cache")},
                                           {}, "/dev/null", data.path("err"));
  int status = 0;
  rusage used{};
  REQUIRE(wait4(process, &status, 0, &used) == process);
  REQUIRE_MESSAGE((WIFEXITED(status) && WEXITSTATUS(status) == 0), test::read_file(data.path("err")));
  CHECK(int64_t(used.ru_maxrss) * 1024 < int64_t(512) << 20);
  const H5ad file = read_h5ad(out);
  CHECK(file.barcodes.size() > 250);  // 100 um apart on 4 square millimetres
  CHECK(file.barcodes.size() < 700);
  for (size_t i = 0; i < file.spatial.size(); i++) CHECK(std::abs(file.spatial[i] - 168.0 * kTile) < 9.0 * kTile);
}
