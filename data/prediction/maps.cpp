#include "data/prediction/maps.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "data/png.h"
#include "data/prediction/canvas.h"

namespace stflow {
namespace {

constexpr int64_t kMargin = 24, kTitle = 64, kFoot = 36, kBar = 110;
constexpr Rgb kInk{40, 40, 40};

double percentile(std::vector<float> v, double q) {
  std::sort(v.begin(), v.end());
  return v.empty() ? 0 : double(v[size_t(std::lround(q * double(v.size() - 1)))]);
}

// The tissue, pale and grey, so that the spots' colours are what one sees; then the spots.
void panel(Canvas& canvas, const MapBackground& b, int64_t left, int64_t top, const std::vector<float>& values, double low, double high) {
  for (int64_t y = 0; y < b.tissue.height; y++)
    for (int64_t x = 0; x < b.tissue.width; x++) {
      const uint8_t* p = b.tissue.rgb.data() + 3 * (y * b.tissue.width + x);
      const int grey = (p[0] * 30 + p[1] * 59 + p[2] * 11) / 100;
      const auto pale = uint8_t(110 + grey * 145 / 255);
      canvas.pixel(left + x, top + y, {pale, pale, pale});
    }
  for (size_t i = 0; i < values.size(); i++)
    canvas.circle(double(left - b.left) + b.xy[2 * i] / b.reduce, double(top - b.top) + b.xy[2 * i + 1] / b.reduce,
                  std::max(1.5, b.spot_radius / b.reduce), viridis((double(values[i]) - low) / std::max(high - low, 1e-9)));
}

// The longest of 1, 2, 5 x 10^n microns that fits a quarter of the panel.
void scale_bar(Canvas& canvas, const MapBackground& b, int64_t left, int64_t top) {
  if (!(b.mpp > 0)) return;
  const double most = double(b.tissue.width) * b.reduce * b.mpp / 4;
  double microns = 1;
  for (int decade = 1; decade < 1'000'000; decade *= 10)
    for (int step : {1, 2, 5})
      if (step * decade <= most) microns = step * decade;
  const auto length = int64_t(std::lround(microns / b.mpp / b.reduce));
  canvas.rectangle(left, top, length, 4, kInk);
  canvas.text(left + length + 8, top - 3, microns >= 1000 ? fmt::format("{:g} mm", microns / 1000) : fmt::format("{:g} um", microns), kInk,
              1);
}

}  // namespace

MapBackground map_background(const std::string& image, double mpp, const std::vector<double>& xy, double spot_radius, int pixels) {
  double low[2] = {1e300, 1e300}, high[2] = {-1e300, -1e300};
  for (size_t i = 0; i < xy.size(); i++) low[i % 2] = std::min(low[i % 2], xy[i]), high[i % 2] = std::max(high[i % 2], xy[i]);
  const double margin = 4 * spot_radius, side = std::max(high[0] - low[0], high[1] - low[1]) + 2 * margin;
  MapBackground b;
  b.reduce = std::max(1, int(std::ceil(side / pixels)));
  b.mpp = mpp, b.xy = xy, b.spot_radius = spot_radius;
  const Image whole = read_image(image, b.reduce);
  auto place = [&](double x, int64_t end) { return std::clamp(int64_t(x / b.reduce), int64_t(0), end); };
  b.left = place(low[0] - margin, whole.width - 1), b.top = place(low[1] - margin, whole.height - 1);
  b.tissue.width = std::max(place(high[0] + margin, whole.width), b.left + 1) - b.left;
  b.tissue.height = std::max(place(high[1] + margin, whole.height), b.top + 1) - b.top;
  for (int64_t y = 0; y < b.tissue.height; y++) {
    const auto from = whole.rgb.begin() + 3 * ((b.top + y) * whole.width + b.left);
    b.tissue.rgb.insert(b.tissue.rgb.end(), from, from + 3 * b.tissue.width);
  }
  return b;
}

void write_gene_map(const std::string& path, const MapBackground& b, const std::string& section, const std::string& gene,
                    const std::vector<float>& measured, const std::vector<float>& predicted, double pearson) {
  const int64_t w = b.tissue.width, h = b.tissue.height;
  Canvas canvas(2 * w + 3 * kMargin + kBar, h + kTitle + kFoot + kMargin);
  const double low = percentile(measured, 0.02), high = percentile(measured, 0.98);
  canvas.text(kMargin, 16, fmt::format("{}  in section {}   (Pearson {:.3f})", gene, section, pearson), kInk, 2);
  canvas.text(kMargin, kTitle - 18, "measured", kInk, 2);
  canvas.text(2 * kMargin + w, kTitle - 18, "predicted from the image", kInk, 2);
  panel(canvas, b, kMargin, kTitle, measured, low, high);
  panel(canvas, b, 2 * kMargin + w, kTitle, predicted, low, high);
  scale_bar(canvas, b, kMargin, kTitle + h + 16);

  const int64_t x = 3 * kMargin + 2 * w, bar = h * 2 / 3, top = kTitle + (h - bar) / 2;
  for (int64_t y = 0; y < bar; y++) canvas.rectangle(x, top + y, 18, 1, viridis(1 - double(y) / double(bar - 1)));
  for (int tick = 0; tick <= 4; tick++) {
    const int64_t y = top + (bar - 1) * (4 - tick) / 4;
    canvas.rectangle(x + 18, y, 5, 1, kInk);
    canvas.text(x + 27, y - 3, fmt::format("{:.1f}", low + (high - low) * tick / 4), kInk, 1);
  }
  canvas.text(x, top - 18, "log(1 + count)", kInk, 1);
  write_png(path, canvas.image());
}

}  // namespace stflow
