// The pyramidal OME-TIFF of an overlay, as libtiff reads it, and heat maps.
#include "data/prediction/overlay.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <tiffio.h>

#include <csignal>
#include <cstdlib>
#include <limits>

#include "data/prediction/canvas.h"
#include "data/prediction/maps.h"
#include "data/prediction/tiff_directory.h"
#include "engine/file.h"
#include "engine/threads.h"
#include "tests/data/tiny.h"
#include "tests/disk.h"

using namespace stflow;

namespace {

/// What libtiff finds in one directory.
struct Seen {
  uint32_t width = 0, height = 0, tile = 0, kind = 0;
  uint16_t compression = 0, photometric = 0;
  std::vector<uint8_t> rgb;  // width * height * 3
};

struct Pyramid {
  std::string description;
  float resolution = 0;
  uint16_t unit = 0;
  std::vector<Seen> levels;
  int top_level = 0;  // directories that are no SubIFDs
};

Seen level_of(TIFF* t) {
  Seen s;
  TIFFGetField(t, TIFFTAG_IMAGEWIDTH, &s.width);
  TIFFGetField(t, TIFFTAG_IMAGELENGTH, &s.height);
  TIFFGetField(t, TIFFTAG_TILEWIDTH, &s.tile);
  TIFFGetField(t, TIFFTAG_SUBFILETYPE, &s.kind);
  TIFFGetField(t, TIFFTAG_COMPRESSION, &s.compression);
  TIFFGetField(t, TIFFTAG_PHOTOMETRIC, &s.photometric);
  std::vector<uint32_t> raster(size_t(s.width) * s.height);
  REQUIRE(TIFFReadRGBAImageOriented(t, s.width, s.height, raster.data(), ORIENTATION_TOPLEFT, 1) == 1);
  for (const uint32_t p : raster)
    for (const uint32_t c : {TIFFGetR(p), TIFFGetG(p), TIFFGetB(p)}) s.rgb.push_back(uint8_t(c));
  return s;
}

int complaints = 0;

Pyramid read_pyramid(const std::string& path) {
  complaints = 0;
  TIFFSetErrorHandler([](const char*, const char*, va_list) { complaints++; });
  TIFFSetWarningHandler([](const char*, const char*, va_list) { complaints++; });
  TIFF* t = TIFFOpen(path.c_str(), "r");
  REQUIRE(t != nullptr);
  Pyramid p;
  char* text = nullptr;
  if (TIFFGetField(t, TIFFTAG_IMAGEDESCRIPTION, &text)) p.description = text;
  TIFFGetField(t, TIFFTAG_XRESOLUTION, &p.resolution);
  TIFFGetField(t, TIFFTAG_RESOLUTIONUNIT, &p.unit);
  uint16_t many = 0;
  uint64_t* places = nullptr;
  std::vector<uint64_t> smaller;
  if (TIFFGetField(t, TIFFTAG_SUBIFD, &many, &places)) smaller.assign(places, places + many);
  p.levels.push_back(level_of(t));
  p.top_level = TIFFNumberOfDirectories(t);
  for (const uint64_t place : smaller) {
    REQUIRE(TIFFSetSubDirectory(t, place) == 1);
    p.levels.push_back(level_of(t));
  }
  TIFFClose(t);
  CHECK(complaints == 0);
  return p;
}

/// Each 2 x 2 block averaged, as a reader would make the next level.
std::vector<uint8_t> halved(const Seen& s) {
  std::vector<uint8_t> out;
  for (uint32_t y = 0; y < s.height; y += 2)
    for (uint32_t x = 0; x < s.width; x += 2)
      for (uint32_t c = 0; c < 3; c++) {
        unsigned sum = 2;
        for (const uint32_t j : {y, std::min(y + 1, s.height - 1)})
          for (const uint32_t i : {x, std::min(x + 1, s.width - 1)}) sum += s.rgb[3 * (size_t(j) * s.width + i) + c];
        out.push_back(uint8_t(sum / 4));
      }
  return out;
}

RowSource rows_of(const Image& image) {
  auto y = std::make_shared<int64_t>(0);
  return {image.width, image.height, [&image, y](uint8_t* rgb) {
            const auto from = image.rgb.begin() + 3 * image.width * (*y)++;
            std::copy(from, from + 3 * image.width, rgb);
          }};
}

}  // namespace

