#include "data/slide/tiff_blocks.h"

#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <map>

#include "data/slide/jpeg2000.h"
#include "data/slide/tiff_colour.h"
#include "engine/error.h"
#include "engine/text.h"

namespace stflow {
namespace {

constexpr int64_t kMostBlock = int64_t(512) << 20;  // decoded bytes of a tile or strip
constexpr int64_t kFreeBlock = int64_t(16) << 20;   // that a few bytes of file may claim: a white tile is small in any codec
constexpr int64_t kStrip = int64_t(1) << 20;        // bytes into which strips are taken apart where they can be
constexpr int64_t kMostRatio = 4096;                // of decoded bytes to the file's, beyond that

bool is_jpeg2000(int compression) { return compression == 33003 || compression == 33005 || compression == 34712; }

std::string codec_name(int compression) {
  static const std::map<int, std::string> names{{1, "none"},
                                                {5, "LZW"},
                                                {7, "JPEG"},
                                                {8, "Deflate"},
                                                {32946, "Deflate"},
                                                {32773, "PackBits"},
                                                {33003, "JPEG 2000 YCbCr"},
                                                {33005, "JPEG 2000 RGB"},
                                                {34712, "JPEG 2000"},
                                                {34887, "LERC"},
                                                {34925, "LZMA"},
                                                {50000, "Zstandard"},
                                                {50001, "WebP"}};
  const auto it = names.find(compression);
  return it == names.end() ? fmt::format("{}", compression) : it->second;
}

}  // namespace

struct TiffBlocks::Handle {
  const FileView& file;
  uint64_t at = 0;
  TIFF* tiff = nullptr;
  std::string problem;  // the first thing that libtiff or a codec complained of
  std::vector<uint16_t> map;

  explicit Handle(const FileView& f) : file(f) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (tiff) TIFFClose(tiff);
  }

  static Handle& of(void* p) { return *static_cast<Handle*>(p); }
  static tmsize_t read(thandle_t p, void* to, tmsize_t n) {
    Handle& h = of(p);
    if (n <= 0 || h.at >= h.file.size()) return 0;
    const auto some = std::min<uint64_t>(uint64_t(n), h.file.size() - h.at);
    std::memcpy(to, h.file.data() + h.at, some);
    h.at += some;
    return tmsize_t(some);
  }
  static tmsize_t write(thandle_t, void*, tmsize_t) { return 0; }
  static toff_t seek(thandle_t p, toff_t to, int from) {
    Handle& h = of(p);
    h.at = from == SEEK_CUR ? h.at + to : from == SEEK_END ? h.file.size() + to : to;
    return h.at;
  }
  static int close(thandle_t) { return 0; }
  static toff_t size(thandle_t p) { return of(p).file.size(); }

  static void keep(void* p, const char* format, va_list values) {
    Handle& h = of(p);
    if (!h.problem.empty()) return;
    char text[300];
    std::vsnprintf(text, sizeof text, format, values);
    h.problem = text;
  }
  static int error(TIFF*, void* p, const char*, const char* format, va_list values) { return keep(p, format, values), 1; }
  /// Of a codec's warnings only those that mean wrong pixels.
  static int warning(TIFF*, void* p, const char*, const char* format, va_list values) {
    char text[300];
    va_list copy;
    va_copy(copy, values);
    std::vsnprintf(text, sizeof text, format, copy);
    va_end(copy);
    const std::string_view t(text);
    const bool damage =
        (t.find("Corrupt JPEG data") != t.npos && t.find("extraneous bytes") == t.npos) || t.find("Premature end") != t.npos;
    if (damage) keep(p, format, values);
    return 1;
  }
};

