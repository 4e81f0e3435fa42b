#include "data/slide/tiff_directory.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "engine/error.h"

namespace stflow {
namespace {

constexpr int kMostDirectories = 1024;
constexpr int64_t kMostPixels = int64_t(1) << 40, kMostSide = int64_t(1) << 30;
constexpr size_t kMostText = size_t(64) << 10;

/// Bytes of each of TIFF's types; 0: not one of them.
constexpr uint64_t kTypeBytes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8};

class Parser {
 public:
  explicit Parser(const FileView& file) : file_(file), bytes_(file.data()), size_(file.size()) {
    if (size_ < 8) refuse("header", fmt::format("{} bytes", size_), "a TIFF file");
    big_endian_ = bytes_[0] == 'M';
    big_ = number(2, 2) == 43;
    if (big_ && (size_ < 16 || number(4, 2) != 8)) refuse("header", "offsets that are not of 8 bytes", "a BigTIFF file");
  }

  std::vector<TiffPage> all() {
    std::vector<TiffPage> pages;
    std::map<uint64_t, int> seen;
    uint64_t at = big_ ? number(8, 8) : number(4, 4);
    for (int n = 0; at != 0; n++) {
      where_ = fmt::format("directory {}", n);
      if (n == kMostDirectories) refuse(where_, "one more", fmt::format("at most {} directories", kMostDirectories));
      if (const auto [it, fresh] = seen.emplace(at, n); !fresh)
        refuse(fmt::format("directory {} points back to directory {}", n - 1, it->second), "a loop", "directories one after the other");
      TiffPage page = directory(at, n);
      at = page.ndpi ? 0 : next_;
      pages.push_back(std::move(page));
    }
    if (pages.empty()) refuse("header", "no directory", "an image");
    // An OME pyramid's smaller levels hang below the first image.
    const std::vector<uint64_t> children = pages[0].children;
    for (size_t i = 0; i < children.size(); i++) {
      where_ = fmt::format("directory 0, SubIFD {}", i);
      if (const auto [it, fresh] = seen.emplace(children[i], 0); !fresh)
        refuse(where_, fmt::format("the place of directory {}", it->second), "one of its own");
      pages.push_back(directory(children[i], int(pages.size())));
      pages.back().subfile |= 1;
    }
    return pages;
  }

 private:
  struct Entry {
    int tag = 0, type = 0;
    uint64_t count = 0, at = 0;  // of its values, checked to lie in the file
  };

  [[noreturn]] void refuse(const std::string& where, const std::string& found, const std::string& expected) const {
    fail(Exit::data, "{}: {}: {}, expected {}", file_.path(), where, found, expected);
  }
  [[noreturn]] void refuse_tag(int tag, const std::string& found, const std::string& expected) const {
    refuse(where_ + ", " + tiff_tag_name(tag), found, expected);
  }

  /// Of 1, 2, 4 or 8 bytes, which must lie in the file.
  [[nodiscard]] uint64_t number(uint64_t at, uint64_t bytes) const {
    uint64_t x = 0;
    for (uint64_t i = 0; i < bytes; i++) x |= uint64_t(bytes_[at + i]) << 8 * (big_endian_ ? bytes - 1 - i : i);
    return x;
  }
  [[nodiscard]] uint64_t value(const Entry& e, uint64_t i) const {
    const uint64_t bytes = kTypeBytes[e.type];
    return number(e.at + i * bytes, bytes);
  }
  /// A whole number of a tag that has one.
  [[nodiscard]] uint64_t whole(const Entry& e) const {
    const bool is_whole = e.type == 1 || e.type == 3 || e.type == 4 || e.type == 13 || e.type == 16 || e.type == 18;
    if (!is_whole || e.count == 0) refuse_tag(e.tag, fmt::format("{} values of type {}", e.count, e.type), "a whole number");
    return value(e, 0);
  }
  [[nodiscard]] int small(const Entry& e, uint64_t most = 0xffff) const {
    const uint64_t x = whole(e);
    if (x > most) refuse_tag(e.tag, fmt::format("{}", x), fmt::format("at most {}", most));
    return int(x);
  }
  /// The first `n` of its values, of which entry() has seen that they are in the file.
  [[nodiscard]] std::vector<uint64_t> array(const Entry& e, uint64_t n) const {
    static_cast<void>(whole(e));
    if (e.type == 1) refuse_tag(e.tag, "values of one byte", "places in the file");
    std::vector<uint64_t> all(n);
    for (uint64_t i = 0; i < n; i++) all[i] = value(e, i);
    return all;
  }
  [[nodiscard]] std::string text(const Entry& e) const {
    if (kTypeBytes[e.type] != 1) return {};
    std::string s(reinterpret_cast<const char*>(bytes_) + e.at, size_t(std::min<uint64_t>(e.count, kMostText)));
    if (const size_t end = s.find('\0'); end != std::string::npos) s.resize(end);
    return s;
  }
  [[nodiscard]] double ratio(const Entry& e) const {
    if (e.count == 0) return 0;
    if (e.type == 5) {
      const auto over = double(number(e.at, 4)), under = double(number(e.at + 4, 4));
      return under > 0 ? over / under : 0;
    }
    if (e.type == 11) return double(std::bit_cast<float>(uint32_t(value(e, 0))));
    if (e.type == 12) return std::bit_cast<double>(value(e, 0));
    return 0;
  }