TEST_CASE("overlay: libtiff reads every level of the pyramid, pixel by pixel") {
  const test::TempFolder folder;
  const Image image = test::picture(215, 133);
  const std::string path = folder.path("a.ome.tif");
  PyramidOptions o;
  o.tile = 32, o.quality = 0, o.mpp = 0.5, o.name = "S & \"<1>\"", o.description = "ACTB";
  write_overlay(path, rows_of(image), {{}, {}, 5, false, 0.6}, o);
  const Pyramid p = read_pyramid(path);
  CHECK(p.top_level == 1);
  REQUIRE(p.levels.size() == 4);
  CHECK(p.levels[0].rgb == image.rgb);
  for (size_t l = 0; l < 4; l++) {
    const Seen& s = p.levels[l];
    CHECK(s.width == (std::vector<uint32_t>{215, 108, 54, 27})[l]);
    CHECK(s.height == (std::vector<uint32_t>{133, 67, 34, 17})[l]);
    CHECK(s.tile == 32);
    CHECK(s.compression == COMPRESSION_ADOBE_DEFLATE);
    CHECK(s.kind == (l == 0 ? 0 : FILETYPE_REDUCEDIMAGE));
    if (l > 0) CHECK(s.rgb == halved(p.levels[l - 1]));
  }
  CHECK(p.resolution == doctest::Approx(20000));
  CHECK(p.unit == RESUNIT_CENTIMETER);
  CHECK(p.description.starts_with(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?><OME xmlns=\"http://www.openmicroscopy.org/Schemas/OME/2016-06\""));
  for (const char* part : {"SizeX=\"215\" SizeY=\"133\"", "PhysicalSizeX=\"0.5\" PhysicalSizeY=\"0.5\"",
                           "Name=\"S &amp; &quot;&lt;1&gt;&quot;\"", "<Description>ACTB: viridis from 0 to 0</Description>"})
    CHECK_MESSAGE(p.description.find(part) != std::string::npos, p.description);

  for (const int threads : {1, 3}) {
    set_thread_count(threads);
    write_overlay(folder.path("b.ome.tif"), rows_of(image), {{}, {}, 5, false, 0.6}, o);
    CHECK(read_text(path) == read_text(folder.path("b.ome.tif")));
  }
  set_thread_count(0);
}

TEST_CASE("overlay: spots have the colours of their values, and JPEG stays near") {
  const test::TempFolder folder;
  Image image{96, 80, std::vector<uint8_t>(size_t(3 * 96 * 80), 200)};
  SpotColours spots;
  spots.xy = {20, 20, 60, 20, 40, 60, 95, 79}, spots.values = {1, 2, std::numeric_limits<float>::quiet_NaN(), 3};
  spots.radius = 10, spots.opacity = 1;
  PyramidOptions o;
  o.tile = 64, o.quality = 0;
  write_overlay(folder.path("a.ome.tif"), rows_of(image), spots, o);
  const Seen seen = read_pyramid(folder.path("a.ome.tif")).levels[0];
  const auto at = [&](const Seen& s, size_t x, size_t y) {
    const uint8_t* p = s.rgb.data() + 3 * (y * s.width + x);
    return Rgb{p[0], p[1], p[2]};
  };
  const Rgb plain{200, 200, 200};
  CHECK(at(seen, 20, 20) == viridis(0));
  CHECK(at(seen, 29, 20) == viridis(0));
  CHECK(at(seen, 28, 28) == plain);  // a circle's corner
  CHECK(at(seen, 60, 13) == viridis(0.5));
  CHECK(at(seen, 40, 60) == plain);
  CHECK(at(seen, 94, 78) == viridis(1));
  spots.square = true, spots.opacity = 0.5;
  write_overlay(folder.path("b.ome.tif"), rows_of(image), spots, o);
  const Rgb mixed = at(read_pyramid(folder.path("b.ome.tif")).levels[0], 28, 28);
  CHECK(int(mixed[0]) == (200 + viridis(0)[0] + 1) / 2);

  o.quality = 90;
  write_overlay(folder.path("c.ome.tif"), rows_of(image), spots, o);
  const Pyramid jpeg = read_pyramid(folder.path("c.ome.tif")), exact = read_pyramid(folder.path("b.ome.tif"));
  REQUIRE(jpeg.levels.size() == 2);
  for (size_t l = 0; l < 2; l++) {
    CHECK(jpeg.levels[l].compression == COMPRESSION_JPEG);
    CHECK(jpeg.levels[l].photometric == PHOTOMETRIC_YCBCR);
    double off = 0;
    for (size_t i = 0; i < jpeg.levels[l].rgb.size(); i++) off += std::abs(int(jpeg.levels[l].rgb[i]) - int(exact.levels[l].rgb[i]));
    CHECK(off / double(jpeg.levels[l].rgb.size()) < 4);
  }
  CHECK(FileView(folder.path("c.ome.tif")).text().starts_with(std::string_view("II*\0", 4)));
}

TEST_CASE("overlay: a small image is one tile, BigTIFF directories are libtiff's") {
  const test::TempFolder folder;
  const Image image = test::picture(3, 1);
  PyramidOptions o;
  o.quality = 0;
  write_overlay(folder.path("a.ome.tif"), rows_of(image), {{}, {}, 5, false, 0.6}, o);
  const Pyramid p = read_pyramid(folder.path("a.ome.tif"));
  CHECK(p.levels.size() == 1);
  CHECK(p.levels[0].rgb == image.rgb);
  CHECK(p.description.find("PhysicalSize") == std::string::npos);

  TiffDirectory d(true);  // a grey image of 2 x 1 pixels in a strip at byte 16
  for (const auto& [tag, value] : std::vector<std::pair<uint16_t, uint64_t>>{{256, 2}, {257, 1}}) d.longs(tag, {value});
  d.shorts(258, {8}), d.shorts(259, {1}), d.shorts(262, {1});
  d.text(270, "longer than an entry");
  d.offsets(273, {16});
  d.shorts(277, {1}), d.longs(278, {1});
  d.offsets(279, {2});
  uint64_t begin = 0;
  const std::string directory = d.bytes(18, begin);
  const std::string file = std::string("II\x2b\0\x08\0\0\0", 8) + little_endian(begin, 8) + "\x10\x20" + directory;
  const Pyramid big = read_pyramid(folder.file("big.tif", file));
  CHECK(big.description == "longer than an entry");
  CHECK(big.levels[0].rgb == std::vector<uint8_t>{16, 16, 16, 32, 32, 32});
}

