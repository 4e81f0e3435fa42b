// A drawn slide: a background with a scanner's noise, and tissue of H&E's colours with nuclei.
#pragma once
#include <cmath>

#include "data/image.h"
#include "engine/random.h"

namespace stflow::test {

struct Rgb {
  int r, g, b;
};

inline void set_pixel(Image& image, int64_t x, int64_t y, Rgb c) {
  const auto at = size_t(3 * (y * image.width + x));
  image.rgb[at] = uint8_t(c.r), image.rgb[at + 1] = uint8_t(c.g), image.rgb[at + 2] = uint8_t(c.b);
}

/// `c` or up to two levels darker, by place.
inline Rgb noisy(Rgb c, uint64_t place) {
  const uint32_t w = RandomKey(11, Stream::test).draw(place).v[0];
  auto less = [&](int v, int by) { return v > by ? v - by : v; };
  return {less(c.r, int(w % 3)), less(c.g, int(w / 3 % 3)), less(c.b, int(w / 9 % 3))};
}

inline Image blank_slide(int64_t width, int64_t height, Rgb background) {
  Image image{width, height, std::vector<uint8_t>(size_t(3 * width * height))};
  for (int64_t y = 0; y < height; y++)
    for (int64_t x = 0; x < width; x++) set_pixel(image, x, y, noisy(background, uint64_t(y * width + x)));
  return image;
}

/// A disc of eosin with a nucleus in every seventh pixel or so.
inline void draw_tissue(Image& image, double x0, double y0, double radius) {
  for (int64_t y = 0; y < image.height; y++)
    for (int64_t x = 0; x < image.width; x++) {
      if (std::hypot(double(x) - x0, double(y) - y0) >= radius) continue;
      const auto place = uint64_t(y * image.width + x);
      const bool nucleus = RandomKey(12, Stream::test).draw(place).v[0] % 7 == 0;
      set_pixel(image, x, y, noisy(nucleus ? Rgb{110, 80, 150} : Rgb{205, 150, 190}, place));
    }
}

inline void erase_disc(Image& image, double x0, double y0, double radius) {
  for (int64_t y = 0; y < image.height; y++)
    for (int64_t x = 0; x < image.width; x++)
      if (std::hypot(double(x) - x0, double(y) - y0) < radius)
        set_pixel(image, x, y, noisy({245, 243, 242}, uint64_t(y * image.width + x)));
}

}  // namespace stflow::test
