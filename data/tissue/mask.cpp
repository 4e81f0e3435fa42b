#include "data/tissue/mask.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "data/tissue/morphology.h"
#include "engine/error.h"
#include "engine/threads.h"

namespace stflow {
namespace {

constexpr int kBlack = 50;              // a pixel whose brightest channel is below: border, frame, fold
constexpr double kBin = 0.002;          // optical density that a level of Stain is worth
constexpr int kLeast = 25, kMost = 40;  // levels between which Otsu's threshold is held: density 0.05 and 0.08
// Pale tissue (fat, a thin rim) is below the threshold but has a grain that background and washed-out eosin lack: on sections of four kinds
// the standard deviation of grey density within 16 microns is 0.012 and more there, below 0.006 elsewhere.
constexpr double kGrain = 0.012;
constexpr int kPale = 8;
// Microns: found on sections at 3 to 26 microns a pixel. Fat and lumina are closed, single cells and fibres opened.
constexpr double kMedian = 16, kClose = 32, kOpen = 8, kPenMargin = 24;

struct Colour {
  int r, g, b;
  [[nodiscard]] int brightest() const { return std::max({r, g, b}); }
  [[nodiscard]] int darkest() const { return std::min({r, g, b}); }
};

Colour pixel(const Image& image, int64_t i) {
  const uint8_t* p = &image.rgb[size_t(3 * i)];
  return {p[0], p[1], p[2]};
}

// Every `reduce` x `reduce` block averaged into one pixel.
Image reduced(const Image& in, int64_t reduce) {
  if (reduce == 1) return in;
  Image out{(in.width + reduce - 1) / reduce, (in.height + reduce - 1) / reduce, {}};
  out.rgb.resize(size_t(3 * out.width * out.height));
  parallel_for(out.height, 16, [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; y++)
      for (int64_t x = 0; x < out.width; x++) {
        const int64_t x1 = std::min(in.width, (x + 1) * reduce), y1 = std::min(in.height, (y + 1) * reduce);
        std::array<int64_t, 3> sum{};
        for (int64_t v = y * reduce; v < y1; v++)
          for (int64_t u = x * reduce; u < x1; u++)
            for (size_t c = 0; c < 3; c++) sum[c] += in.rgb[size_t(3 * (v * in.width + u)) + c];
        const int64_t n = (x1 - x * reduce) * (y1 - y * reduce);
        for (size_t c = 0; c < 3; c++) out.rgb[size_t(3 * (y * out.width + x)) + c] = uint8_t((sum[c] + n / 2) / n);
      }
  });
  return out;
}

// The background's colour: the mean of the pixels between the 90th and the 98th percentile of brightness, black ones left out. Not the
// most frequent colour, which is tissue where that fills the image. White where even those pixels are dark or coloured.
std::array<double, 3> background_of(const Image& image) {
  const int64_t n = image.width * image.height;
  std::array<int64_t, 766> count{};  // of pixels by r + g + b
  std::array<std::array<int64_t, 3>, 766> sum{};
  int64_t all = 0;
  for (int64_t i = 0; i < n; i++) {
    const Colour c = pixel(image, i);
    if (c.brightest() < kBlack) continue;
    const auto level = size_t(c.r) + size_t(c.g) + size_t(c.b);
    count[level]++, all++;
    sum[level][0] += c.r, sum[level][1] += c.g, sum[level][2] += c.b;
  }
  std::array<double, 3> mean{};
  int64_t below = 0;
  double used = 0;
  for (size_t level = 0; level < count.size(); level++) {
    const int64_t above = below + count[level];
    if (above * 10 > all * 9 && below * 100 < all * 98) {
      used += double(count[level]);
      for (size_t c = 0; c < 3; c++) mean[c] += double(sum[level][c]);
    }
    below = above;
  }
  for (double& v : mean) v /= std::max(used, 1.0);
  const auto [low, high] = std::minmax_element(mean.begin(), mean.end());
  if (used == 0 || *high - *low > 32 || *low < 120) return {255, 255, 255};
  return mean;
}

// How unevenly each pixel absorbs, in levels of kBin; how much, in density; where it is black; where it has a pen's colour.
struct Stain {
  std::vector<uint8_t> level;
  std::vector<float> grey;
  Bitmap black, pen;
};

// `c` after the background was divided out. Hues of H&E run from violet over magenta to orange.
bool is_pen(const std::array<double, 3>& c) {
  const double high = std::max({c[0], c[1], c[2]}), low = std::min({c[0], c[1], c[2]}), spread = high - low;
  if (spread <= 0) return false;
  double hue = high == c[0] ? (c[1] - c[2]) / spread : high == c[1] ? 2 + (c[2] - c[0]) / spread : 4 + (c[0] - c[1]) / spread;
  hue = hue < 0 ? 60 * hue + 360 : 60 * hue;
  const double saturation = spread / high;
  if (hue >= 50 && hue < 225) return saturation > 0.3;
  if (hue >= 225 && hue < 245) return saturation > 0.6;
  return (hue < 20 || hue >= 345) && saturation > 0.8 && high > 150;
}

Stain stain_of(const Image& image) {
  const int64_t n = image.width * image.height;
  const std::array<double, 3> background = background_of(image);
  std::array<std::array<double, 256>, 3> density{};
  for (size_t c = 0; c < 3; c++)
    for (int v = 0; v < 256; v++) density[c][size_t(v)] = std::max(0.0, std::log10(background[c] / std::max(v, 8)));
  Stain s{std::vector<uint8_t>(size_t(n)), std::vector<float>(size_t(n)), {image.width, image.height, {}}, {image.width, image.height, {}}};
  s.black.on.assign(size_t(n), 0), s.pen.on.assign(size_t(n), 0);
  parallel_for(n, 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const Colour c = pixel(image, i);
      const auto at = size_t(i);
      if (c.brightest() < kBlack) {
        s.black.on[at] = 1;
        continue;
      }
      const double r = density[0][size_t(c.r)], g = density[1][size_t(c.g)], b = density[2][size_t(c.b)];
      s.level[at] = uint8_t(std::min(255.0, (std::max({r, g, b}) - std::min({r, g, b})) / kBin));
      s.grey[at] = float((r + g + b) / 3);
      s.pen.on[at] = is_pen({255 * c.r / background[0], 255 * c.g / background[1], 255 * c.b / background[2]});
    }
  });
  return s;
}

