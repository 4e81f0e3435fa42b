#include "data/prediction/canvas.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_easy_font.h>
#pragma GCC diagnostic pop

namespace stflow {

Canvas::Canvas(int64_t width, int64_t height, Rgb background) : image_{width, height, std::vector<uint8_t>(size_t(3 * width * height))} {
  for (size_t i = 0; i < image_.rgb.size(); i++) image_.rgb[i] = background[i % 3];
}

void Canvas::pixel(int64_t x, int64_t y, Rgb colour, double opacity) {
  if (x < 0 || y < 0 || x >= image_.width || y >= image_.height) return;
  uint8_t* p = image_.rgb.data() + 3 * (y * image_.width + x);
  for (size_t c = 0; c < 3; c++) p[c] = uint8_t(std::lround(p[c] + opacity * (colour[c] - p[c])));
}

void Canvas::rectangle(int64_t x, int64_t y, int64_t width, int64_t height, Rgb colour) {
  for (int64_t j = y; j < y + height; j++)
    for (int64_t i = x; i < x + width; i++) pixel(i, j, colour);
}

void Canvas::circle(double x, double y, double radius, Rgb colour) {
  for (auto j = int64_t(y - radius - 1); j <= int64_t(y + radius + 1); j++)
    for (auto i = int64_t(x - radius - 1); i <= int64_t(x + radius + 1); i++)
      pixel(i, j, colour, std::clamp(radius + 0.5 - std::hypot(double(i) - x, double(j) - y), 0.0, 1.0));
}

// The font comes as axis-parallel rectangles of four corners (x, y, z floats and a colour: 16 bytes each).
void Canvas::text(int64_t x, int64_t y, const std::string& line, Rgb colour, int size) {
  std::vector<char> corners(line.size() * 300 + 300);
  std::string copy = line;
  const int quads = stb_easy_font_print(0, 0, copy.data(), nullptr, corners.data(), int(corners.size()));
  for (std::ptrdiff_t q = 0; q < quads; q++) {
    float from[2], to[2];
    std::memcpy(from, corners.data() + q * 64, sizeof from);
    std::memcpy(to, corners.data() + q * 64 + 32, sizeof to);
    rectangle(x + int64_t(from[0]) * size, y + int64_t(from[1]) * size, int64_t(to[0] - from[0]) * size, int64_t(to[1] - from[1]) * size,
              colour);
  }
}

int64_t Canvas::text_width(const std::string& line, int size) {
  std::string copy = line;
  return int64_t(stb_easy_font_width(copy.data())) * size;
}

Rgb viridis(double t) {
  static constexpr Rgb anchors[] = {{68, 1, 84},    {71, 13, 96},   {72, 24, 106},  {72, 35, 116},  {71, 45, 123},  {69, 55, 129},
                                    {66, 64, 134},  {62, 73, 137},  {59, 82, 139},  {55, 91, 141},  {51, 99, 141},  {47, 107, 142},
                                    {44, 114, 142}, {41, 122, 142}, {38, 130, 142}, {35, 137, 142}, {33, 145, 140}, {31, 152, 139},
                                    {31, 160, 136}, {34, 167, 133}, {40, 174, 128}, {50, 182, 122}, {63, 188, 115}, {78, 195, 107},
                                    {94, 201, 98},  {112, 207, 87}, {132, 212, 75}, {152, 216, 62}, {173, 220, 48}, {194, 223, 35},
                                    {216, 226, 25}, {236, 229, 27}, {253, 231, 37}};
  const double at = std::clamp(t, 0.0, 1.0) * 32;
  const auto low = std::min(size_t(at), size_t(31));
  Rgb c{};
  for (size_t i = 0; i < 3; i++)
    c[i] = uint8_t(std::lround(anchors[low][i] + (at - double(low)) * (anchors[low + 1][i] - anchors[low][i])));
  return c;
}

Rgb ColourRange::colour(double value) const { return viridis((value - low) / std::max(high - low, 1e-9)); }

ColourRange colour_range(const std::vector<float>& values) {
  std::vector<float> sorted;
  std::copy_if(values.begin(), values.end(), std::back_inserter(sorted), [](float v) { return std::isfinite(v); });
  std::sort(sorted.begin(), sorted.end());
  const auto percentile = [&](double q) { return sorted.empty() ? 0 : double(sorted[size_t(std::lround(q * double(sorted.size() - 1)))]); };
  return {percentile(0.02), percentile(0.98)};
}

}  // namespace stflow