TiffBlocks::TiffBlocks(const FileView& file, TiffPage page) : file_(file), page_(std::move(page)) {
  const std::string where = fmt::format("{}: directory {}", file.path(), page_.number);
  check_tiff_colours(file.path(), page_);
  const int c = page_.compression;
  const bool known = is_jpeg2000(c) || (c >= 0 && c <= 0xffff && c != 6 && TIFFIsCODECConfigured(uint16_t(c)));
  if (!known || codec_name(c) == std::to_string(c))
    fail(Exit::data, "{}, {}: {}, expected none, LZW, JPEG, Deflate, PackBits, LERC, LZMA, Zstandard, WebP or JPEG 2000", where,
         tiff_tag_name(259), c == 6 ? "6 (old JPEG)" : std::to_string(c));
  if (is_jpeg2000(c) && (page_.bits != 8 || page_.planar != 1))
    fail(Exit::data, "{}, {}: {}, expected 8 for JPEG 2000 in one plane", where, tiff_tag_name(258), page_.bits);
  const int64_t row = tiff_plane_bytes(page_, page_.width, 1);
  const bool plain = c == COMPRESSION_NONE && !page_.tiled && page_.planar == 1 && page_.photometric != PHOTOMETRIC_YCBCR &&
                     page_.photometric != PHOTOMETRIC_PALETTE && !page_.reversed;
  if (plain && page_.block_height > kStrip / row) {
    strip_rows_ = page_.block_height;
    page_.block_height = std::max<int64_t>(1, kStrip / row);
  }
  const int64_t bytes = tiff_plane_bytes(page_, page_.block_width, page_.block_height) * (page_.planar == 2 ? page_.samples : 1);
  if (bytes > kMostBlock)
    fail(Exit::data, "{}: {} of {} x {} pixels, expected one of at most {} MiB decoded; write it as tiles", where,
         page_.tiled ? "tiles" : "strips", page_.block_width, page_.block_height, kMostBlock >> 20);
}

TiffBlocks::~TiffBlocks() = default;

std::string TiffBlocks::compression() const { return codec_name(page_.compression); }

uint64_t TiffBlocks::index(int64_t i, int64_t j, int plane) const {
  if (strip_rows_ > 0) return uint64_t(j * page_.block_height / strip_rows_);
  return uint64_t(plane) * uint64_t(page_.across() * page_.down()) + uint64_t(j * page_.across() + i);
}

Image TiffBlocks::copy_rows(int64_t first, int64_t rows, const std::string& where) const {
  const int64_t bytes = tiff_plane_bytes(page_, page_.width, 1);
  std::vector<std::vector<uint8_t>> planes(1);
  for (int64_t y = first; y < first + rows; y++) {
    const auto strip = size_t(y / strip_rows_);
    const int64_t end = (y % strip_rows_ + 1) * bytes;
    if (end > int64_t(page_.counts[strip]))
      fail(Exit::data, "{}: {} bytes in strip {}, expected {} or more", where, page_.counts[strip], strip, end);
    const unsigned char* from = file_.data() + page_.offsets[strip] + (end - bytes);
    planes[0].insert(planes[0].end(), from, from + bytes);
    file_.forget(from, size_t(bytes));
  }
  if (page_.bits == 16 && file_.data()[0] == 'M')
    for (size_t k = 0; k + 1 < planes[0].size(); k += 2) std::swap(planes[0][k], planes[0][k + 1]);
  static const std::vector<uint16_t> no_map;
  return tiff_to_rgb(page_, planes, page_.width, page_.width, rows, no_map);
}

