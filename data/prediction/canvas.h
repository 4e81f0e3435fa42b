// A small RGB canvas: what the maps need to be drawn, and nothing more.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/image.h"

namespace stflow {

using Rgb = std::array<uint8_t, 3>;

class Canvas {
 public:
  Canvas(int64_t width, int64_t height, Rgb background = {255, 255, 255});

  [[nodiscard]] const Image& image() const { return image_; }

  /// Everything outside the canvas is cut off.
  void pixel(int64_t x, int64_t y, Rgb colour, double opacity = 1);
  void rectangle(int64_t x, int64_t y, int64_t width, int64_t height, Rgb colour);
  /// A filled circle with a soft edge of one pixel.
  void circle(double x, double y, double radius, Rgb colour);
  /// Text whose upper left corner is (x, y), in a bitmap font of 7 * size pixels' height.
  void text(int64_t x, int64_t y, const std::string& line, Rgb colour, int size = 1);
  static int64_t text_width(const std::string& line, int size = 1);

 private:
  Image image_;
};

/// Viridis (Smith and van der Walt, CC0), perceptually uniform: t in [0, 1], cut off outside.
Rgb viridis(double t);

/// Values from `low` to `high` as viridis.
struct ColourRange {
  double low = 0, high = 1;
  [[nodiscard]] Rgb colour(double value) const;
};
/// From the 2nd to the 98th percentile of the finite values: a few extreme spots do not make the others look alike.
ColourRange colour_range(const std::vector<float>& values);

}  // namespace stflow