TEST_CASE("bad input: a slide that ends early, a disk without room: no overlay and no half one") {
  const test::TempFolder folder;
  const std::string path = folder.file("a.ome.tif", "earlier");
  const Image image = test::picture(400, 400);
  int rows = 0;
  RowSource source{400, 400, [&](uint8_t*) {
                     if (++rows > 300) fail(Exit::data, "slide.svs: row 300: damaged, expected a whole slide");
                   }};
  test::refuses(Exit::data, "{}: row 300: damaged, expected a whole slide", "slide.svs", [&] { write_overlay(path, source, {}, {}); });
  CHECK(test::files_of(folder.path()) == test::Files{{"a.ome.tif", "earlier"}});
  const int code = test::in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{30'000, 30'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    write_overlay(path, rows_of(image), {}, {});
    return 0;
  });
  CHECK(code == int(Exit::io));
  CHECK(test::files_of(folder.path()) == test::Files{{"a.ome.tif", "earlier"}});
  test::refuses(Exit::create, "{}: No such file or directory, expected a place to write", folder.path("no/a.ome.tif"),
                [&] { write_overlay(folder.path("no/a.ome.tif"), rows_of(image), {}, {}); });
}

TEST_CASE("overlay: after a power loss the file is the earlier or the new one") {
  const test::TempFolder folder;
  const std::string path = folder.file("file", "earlier");
  PyramidOptions o;
  o.tile = 16;
  std::vector<test::DiskCall> calls;
  {
    const test::DiskRecord record(folder.path());
    const Image image = test::picture(40, 20);
    write_overlay(path, rows_of(image), {}, o);
    calls = record.calls();
  }
  const std::string later = read_text(path);
  REQUIRE(test::after_power_loss({{"file", "earlier"}}, calls, 0) == test::Files{{"file", later}});
  for (size_t done = 0; done <= calls.size(); done++)
    for (uint32_t seed = 0; seed < 10; seed++) {
      const std::string left = test::after_power_loss({{"file", "earlier"}}, std::span(calls).first(done), seed).at("file");
      CHECK((left == "earlier" || left == later));
    }
}

TEST_CASE("slow: overlay: a wide slide takes the memory of a few rows of tiles") {
  const test::TempFolder folder;
  const int code = test::in_child([&] {
    const int64_t width = 20'000, height = 3'000;  // 180 MB of pixels
    int64_t y = 0;
    const RowSource source{width, height, [&](uint8_t* rgb) {
                             for (int64_t i = 0; i < 3 * width; i++) rgb[i] = uint8_t(i * y / 50'000);
                             y++;
                           }};
    SpotColours spots;
    for (int i = 0; i < 3000; i++) spots.xy.push_back(i * 6.5), spots.xy.push_back(i), spots.values.push_back(float(i));
    rusage before{}, after{};
    ::getrusage(RUSAGE_SELF, &before);
    write_overlay(folder.path("a.ome.tif"), source, spots, {});
    ::getrusage(RUSAGE_SELF, &after);
    return after.ru_maxrss - before.ru_maxrss < 80'000 ? 0 : 1;  // in KB
  });
  CHECK(code == 0);
}

TEST_CASE("heat map: one panel of a gene's colours over the tissue, from a file or a reduced image") {
  const test::TempFolder folder;
  Image image{200, 100, std::vector<uint8_t>(size_t(3 * 200 * 100), 255)};
  const std::vector<double> xy{400, 200, 1200, 600};
  const MapBackground b = map_background(image, 0.1, 0.5, xy, 40);  // a full image of 2000 x 1000
  CHECK(b.tissue.width == 112);                                     // from 400 - 4 * 40 to 1200 + 4 * 40, reduced ten times
  CHECK(b.tissue.height == 72);
  write_heat_map(folder.path("a.png"), b, "ACTB", {1, 3});
  const Image map = read_image(folder.path("a.png"));
  int64_t dark = 0, bright = 0;
  for (size_t i = 0; i + 2 < map.rgb.size(); i += 3) {
    const Rgb p{map.rgb[i], map.rgb[i + 1], map.rgb[i + 2]};
    dark += p == viridis(0), bright += p == viridis(1);
  }
  CHECK(dark >= 37 + 18);  // a circle of radius 4 within its soft edge, and a line of the colour bar
  CHECK(bright >= 37 + 18);
  write_heat_map(folder.path("b.png"), b, "ACTB", {1, std::numeric_limits<float>::quiet_NaN()});
  CHECK(read_image(folder.path("b.png")).rgb != map.rgb);
}
