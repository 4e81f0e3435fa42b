// A TIFF file as a slide: which of its pages are levels of one picture, and what each says about itself.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "data/resize.h"
#include "data/slide/blocks.h"
#include "data/slide/mpp.h"
#include "data/slide/tiff_blocks.h"

namespace stflow {
namespace {

bool contains(const std::string& text, std::string_view word) { return text.find(word) != std::string::npos; }

/// The vendor whose format only looks like a TIFF pyramid; "" for none.
std::string vendor_of(const TiffPage& first) {
  if (first.ndpi) return "Hamamatsu NDPI";
  if (contains(first.description, "leica-microsystems.com/scn")) return "Leica SCN";
  if (contains(first.xml, "<iScan") || contains(first.description, "<iScan")) return "Ventana BIF";
  if (first.software.starts_with("Philips")) return "Philips TIFF";
  if (first.software.starts_with("MedScan")) return "Trestle TIFF";
  return "";
}

/// A label, an overview of the whole glass or a thumbnail, which scanners put beside the levels.
bool is_associated(const TiffPage& p) {
  if (p.subfile == 9) return true;  // Aperio's macro
  if (p.description.starts_with("Aperio")) return contains(p.description, "\nlabel") || contains(p.description, "\nmacro");
  std::string word = p.description.substr(0, 9);
  std::transform(word.begin(), word.end(), word.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return word == "label" || word == "macro" || word == "thumbnail";
}

/// Whether `p` can be the picture of `base` at fewer pixels: of the same shape within 1 % or the pixel that rounding takes.
bool same_shape(const TiffPage& base, const TiffPage& p) {
  const double height = double(base.height) * double(p.width) / double(base.width);
  return std::fabs(height - double(p.height)) <= 1 + 0.01 * double(p.height);
}

std::string format_of(const FileView& file, const TiffPage& first) {
  if (first.description.starts_with("Aperio")) return "Aperio SVS";
  if (contains(first.description, "<OME")) return "OME-TIFF";
  const char version = char(file.data()[file.data()[0] == 'M' ? 3 : 2]);
  return version == 43 ? "BigTIFF" : "TIFF";
}

class TiffSlide final : public SlideSource {
 public:
  TiffSlide(FileView file, const SlideOptions& options) : file_(std::move(file)), options_(options) {
    std::vector<TiffPage> pages = read_tiff_directories(file_);
    format = format_of(file_, pages[0]);
    std::vector<size_t> pictures;
    for (size_t i = 0; i < pages.size(); i++)
      if (!is_associated(pages[i])) pictures.push_back(i);
    if (pictures.empty()) fail(Exit::data, "{}: {} directories, all labels or thumbnails, expected a slide", file_.path(), pages.size());
    const auto area = [&](size_t i) { return double(pages[i].width) * double(pages[i].height); };
    const size_t base = *std::max_element(pictures.begin(), pictures.end(), [&](size_t a, size_t b) { return area(a) < area(b); });
    mpp = mpp_claims_of(pages[base]);
    if (base != 0 && mpp.empty()) mpp = mpp_claims_of(pages[0]);
    choose_levels(pages, base);
    for (const auto& level : decoders_) warn_of_empty(level->page());
  }

  Block block(int level, int64_t i, int64_t j) override {
    const TiffBlocks& from = *decoders_[size_t(level)];
    const TiffPage& p = from.page();
    const SlideLevel& l = levels[size_t(level)];
    const int64_t width = std::min(p.block_width, p.width - i * p.block_width),
                  height = std::min(p.block_height, p.height - j * p.block_height);
    if (from.empty(i, j)) {
      if (from.background(i, j)) return {white(width, height), false};
      if (level > 0) return {from_finer(level, i * l.tile_width, j * l.tile_height, width, height), false};
    }
    const std::string where = fmt::format("{}: {} {} of level {}", file_.path(), p.tiled ? "tile" : "strip", from.index(i, j), level);
    try {
      if (from.empty(i, j)) fail(Exit::data, "{}: no bytes at offset {}, expected a tile", where, p.offsets[from.index(i, j)]);
      return {from.decode(i, j, where), false};
    } catch (const Error& e) {
      if (e.code() != Exit::data || !options_.skip_bad_tiles) throw;
      return {white(width, height), true};
    }
  }

 private:
  static Image white(int64_t width, int64_t height) { return {width, height, std::vector<uint8_t>(size_t(width * height * 3), 255)}; }

  void choose_levels(std::vector<TiffPage>& pages, size_t base) {
    std::vector<size_t> chosen{base};
    int same = 0, other = 0;
    for (size_t i = 0; i < pages.size(); i++) {
      if (i == base) continue;
      const TiffPage& p = pages[i];
      const bool level = !is_associated(p) && p.tiled == pages[base].tiled && same_shape(pages[base], p) && p.width < pages[base].width;
      if (level) chosen.push_back(i);
      else if (p.width == pages[base].width && p.height == pages[base].height) same++;
      else other++;
    }
    std::stable_sort(chosen.begin() + 1, chosen.end(), [&](size_t a, size_t b) { return pages[a].width > pages[b].width; });
    if (same > 0) warnings.push_back(fmt::format("{}: {} more pages of the first one's size: only the first is used", file_.path(), same));
    if (other > 0) notes.push_back(fmt::format("{} further pages (label, macro, thumbnail) are no levels", other));
    const double width = double(pages[base].width), height = double(pages[base].height);
    for (const size_t i : chosen) {
      if (!levels.empty() && pages[i].width == levels.back().width) continue;
      try {
        decoders_.push_back(std::make_unique<TiffBlocks>(file_, pages[i]));
      } catch (const Error& e) {
        if (levels.empty()) throw;
        warnings.push_back(fmt::format("{}; this level is not used", e.what()));
        continue;
      }
      const TiffPage& p = decoders_.back()->page();
      const double down = levels.empty() ? 1 : (width / double(p.width) + height / double(p.height)) / 2;
      levels.push_back({p.width, p.height, down, p.block_width, p.block_height, decoders_.back()->compression()});
    }
  }

  void warn_of_empty(const TiffPage& p) {
    int64_t n = 0;
    for (size_t i = 0; i < p.counts.size(); i++) n += p.counts[i] == 0 && p.offsets[i] == 0;
    if (n > 0)
      warnings.push_back(fmt::format("{}: directory {}: {} of {} tiles are empty: background", file_.path(), p.number, n, p.counts.size()));
  }

  /// A tile that a level lacks, from the level with more pixels.
  Image from_finer(int level, int64_t x, int64_t y, int64_t width, int64_t height) {
    const SlideLevel &here = levels[size_t(level)], &finer = levels[size_t(level - 1)];
    const double sx = double(finer.width) / double(here.width), sy = double(finer.height) / double(here.height);
    const auto fx = int64_t(double(x) * sx), fy = int64_t(double(y) * sy);
    Image part = white(std::max<int64_t>(1, std::llround(double(width) * sx)), std::max<int64_t>(1, std::llround(double(height) * sy)));
    for_blocks(finer, fx, fy, part.width, part.height, [&](int64_t i, int64_t j) {
      paste(block(level - 1, i, j).pixels, i * finer.tile_width, j * finer.tile_height, part, fx, fy);
    });
    return resize(part, width, height, PixelFilter::bilinear);
  }

  FileView file_;
  SlideOptions options_;
  std::vector<std::unique_ptr<TiffBlocks>> decoders_;  // one a level
};

}  // namespace

std::unique_ptr<SlideSource> open_tiff(const std::string& path, FileView file, const SlideOptions& options) {
  const std::string vendor = vendor_of(read_tiff_directories(file)[0]);
  if (vendor.empty()) return std::make_unique<TiffSlide>(std::move(file), options);
  auto slide = open_openslide(path);
  slide->format = vendor;
  return slide;
}

}  // namespace stflow