  /// False for an entry of an unknown type, which readers are to pass over.
  bool entry(uint64_t at, Entry& e) const {
    const uint64_t word = big_ ? 8 : 4;
    e.tag = int(number(at, 2)), e.type = int(number(at + 2, 2)), e.count = number(at + 4, word);
    if (e.type < 1 || e.type > 18 || kTypeBytes[e.type] == 0) return false;
    const uint64_t each = kTypeBytes[e.type];
    if (e.count > size_ / each) refuse_tag(e.tag, fmt::format("{} values in {} bytes", e.count, size_), "no more than the file holds");
    const uint64_t bytes = e.count * each;
    e.at = bytes <= word ? at + 4 + word : number(at + 4 + word, word);
    if (e.at > size_ || bytes > size_ - e.at)
      refuse_tag(e.tag, fmt::format("{} values at offset {} past the file's end ({})", e.count, e.at, size_), "a whole file; truncated?");
    return true;
  }

  TiffPage directory(uint64_t at, int n) {
    const uint64_t head = big_ ? 8 : 2, each = big_ ? 20 : 12, word = big_ ? 8 : 4;
    if (at > size_ || head > size_ - at)
      refuse(where_, fmt::format("offset {} past the file's end ({})", at, size_), "a whole file; truncated?");
    const uint64_t entries = number(at, head);
    if (entries == 0 || entries > 4096) refuse(where_, fmt::format("{} entries", entries), "1 to 4096");
    if (entries * each + word > size_ - at - head)
      refuse(where_, fmt::format("{} entries at offset {} past the file's end ({})", entries, at, size_), "a whole file; truncated?");
    TiffPage p;
    p.offset = at, p.number = n;
    Entry offsets, counts;
    int64_t rows = -1;
    for (uint64_t i = 0; i < entries; i++) {
      Entry e;
      if (!entry(at + head + i * each, e)) continue;
      switch (e.tag) {
        case 254: p.subfile = whole(e); break;
        case 256: p.width = int64_t(std::min<uint64_t>(whole(e), uint64_t(kMostSide) + 1)); break;
        case 257: p.height = int64_t(std::min<uint64_t>(whole(e), uint64_t(kMostSide) + 1)); break;
        case 258: bits(e, p); break;
        case 259: p.compression = small(e); break;
        case 262: p.photometric = small(e); break;
        case 266: p.reversed = whole(e) == 2; break;
        case 270: p.description = text(e); break;
        case 273:
        case 324: offsets = e, p.tiled = p.tiled || e.tag == 324; break;
        case 277: p.samples = small(e); break;
        case 278: rows = int64_t(std::min<uint64_t>(whole(e), uint64_t(kMostSide))); break;
        case 279:
        case 325: counts = e; break;
        case 282: p.resolution[0] = ratio(e); break;
        case 283: p.resolution[1] = ratio(e); break;
        case 284: p.planar = small(e); break;
        case 296: p.unit = small(e), p.has_unit = true; break;
        case 305: p.software = text(e); break;
        case 320: p.colour_map = true; break;
        case 322: p.block_width = int64_t(std::min<uint64_t>(whole(e), uint64_t(kMostSide) + 1)), p.tiled = true; break;
        case 323: p.block_height = int64_t(std::min<uint64_t>(whole(e), uint64_t(kMostSide) + 1)), p.tiled = true; break;
        case 330:
          if (e.count <= 64) p.children = array(e, e.count);
          break;
        case 338:
          for (uint64_t k = 0; k < std::min<uint64_t>(e.count, 8) && kTypeBytes[e.type] <= 2; k++) p.extra.push_back(int(value(e, k)));
          break;
        case 339: p.format = small(e); break;
        case 530:
          if (e.count >= 2 && e.type == 3) p.subsampling[0] = int(value(e, 0)), p.subsampling[1] = int(value(e, 1));
          break;
        case 700: p.xml = text(e); break;
        case 65420: p.ndpi = true; break;
        default: break;
      }
    }
    next_ = number(at + head + entries * each, word);
    finish(p, rows, offsets, counts);
    return p;
  }