// The mean of the 3 x 3 pixels around each, black ones left out.
std::vector<uint8_t> smooth(const Stain& s) {
  const int64_t w = s.black.width, h = s.black.height;
  std::vector<uint8_t> out(s.level.size());
  parallel_for(h, 16, [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; y++)
      for (int64_t x = 0; x < w; x++) {
        if (s.black.on[size_t(y * w + x)]) continue;
        int sum = 0, n = 0;
        for (int64_t v = std::max<int64_t>(0, y - 1); v <= std::min(h - 1, y + 1); v++)
          for (int64_t u = std::max<int64_t>(0, x - 1); u <= std::min(w - 1, x + 1); u++)
            if (!s.black.on[size_t(v * w + u)]) sum += s.level[size_t(v * w + u)], n++;
        out[size_t(y * w + x)] = uint8_t(sum / n);
      }
  });
  return out;
}

// Where grey density varies within `radius`; never beside a black pixel.
Bitmap grain_of(const Stain& s, int64_t radius) {
  const int64_t w = s.black.width, h = s.black.height;
  Bitmap out{w, h, std::vector<uint8_t>(s.level.size())};
  parallel_for(h, 16, [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; y++)
      for (int64_t x = 0; x < w; x++) {
        double sum = 0, squares = 0;
        int64_t n = 0, black = 0;
        for (int64_t v = std::max<int64_t>(0, y - radius); v <= std::min(h - 1, y + radius); v++)
          for (int64_t u = std::max<int64_t>(0, x - radius); u <= std::min(w - 1, x + radius); u++) {
            const auto at = size_t(v * w + u);
            sum += double(s.grey[at]), squares += double(s.grey[at]) * double(s.grey[at]), black += s.black.on[at], n++;
          }
        const double mean = sum / double(n), variance = squares / double(n) - mean * mean;
        out.on[size_t(y * w + x)] = black == 0 && variance > kGrain * kGrain;
      }
  });
  return out;
}

// Otsu's threshold (the level that parts the histogram with the largest variance between its halves) of the pixels that are not black.
int otsu(const std::vector<uint8_t>& level, const Bitmap& black) {
  std::array<int64_t, 256> count{};
  for (size_t i = 0; i < level.size(); i++)
    if (!black.on[i]) count[level[i]]++;
  double all = 0, total = 0;
  for (size_t v = 0; v < 256; v++) all += double(count[v]), total += double(count[v]) * double(v);
  double n = 0, sum = 0, best = -1;
  int threshold = 0;
  for (size_t v = 0; v < 256; v++) {
    n += double(count[v]), sum += double(count[v]) * double(v);
    if (n == 0 || n == all) continue;
    const double between = (total * n - sum * all) * (total * n - sum * all) / (n * (all - n));
    if (between > best) best = between, threshold = int(v);
  }
  return threshold;
}

}  // namespace

bool TissueMask::at(double x, double y) const {
  const double u = std::floor(x / scale), v = std::floor(y / scale);
  if (!(u >= 0 && v >= 0 && u < double(width) && v < double(height))) return false;
  return on[size_t(int64_t(v) * width + int64_t(u))] != 0;
}

double TissueMask::share() const { return on.empty() ? 0 : double(std::count(on.begin(), on.end(), uint8_t(1))) / double(on.size()); }

