#include "data/slide/slide.h"

#include <algorithm>
#include <cmath>

#include "data/resize.h"
#include "data/slide/blocks.h"
#include "data/slide/mpp.h"
#include "data/square.h"

namespace stflow {
namespace {

constexpr int64_t kMostPatch = 65536;

std::unique_ptr<SlideSource> open_source(const std::string& path, const SlideOptions& options) {
  FileView file(path);
  const std::string_view what = sniff(file.text().substr(0, 512));
  if (what == "a TIFF image") return open_tiff(path, std::move(file), options);
  if (knows_slide(path)) return open_openslide(path);
  if (!image_format(file.text()).empty()) return open_plain(path);
  fail(Exit::data, "{}: is {}, expected a slide or an image", path, what.empty() ? "of an unknown format" : what);
}

}  // namespace

bool knows_slide(const std::string& path) {
  using namespace std::string_view_literals;
  const FileView file(path);
  const std::string_view head = file.text().substr(0, 512);
  // Sakura, Hamamatsu VMS and VMU, DICOM, Zeiss. A .mrxs is an index of other files, and may itself be a JPEG: nothing but its name says
  // so.
  const bool like = head.starts_with("SQLite format 3\0"sv) || head.starts_with("[Virtual Microscope Specimen]"sv) ||
                    head.starts_with("[Uncompressed Virtual Microscope Specimen]"sv) ||
                    (head.size() > 132 && head.substr(128, 4) == "DICM"sv) || head.starts_with("ZISRAWFILE"sv) || path.ends_with(".mrxs");
  return like && openslide_knows(path);
}

struct SlideImage::State {
  std::string path;
  std::unique_ptr<SlideSource> source;
  BlockCache cache;
  MppResult mpp;
  std::vector<MppClaim> claims;