  void bits(const Entry& e, TiffPage& p) const {
    p.bits = small(e);
    for (uint64_t i = 1; i < e.count && kTypeBytes[e.type] == 2; i++)
      if (int(value(e, i)) != p.bits) refuse_tag(258, fmt::format("{} and {}", p.bits, value(e, i)), "the same for all samples");
  }

  /// What the directory's numbers must be together.
  void finish(TiffPage& p, int64_t rows, const Entry& offsets, const Entry& counts) const {
    if (p.width < 1 || p.height < 1 || p.width > kMostSide || p.height > kMostSide || p.width > kMostPixels / p.height)
      refuse(where_, fmt::format("{} x {} pixels", p.width, p.height), fmt::format("1 to {} on a side", kMostSide));
    if (p.planar != 1 && p.planar != 2) refuse_tag(284, fmt::format("{}", p.planar), "1 or 2");
    if (p.samples < 1 || p.samples > 8) refuse_tag(277, fmt::format("{}", p.samples), "1 to 8");
    if (!p.tiled) p.block_width = p.width, p.block_height = rows < 1 ? p.height : std::min(rows, p.height);
    if (p.block_width < 1 || p.block_height < 1 || p.block_width > kMostSide || p.block_height > kMostSide)
      refuse_tag(p.block_width < 1 || p.block_width > kMostSide ? 322 : 323, fmt::format("{} x {}", p.block_width, p.block_height),
                 "a tile of at least one pixel");
    if (p.ndpi) return;  // these files abuse 32-bit offsets; OpenSlide knows how
    const auto blocks = uint64_t(p.across()) * uint64_t(p.down()) * uint64_t(p.planar == 2 ? p.samples : 1);
    const int tag_at = p.tiled ? 324 : 273, tag_bytes = p.tiled ? 325 : 279;
    if (offsets.count < blocks) refuse_tag(tag_at, fmt::format("{} for {} tiles or strips", offsets.count, blocks), "one for each");
    if (counts.count < blocks) refuse_tag(tag_bytes, fmt::format("{} for {} tiles or strips", counts.count, blocks), "one for each");
    p.offsets = array(offsets, blocks), p.counts = array(counts, blocks);
    for (uint64_t i = 0; i < blocks; i++)
      if (p.offsets[i] > size_ || p.counts[i] > size_ - p.offsets[i])
        refuse(where_,
               fmt::format("{} {} at offset {} with {} bytes ends past the file ({} bytes)", p.tiled ? "tile" : "strip", i, p.offsets[i],
                           p.counts[i], size_),
               "a whole file; truncated in download? compare size or sha256");
  }

  const FileView& file_;
  const unsigned char* bytes_;
  uint64_t size_, next_ = 0;
  bool big_endian_ = false, big_ = false;
  std::string where_;
};

}  // namespace

std::string tiff_tag_name(int tag) {
  static const std::map<int, std::string> names{{254, "NewSubfileType"},   {256, "ImageWidth"},
                                                {257, "ImageLength"},      {258, "BitsPerSample"},
                                                {259, "Compression"},      {262, "PhotometricInterpretation"},
                                                {270, "ImageDescription"}, {273, "StripOffsets"},
                                                {277, "SamplesPerPixel"},  {278, "RowsPerStrip"},
                                                {279, "StripByteCounts"},  {282, "XResolution"},
                                                {283, "YResolution"},      {284, "PlanarConfiguration"},
                                                {296, "ResolutionUnit"},   {322, "TileWidth"},
                                                {323, "TileLength"},       {324, "TileOffsets"},
                                                {325, "TileByteCounts"},   {330, "SubIFDs"},
                                                {338, "ExtraSamples"},     {339, "SampleFormat"},
                                                {530, "YCbCrSubSampling"}};
  const auto it = names.find(tag);
  return it == names.end() ? fmt::format("tag {}", tag) : fmt::format("tag {} ({})", tag, it->second);
}

std::vector<TiffPage> read_tiff_directories(const FileView& file) { return Parser(file).all(); }

}  // namespace stflow