bool TissueMask::empty() const { return std::find(on.begin(), on.end(), uint8_t(1)) == on.end(); }

TissueMask find_tissue(const Image& thumbnail, double mpp, const TissueOptions& o, double downsample) {
  check(mpp > 0 && std::isfinite(mpp) && downsample > 0, "tissue: {} microns per pixel, downsample {}, expected more than 0", mpp,
        downsample);
  check(int64_t(thumbnail.rgb.size()) == 3 * thumbnail.width * thumbnail.height, "tissue: {} bytes for {} x {} pixels",
        thumbnail.rgb.size(), thumbnail.width, thumbnail.height);
  const auto reduce = int64_t(std::clamp(std::floor(o.resolution / mpp + 1e-9), 1.0, 4096.0));
  const double pixel_um = mpp * double(reduce), pixel_area = pixel_um * pixel_um;
  const Image image = reduced(thumbnail, reduce);
  Stain stain = stain_of(image);
  const std::vector<uint8_t> level = smooth(stain);
  const int threshold = std::clamp(otsu(level, stain.black), kLeast, kMost);
  auto radius = [&](double um) { return int64_t(std::lround(um / pixel_um)); };

  Bitmap sure{image.width, image.height, std::vector<uint8_t>(level.size())},
      b = grain_of(stain, std::clamp<int64_t>(radius(kMedian), 1, 4));
  for (size_t i = 0; i < level.size(); i++) {
    sure.on[i] = level[i] > threshold;
    b.on[i] = sure.on[i] || (b.on[i] && level[i] > kPale);
  }
  majority(sure, radius(kMedian)), majority(b, radius(kMedian));
  flip_pieces(b, 1, [&](const auto& piece, bool) {  // pale tissue is tissue beside sure tissue
    return std::none_of(piece.begin(), piece.end(), [&](int64_t at) { return sure.on[size_t(at)] != 0; });
  });
  dilate(b, radius(kClose)), erode(b, radius(kClose));
  erode(b, radius(kOpen)), dilate(b, radius(kOpen));
  if (o.remove_penmarks) {
    erode(stain.pen, 1), dilate(stain.pen, 1 + radius(kPenMargin));  // a stroke is wider than a stained nucleus, and has soft edges
    for (size_t i = 0; i < b.on.size(); i++) b.on[i] &= uint8_t(!stain.pen.on[i]);
  }
  flip_pieces(b, 1, [&](const auto& piece, bool) { return double(piece.size()) * pixel_area < o.min_area; });
  flip_pieces(
      b, 0, [&](const auto& piece, bool border) { return !border && (!o.remove_holes || double(piece.size()) * pixel_area < o.max_hole); });
  return {b.width, b.height, double(reduce) * downsample, std::move(b.on)};
}

TissueShare::TissueShare(const TissueMask& m)
    : width_(m.width), height_(m.height), scale_(m.scale), sums_(size_t((m.width + 1) * (m.height + 1))) {
  check(m.width * m.height < int64_t(1) << 32, "tissue: a mask of {} x {} pixels", m.width, m.height);
  for (int64_t y = 0; y < height_; y++) {
    uint32_t row = 0;
    for (int64_t x = 0; x < width_; x++) {
      row += m.on[size_t(y * width_ + x)];
      sums_[size_t((y + 1) * (width_ + 1) + x + 1)] = sums_[size_t(y * (width_ + 1) + x + 1)] + row;
    }
  }
}

// Tissue above and to the left of a point in mask pixels: between four points of the table it is bilinear, exactly.
double TissueShare::sum(double x, double y) const {
  x = std::clamp(x, 0.0, double(width_)), y = std::clamp(y, 0.0, double(height_));
  const int64_t u = std::min(int64_t(x), width_ - 1), v = std::min(int64_t(y), height_ - 1);
  const double a = x - double(u), b = y - double(v);
  auto at = [&](int64_t i, int64_t j) { return double(sums_[size_t(j * (width_ + 1) + i)]); };
  return (1 - b) * ((1 - a) * at(u, v) + a * at(u + 1, v)) + b * ((1 - a) * at(u, v + 1) + a * at(u + 1, v + 1));
}

double TissueShare::around(double x, double y, double side) const {
  check(side > 0, "tissue: a square of side {}", side);
  if (width_ == 0 || height_ == 0) return 0;
  const double x0 = (x - side / 2) / scale_, x1 = (x + side / 2) / scale_, y0 = (y - side / 2) / scale_, y1 = (y + side / 2) / scale_;
  const double inside = sum(x1, y1) - sum(x0, y1) - sum(x1, y0) + sum(x0, y0), area = (x1 - x0) * (y1 - y0);
  return std::clamp(inside / area, 0.0, 1.0);
}

}  // namespace stflow
