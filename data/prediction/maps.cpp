#include "data/prediction/maps.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "data/png.h"
#include "data/prediction/canvas.h"
#include "data/slide/slide.h"
#include "engine/file.h"

namespace stflow {
namespace {

constexpr int64_t kMargin = 24, kTitle = 64, kFoot = 36, kBar = 110;
constexpr Rgb kInk{40, 40, 40};

// The tissue, pale and grey, so that the spots' colours are what one sees; then the spots.
void panel(Canvas& canvas, const MapBackground& b, int64_t left, int64_t top, const std::vector<float>& values, const ColourRange& range) {
  for (int64_t y = 0; y < b.tissue.height; y++)
    for (int64_t x = 0; x < b.tissue.width; x++) {
      const uint8_t* p = b.tissue.rgb.data() + 3 * (y * b.tissue.width + x);
      const int grey = (p[0] * 30 + p[1] * 59 + p[2] * 11) / 100;
      const auto pale = uint8_t(110 + grey * 145 / 255);
      canvas.pixel(left + x, top + y, {pale, pale, pale});
    }
  for (size_t i = 0; i < values.size(); i++)
    if (std::isfinite(values[i]))
      canvas.circle(double(left - b.left) + b.xy[2 * i] / b.reduce, double(top - b.top) + b.xy[2 * i + 1] / b.reduce,
                    std::max(1.5, b.spot_radius / b.reduce), range.colour(double(values[i])));
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

struct Panel {
  std::string title;
  const std::vector<float>& values;
};

void colour_bar(Canvas& canvas, int64_t x, int64_t top, int64_t height, const ColourRange& range) {
  for (int64_t y = 0; y < height; y++) canvas.rectangle(x, top + y, 18, 1, viridis(1 - double(y) / double(height - 1)));
  for (int tick = 0; tick <= 4; tick++) {
    const int64_t y = top + (height - 1) * (4 - tick) / 4;
    canvas.rectangle(x + 18, y, 5, 1, kInk);
    canvas.text(x + 27, y - 3, fmt::format("{:.1f}", range.low + (range.high - range.low) * tick / 4), kInk, 1);
  }
  canvas.text(x, top - 18, "log(1 + count)", kInk, 1);
}

// Panels of one colour range side by side.
void write_panels(const std::string& path, const MapBackground& b, const std::string& heading, const std::vector<Panel>& panels,
                  const ColourRange& range) {
  const int64_t w = b.tissue.width, h = b.tissue.height, many = int64_t(panels.size());
  const int64_t wide = many * (w + kMargin) + kMargin + kBar;
  Canvas canvas(std::max(wide, Canvas::text_width(heading, 2) + 2 * kMargin), h + kTitle + kFoot + kMargin);
  canvas.text(kMargin, 16, heading, kInk, 2);
  for (int64_t i = 0; i < many; i++) {
    const int64_t left = kMargin + i * (w + kMargin);
    canvas.text(left, kTitle - 18, panels[size_t(i)].title, kInk, 2);
    panel(canvas, b, left, kTitle, panels[size_t(i)].values, range);
  }
  scale_bar(canvas, b, kMargin, kTitle + h + 16);
  const int64_t bar = std::max<int64_t>(2, h * 2 / 3);
  colour_bar(canvas, many * (w + kMargin) + kMargin, kTitle + (h - bar) / 2, bar, range);
  write_png(path, canvas.image());
}

}  // namespace

namespace {

// The part of the whole, reduced image that has spots.
void cut_out(MapBackground& b, const Image& whole, const std::array<double, 4>& box) {
  auto place = [&](double x, int64_t end) { return std::clamp(int64_t(x / b.reduce), int64_t(0), end); };
  b.left = place(box[0], whole.width - 1), b.top = place(box[1], whole.height - 1);
  b.tissue.width = std::max(place(box[2], whole.width), b.left + 1) - b.left;
  b.tissue.height = std::max(place(box[3], whole.height), b.top + 1) - b.top;
  for (int64_t y = 0; y < b.tissue.height; y++) {
    const auto from = whole.rgb.begin() + 3 * ((b.top + y) * whole.width + b.left);
    b.tissue.rgb.insert(b.tissue.rgb.end(), from, from + 3 * b.tissue.width);
  }
}

// Left, top, right and bottom of the spots and their surroundings.
std::array<double, 4> box_of(const std::vector<double>& xy, double margin) {
  double low[2] = {1e300, 1e300}, high[2] = {-1e300, -1e300};
  for (size_t i = 0; i < xy.size(); i++) low[i % 2] = std::min(low[i % 2], xy[i]), high[i % 2] = std::max(high[i % 2], xy[i]);
  return {low[0] - margin, low[1] - margin, high[0] + margin, high[1] + margin};
}

}  // namespace

MapBackground map_background(const std::string& image, double mpp, const std::vector<double>& xy, double spot_radius, int pixels) {
  const std::array<double, 4> box = box_of(xy, 4 * spot_radius);
  const int reduce = std::max(1, int(std::ceil(std::max(box[2] - box[0], box[3] - box[1]) / pixels)));
  if (image_format(FileView(image).text()).empty()) {  // read by rectangle, from the level that fits
    constexpr int64_t kMost = 4096;
    SlideOptions options;
    options.skip_bad_tiles = true;
    const SlideImage slide(image, options);
    const Image whole = slide.thumbnail(std::clamp<int64_t>(std::max(slide.width(), slide.height()) / reduce, 1, kMost));
    return map_background(whole, double(whole.width) / double(slide.width()), mpp, xy, spot_radius);
  }
  MapBackground b{{}, double(reduce), 0, 0, mpp, xy, spot_radius};
  cut_out(b, read_image(image, reduce), box);
  return b;
}

MapBackground map_background(const Image& reduced, double scale, double mpp, const std::vector<double>& xy, double spot_radius) {
  MapBackground b{{}, 1 / scale, 0, 0, mpp, xy, spot_radius};
  cut_out(b, reduced, box_of(xy, 4 * spot_radius));
  return b;
}

void write_gene_map(const std::string& path, const MapBackground& b, const std::string& section, const std::string& gene,
                    const std::vector<float>& measured, const std::vector<float>& predicted, double pearson) {
  write_panels(path, b, fmt::format("{}  in section {}   (Pearson {:.3f})", gene, section, pearson),
               {{"measured", measured}, {"predicted from the image", predicted}}, colour_range(measured));
}

void write_heat_map(const std::string& path, const MapBackground& b, const std::string& title, const std::vector<float>& values) {
  write_panels(path, b, title, {{"", values}}, colour_range(values));
}

}  // namespace stflow
