#include "data/prediction/overlay.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/prediction/canvas.h"
#include "engine/error.h"

namespace stflow {
namespace {

/// The spots from above to below, each with its colour.
struct Painter {
  struct Spot {
    double x, y;
    Rgb colour;
  };
  std::vector<Spot> spots;
  const SpotColours& how;
  int64_t width;
  size_t first = 0;  // spots before it end above the present row

  Painter(const SpotColours& s, int64_t w, const ColourRange& range) : how(s), width(w) {
    for (size_t i = 0; i < s.values.size(); i++)
      if (std::isfinite(s.values[i])) spots.push_back({s.xy[2 * i], s.xy[2 * i + 1], range.colour(s.values[i])});
    std::stable_sort(spots.begin(), spots.end(), [](const Spot& a, const Spot& b) { return a.y < b.y; });
  }

  /// Rows come from above to below. The edge is soft over one pixel.
  void paint(int64_t y, uint8_t* rgb) {
    const double reach = how.radius + 0.5;
    while (first < spots.size() && spots[first].y < double(y) - reach) first++;
    for (size_t i = first; i < spots.size() && spots[i].y <= double(y) + reach; i++) {
      const Spot& s = spots[i];
      const double dy = std::fabs(double(y) - s.y);
      const auto left = int64_t(std::max(0.0, std::ceil(s.x - reach))),
                 right = int64_t(std::min(double(width - 1), std::floor(s.x + reach)));
      for (int64_t x = left; x <= right; x++) {
        const double dx = std::fabs(double(x) - s.x), distance = how.square ? std::max(dx, dy) : std::hypot(dx, dy);
        const double opacity = how.opacity * std::clamp(reach - distance, 0.0, 1.0);
        uint8_t* p = rgb + 3 * x;
        for (size_t c = 0; c < 3; c++) p[c] = uint8_t(std::lround(p[c] + opacity * (s.colour[c] - p[c])));
      }
    }
  }
};

}  // namespace

void write_overlay(const std::string& path, const RowSource& slide, const SpotColours& spots, PyramidOptions options) {
  check(spots.xy.size() == 2 * spots.values.size(), "{}: {} coordinates for {} values", path, spots.xy.size(), spots.values.size());
  const ColourRange range = colour_range(spots.values);
  options.description += fmt::format("{}viridis from {:.3g} to {:.3g}", options.description.empty() ? "" : ": ", range.low, range.high);
  PyramidTiff file(path, slide.width, slide.height, std::move(options));
  Painter painter(spots, slide.width, range);
  std::vector<uint8_t> row(size_t(3 * slide.width));
  for (int64_t y = 0; y < slide.height; y++) {
    slide.next_row(row.data());
    painter.paint(y, row.data());
    file.row(row.data());
  }
  file.commit();
}

}  // namespace stflow
