#include "data/prediction/pyramid_tiff.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "data/prediction/tiff_directory.h"
#include "data/prediction/tile_codec.h"
#include "engine/error.h"
#include "engine/file.h"
#include "engine/text.h"
#include "engine/threads.h"
#include "engine/version.h"

namespace stflow {
namespace {

std::string xml(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&quot;";
    else if (uint8_t(c) >= 32) out += c;
  }
  return out;
}

/// One resolution: the rows that have come since the last row of tiles was written, and where its tiles are.
struct Level {
  int64_t width, height, rows = 0;    // rows: that have come
  std::vector<uint8_t> band;          // `tile` rows
  std::vector<uint8_t> upper;         // a row that waits for the one below it
  std::vector<uint64_t> place, size;  // of each tile
};

}  // namespace

struct PyramidTiff::Parts {
  std::string path;
  PyramidOptions options;
  FileWriter file;
  std::vector<Level> levels;
  uint64_t written = 0;
  bool big = false;

  Parts(const std::string& p, int64_t width, int64_t height, PyramidOptions o) : path(p), options(std::move(o)), file(p) {
    check(width > 0 && height > 0 && options.tile > 0 && options.tile % 16 == 0, "{}: {} x {} pixels in tiles of {}", path, width, height,
          options.tile);
    uint64_t most = 0;
    for (int64_t w = width, h = height;; w = (w + 1) / 2, h = (h + 1) / 2) {
      levels.push_back({w, h, 0, std::vector<uint8_t>(size_t(3 * w * options.tile)), {}, {}, {}});
      most += uint64_t(3) * uint64_t(w + options.tile) * uint64_t(h + options.tile);
      if (std::max(w, h) <= options.tile) break;
    }
    big = most + most / 8 > 0xffffffffu;  // JPEG and deflate never add an eighth
    put(big ? std::string("II\x2b\0\x08\0\0\0", 8) + little_endian(0, 8) : std::string("II\x2a\0", 4) + little_endian(0, 4));
  }

  void put(const std::string& bytes) {
    file.write(bytes);
    written += bytes.size();
  }

  /// Pixels beyond the image repeat its last ones: JPEG sees no edge there.
  [[nodiscard]] std::vector<uint8_t> tile_of(const Level& l, int64_t column, int64_t rows) const {
    const int64_t side = options.tile, left = column * side, whole = std::min(side, l.width - left);
    std::vector<uint8_t> rgb(size_t(3 * side * side));
    for (int64_t y = 0; y < side; y++) {
      uint8_t* to = rgb.data() + 3 * side * y;
      const uint8_t* from = l.band.data() + 3 * (std::min(y, rows - 1) * l.width + left);
      std::memcpy(to, from, size_t(3 * whole));
      for (int64_t x = whole; x < side; x++) std::memcpy(to + 3 * x, from + 3 * (whole - 1), 3);
    }
    return rgb;
  }