  State(const std::string& p, const SlideOptions& options) : path(p), source(open_source(p, options)), cache(*source, options.cache_bytes) {
    claims = source->mpp;
    for (MppClaim& c : mpp_sidecar(path)) claims.push_back(std::move(c));
    mpp = resolve_mpp(path, claims, options);
    source->warnings.insert(source->warnings.end(), mpp.warnings.begin(), mpp.warnings.end());
  }
};

SlideImage::SlideImage(const std::string& path, const SlideOptions& options) : state_(std::make_unique<State>(path, options)) {}
SlideImage::SlideImage(SlideImage&&) noexcept = default;
SlideImage::~SlideImage() = default;

const std::string& SlideImage::path() const { return state_->path; }
const std::string& SlideImage::format() const { return state_->source->format; }
const std::vector<SlideLevel>& SlideImage::levels() const { return state_->source->levels; }
bool SlideImage::by_rows() const { return state_->source->by_rows; }
const std::vector<std::string>& SlideImage::warnings() const { return state_->source->warnings; }
const std::vector<std::string>& SlideImage::notes() const { return state_->source->notes; }
double SlideImage::mpp() const { return state_->mpp.value; }
const std::string& SlideImage::mpp_from() const { return state_->mpp.from; }
const std::string& SlideImage::mpp_problem() const { return state_->mpp.problem; }
const std::vector<MppClaim>& SlideImage::mpp_claims() const { return state_->claims; }

double SlideImage::known_mpp() const {
  if (!mpp_problem().empty()) throw Error(Exit::data, mpp_problem());
  return mpp();
}

Image SlideImage::read(int level, int64_t x, int64_t y, int64_t width, int64_t height, bool* bad) const {
  check(level >= 0 && level < int(levels().size()), "{}: level {} of {}", path(), level, levels().size());
  check(width > 0 && height > 0 && width <= (int64_t(1) << 31) / height, "{}: a rectangle of {} x {}", path(), width, height);
  const SlideLevel& l = levels()[size_t(level)];
  Image out{width, height, std::vector<uint8_t>(size_t(width * height * 3), 255)};
  for_blocks(l, x, y, width, height, [&](int64_t i, int64_t j) {
    const auto block = state_->cache.get(level, i, j);
    if (block->bad && bad) *bad = true;
    paste(block->pixels, i * l.tile_width, j * l.tile_height, out, x, y);
  });
  return out;
}

int SlideImage::level_for(int64_t side, int size) const {
  const double reduction = std::max(1.0, double(side) / size);
  int best = 0;
  for (size_t i = 1; i < levels().size(); i++)  // 1 %: a level of 4.001 is meant to be one of 4
    if (levels()[i].downsample <= reduction * 1.01) best = int(i);
  return best;
}

Image SlideImage::patch(int64_t x, int64_t y, int64_t side, int size, bool* bad) const {
  check(side > 0 && size > 0, "{}: a patch of {} pixels, resampled to {}", path(), side, size);
  if (side > kMostPatch) fail(Exit::data, "{}: patches of {} pixels on a side, expected at most {}", path(), side, kMostPatch);
  const int level = level_for(side, size);
  const SlideLevel& l = levels()[size_t(level)];
  // The square in the level's pixels: its corner may lie between two of them.
  const double across = double(width()) / double(l.width), down = double(height()) / double(l.height);
  const double left = double(x) / across, top = double(y) / down;
  const auto column = int64_t(std::floor(left)), row = int64_t(std::floor(top));
  const SquareFilter filter(double(side) / l.downsample, size, left - double(column), top - double(row));
  std::vector<float> sums(size_t(size) * size_t(size) * 3), line(size_t(size) * 3);
  constexpr int64_t kBand = 512;  // rows that are held at once
  for (int64_t top_row = 0; top_row < filter.rows(); top_row += kBand) {
    const Image band = read(level, column, row + top_row, filter.columns(), std::min(kBand, filter.rows() - top_row), bad);
    for (int64_t j = 0; j < band.height; j++)
      filter.add(band.rgb.data() + j * band.width * 3, 0, band.width, top_row + j, sums.data(), line.data());
  }
  Image out{size, size, std::vector<uint8_t>(sums.size())};
  filter.finish(sums.data(), out.rgb.data());
  return out;
}

Image SlideImage::thumbnail(int64_t longest) const {
  check(longest > 0 && longest <= 16384, "{}: a thumbnail of {} pixels", path(), longest);
  size_t level = 0;
  for (size_t i = 1; i < levels().size(); i++)
    if (std::max(levels()[i].width, levels()[i].height) >= longest) level = i;
  const SlideLevel& l = levels()[level];
  const int64_t whole = std::max(l.width, l.height), r = std::max<int64_t>(1, whole / longest);
  // Blocks of r x r pixels are averaged on the way; what is left is less than twofold.
  Image half{(l.width + r - 1) / r, (l.height + r - 1) / r, {}};
  half.rgb.resize(size_t(half.width * half.height * 3));
  const int64_t values = half.width * 3;
  std::vector<int64_t> sums;  // of the result's rows that the current blocks touch, from `first` on
  int64_t first = 0;
  for (int64_t top = 0; top < l.height; top += l.tile_height) {
    const int64_t end = std::min(top + l.tile_height, l.height);
    sums.resize(size_t(((end - 1) / r - first + 1) * values));
    for (int64_t i = 0; i * l.tile_width < l.width; i++) {
      const Image pixels = state_->source->block(int(level), i, top / l.tile_height).pixels;
      for (int64_t y = 0; y < pixels.height; y++) {
        int64_t* row = sums.data() + ((top + y) / r - first) * values;
        const uint8_t* p = pixels.rgb.data() + y * pixels.width * 3;
        for (int64_t x = 0; x < pixels.width; x++, p += 3) {
          int64_t* bin = row + (i * l.tile_width + x) / r * 3;
          bin[0] += p[0], bin[1] += p[1], bin[2] += p[2];
        }
      }
    }
    const int64_t done = end == l.height ? half.height : end / r;
    for (int64_t y = first; y < done; y++)
      for (int64_t x = 0; x < half.width; x++) {
        const int64_t pixels = std::min(r, l.height - y * r) * std::min(r, l.width - x * r);
        for (int64_t c = x * 3; c < x * 3 + 3; c++)
          half.rgb[size_t(y * values + c)] = uint8_t((sums[size_t((y - first) * values + c)] + pixels / 2) / pixels);
      }
    sums.erase(sums.begin(), sums.begin() + (done - first) * values);
    first = done;
  }
  const double scale = std::min(1.0, double(longest) / double(std::max(width(), height())));
  return resize(half, std::max<int64_t>(1, std::llround(double(width()) * scale)),
                std::max<int64_t>(1, std::llround(double(height()) * scale)), PixelFilter::bilinear);
}

}  // namespace stflow