std::unique_ptr<TiffBlocks::Handle> TiffBlocks::take() const {
  {
    const std::lock_guard<std::mutex> hold(lock_);
    if (!idle_.empty()) {
      auto handle = std::move(idle_.back());
      idle_.pop_back();
      return handle;
    }
  }
  auto h = std::make_unique<Handle>(file_);
  TIFFOpenOptions* options = TIFFOpenOptionsAlloc();
  TIFFOpenOptionsSetMaxSingleMemAlloc(options, kMostBlock);
  TIFFOpenOptionsSetErrorHandlerExtR(options, Handle::error, h.get());
  TIFFOpenOptionsSetWarningHandlerExtR(options, Handle::warning, h.get());
  // m: no memory map of libtiff's own; c: strips as the file has them, which is how the directory was checked.
  h->tiff = TIFFClientOpenExt(file_.path().c_str(), "rmc", h.get(), Handle::read, Handle::write, Handle::seek, Handle::close, Handle::size,
                              nullptr, nullptr, options);
  TIFFOpenOptionsFree(options);
  const bool there = h->tiff && (page_.number == 0 || TIFFSetSubDirectory(h->tiff, page_.offset));
  if (!there)
    fail(Exit::data, "{}: directory {}: {}, expected one that libtiff reads", file_.path(), page_.number,
         h->problem.empty() ? "unreadable" : shown(h->problem, 200));
  if (page_.compression == COMPRESSION_JPEG && page_.photometric == PHOTOMETRIC_YCBCR && page_.planar == 1)
    TIFFSetField(h->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
  if (page_.photometric == PHOTOMETRIC_PALETTE) {
    uint16_t* c[3] = {};
    if (!TIFFGetField(h->tiff, TIFFTAG_COLORMAP, &c[0], &c[1], &c[2]))
      fail(Exit::data, "{}: directory {}, tag 320 (ColorMap): unreadable, expected 768 values", file_.path(), page_.number);
    for (const uint16_t* channel : c) h->map.insert(h->map.end(), channel, channel + 256);
  }
  return h;
}

void TiffBlocks::put_back(std::unique_ptr<Handle> handle) const {
  handle->problem.clear();
  const std::lock_guard<std::mutex> hold(lock_);
  idle_.push_back(std::move(handle));
}

Image TiffBlocks::decode(int64_t i, int64_t j, const std::string& where) const {
  const int64_t width = std::min(page_.block_width, page_.width - i * page_.block_width);
  const int64_t height = std::min(page_.block_height, page_.height - j * page_.block_height);
  if (strip_rows_ > 0) return copy_rows(j * page_.block_height, height, where);
  const int64_t rows = page_.tiled ? page_.block_height : height;  // the last strip may be shorter
  const int64_t plane = tiff_plane_bytes(page_, page_.block_width, rows);
  auto refuse = [&](const std::string& found) {
    fail(Exit::data, "{}: {}, expected {} that decodes", where, found, page_.tiled ? "a tile" : "a strip");
  };
  const int count = page_.planar == 2 ? page_.samples : 1;
  for (int s = 0; s < count; s++) {
    const uint64_t stored = page_.counts[index(i, j, s)];
    if (plane > kFreeBlock && uint64_t(plane) / kMostRatio > stored) refuse(fmt::format("{} bytes for {} pixels", stored, width * height));
  }
  if (is_jpeg2000(page_.compression)) {
    const uint64_t at = page_.offsets[index(i, j, 0)], bytes = page_.counts[index(i, j, 0)];
    std::string problem;
    Image whole = decode_jpeg2000({file_.data() + at, size_t(bytes)}, page_.block_width, rows, page_.compression == 33003, problem);
    file_.forget(file_.data() + at, size_t(bytes));
    if (!problem.empty()) refuse(shown(problem, 200));
    if (width == page_.block_width && height == rows) return whole;
    Image part{width, height, std::vector<uint8_t>(size_t(width * height * 3))};
    for (int64_t y = 0; y < height; y++) std::copy_n(whole.rgb.begin() + y * whole.width * 3, width * 3, part.rgb.begin() + y * width * 3);
    return part;
  }
  std::unique_ptr<Handle> h = take();
  std::vector<std::vector<uint8_t>> planes;
  for (int s = 0; s < count; s++) {
    planes.emplace_back(size_t(plane), uint8_t(0));
    h->problem.clear();
    const auto n = uint32_t(index(i, j, s));
    const tmsize_t expected = page_.tiled ? TIFFTileSize(h->tiff) : TIFFVStripSize(h->tiff, uint32_t(rows));
    if (expected != plane) refuse(fmt::format("{} bytes as libtiff counts, {} as its tags say", expected, plane));
    const tmsize_t got = page_.tiled ? TIFFReadEncodedTile(h->tiff, n, planes.back().data(), tmsize_t(plane))
                                     : TIFFReadEncodedStrip(h->tiff, n, planes.back().data(), tmsize_t(plane));
    const uint64_t at = page_.offsets[index(i, j, s)];
    file_.forget(file_.data() + at, size_t(page_.counts[index(i, j, s)]));
    if (got < 0 || !h->problem.empty()) refuse(h->problem.empty() ? "unreadable" : shown(h->problem, 200));
    if (got != plane) refuse(fmt::format("{} of {} bytes", got, plane));
  }
  Image image = tiff_to_rgb(page_, planes, page_.block_width, width, height, h->map);
  put_back(std::move(h));
  return image;
}

}  // namespace stflow