  void put_tiles(Level& l) {
    const int64_t side = options.tile, across = (l.width + side - 1) / side, rows = (l.rows - 1) % side + 1;
    std::vector<std::string> packed{size_t(across)};
    parallel_for(across, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t++) {
        const std::vector<uint8_t> rgb = tile_of(l, t, rows);
        packed[size_t(t)] = options.quality > 0 ? jpeg_tile(rgb, options.tile, options.quality) : deflate_tile(rgb, options.tile);
      }
    });
    for (const std::string& tile : packed) {
      l.place.push_back(written), l.size.push_back(tile.size());
      put(tile);
      if (tile.size() % 2) put(std::string(1, '\0'));
    }
  }

  void add_row(size_t level, const uint8_t* rgb) {
    Level& l = levels[level];
    std::memcpy(l.band.data() + 3 * l.width * (l.rows % options.tile), rgb, size_t(3 * l.width));
    l.rows++;
    if (l.rows % options.tile == 0 || l.rows == l.height) put_tiles(l);
    if (level + 1 == levels.size()) return;
    if (l.rows % 2 == 1 && l.rows < l.height) {
      l.upper.assign(rgb, rgb + 3 * l.width);
      return;
    }
    const uint8_t* upper = l.rows % 2 == 1 ? rgb : l.upper.data();  // an odd last row stands for two
    std::vector<uint8_t> half(size_t(3 * levels[level + 1].width));
    for (int64_t x = 0; x < levels[level + 1].width; x++)
      for (int64_t c = 0; c < 3; c++) {
        const int64_t a = 6 * x + c, b = 2 * x + 1 < l.width ? a + 3 : a;
        half[size_t(3 * x + c)] = uint8_t((upper[a] + upper[b] + rgb[a] + rgb[b] + 2) / 4);
      }
    add_row(level + 1, half.data());
  }

  [[nodiscard]] std::string ome_xml() const {
    const Level& l = levels[0];
    std::string size;
    if (options.mpp > 0) size = fmt::format(R"( PhysicalSizeX="{0}" PhysicalSizeY="{0}")", shortest(options.mpp));  // in microns
    return fmt::format(
        R"(<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" )"
        R"(xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.openmicroscopy.org/Schemas/OME/2016-06 )"
        R"(http://www.openmicroscopy.org/Schemas/OME/2016-06/ome.xsd" Creator="stflow {}"><Image ID="Image:0" Name="{}"><Description>{})"
        R"(</Description><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" BigEndian="false" Interleaved="true" SizeX="{}" )"
        R"(SizeY="{}" SizeC="3" SizeZ="1" SizeT="1"{}><Channel ID="Channel:0:0" SamplesPerPixel="3"/>)"
        R"(<TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>)",
        kVersion, xml(options.name), xml(options.description), l.width, l.height, size);
  }

  /// Writes the directory of a level and returns its place.
  uint64_t put_directory(size_t level, const std::vector<uint64_t>& smaller) {
    const Level& l = levels[level];
    const bool jpeg = options.quality > 0;
    TiffDirectory d(big);
    d.longs(254, {level > 0 ? 1u : 0u});  // NewSubfileType: a reduced image
    d.longs(256, {uint64_t(l.width)});
    d.longs(257, {uint64_t(l.height)});
    d.shorts(258, {8, 8, 8});
    d.shorts(259, {jpeg ? 7u : 8u});
    d.shorts(262, {jpeg ? 6u : 2u});  // YCbCr or RGB
    if (level == 0) d.text(270, ome_xml());
    d.shorts(277, {3});
    if (level == 0 && options.mpp > 0) {
      const auto per_cm = uint32_t(std::clamp(std::round(1000 * 10'000 / options.mpp), 1.0, 4e9));
      d.rational(282, per_cm, 1000);
      d.rational(283, per_cm, 1000);
    }
    d.shorts(284, {1});
    if (level == 0 && options.mpp > 0) d.shorts(296, {3});  // per centimetre
    if (level == 0) d.text(305, std::string("stflow ") + kVersion);
    if (!jpeg) d.shorts(317, {2});
    d.longs(322, {uint64_t(options.tile)});
    d.longs(323, {uint64_t(options.tile)});
    d.offsets(324, l.place);
    d.longs(325, l.size);
    if (!smaller.empty()) d.directories(330, smaller);
    if (jpeg) d.shorts(530, {2, 2});  // half the colour resolution
    uint64_t begin = 0;
    put(d.bytes(written, begin));
    return begin;
  }
};

PyramidTiff::PyramidTiff(const std::string& path, int64_t width, int64_t height, PyramidOptions options)
    : parts_(std::make_unique<Parts>(path, width, height, std::move(options))) {}
PyramidTiff::~PyramidTiff() = default;

void PyramidTiff::row(const uint8_t* rgb) {
  check(parts_->levels[0].rows < parts_->levels[0].height, "{}: more than {} rows", parts_->path, parts_->levels[0].height);
  parts_->add_row(0, rgb);
}

void PyramidTiff::commit() {
  Parts& p = *parts_;
  check(p.levels[0].rows == p.levels[0].height, "{}: {} rows of {}", p.path, p.levels[0].rows, p.levels[0].height);
  std::vector<uint64_t> smaller;
  for (size_t l = 1; l < p.levels.size(); l++) smaller.push_back(p.put_directory(l, {}));
  const std::string first = little_endian(p.put_directory(0, smaller), p.big ? 8 : 4);
  p.file.rewrite(p.big ? 8 : 4, first);
  p.file.commit();
}

}  // namespace stflow
