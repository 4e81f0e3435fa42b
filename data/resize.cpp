#include "data/resize.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/error.h"

namespace stflow {
namespace {

constexpr int kBits = 32 - 8 - 2;  // of a weight's fraction: a byte times the weights' sum (below 2 in size) fits into 32 bits

double weight(PixelFilter filter, double x) {
  x = std::fabs(x);
  if (filter == PixelFilter::bilinear) return x < 1 ? 1 - x : 0;
  constexpr double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/// What one output sample reads along one axis.
struct Axis {
  struct Taps {
    int64_t first, count;
  };
  std::vector<Taps> taps;        // by output sample
  std::vector<int32_t> weights;  // (output samples, widest)
  int64_t widest;

  Axis(int64_t from, int64_t to, PixelFilter filter) {
    const double scale = double(from) / double(to), stretch = std::max(scale, 1.0);
    const double support = (filter == PixelFilter::bilinear ? 1.0 : 2.0) * stretch;
    widest = int64_t(std::ceil(support)) * 2 + 1;
    weights.assign(size_t(to * widest), 0);
    std::vector<double> exact(static_cast<size_t>(widest));
    for (int64_t i = 0; i < to; i++) {
      const double centre = (double(i) + 0.5) * scale, inverse = 1.0 / stretch;
      const int64_t first = std::max<int64_t>(int64_t(centre - support + 0.5), 0),
                    count = std::min<int64_t>(int64_t(centre + support + 0.5), from) - first;
      double total = 0;
      for (int64_t k = 0; k < count; k++) total += exact[size_t(k)] = weight(filter, (double(k + first) - centre + 0.5) * inverse);
      for (int64_t k = 0; k < count; k++) {
        const double w = (total != 0 ? exact[size_t(k)] / total : exact[size_t(k)]) * (1 << kBits);
        weights[size_t(i * widest + k)] = int32_t(w < 0 ? w - 0.5 : w + 0.5);
      }
      taps.push_back({first, count});
    }
  }
};

uint8_t clipped(int32_t sum) { return uint8_t(std::clamp(sum >> kBits, 0, 255)); }

Image along_rows(const Image& in, int64_t width, PixelFilter filter) {
  const Axis axis(in.width, width, filter);
  Image out{width, in.height, std::vector<uint8_t>(size_t(width * in.height * 3))};
  for (int64_t y = 0; y < in.height; y++)
    for (int64_t x = 0; x < width; x++) {
      const auto [first, count] = axis.taps[size_t(x)];
      const int32_t* w = axis.weights.data() + x * axis.widest;
      const uint8_t* p = in.rgb.data() + (y * in.width + first) * 3;
      int32_t r = 1 << (kBits - 1), g = r, b = r;
      for (int64_t k = 0; k < count; k++, p += 3) r += p[0] * w[k], g += p[1] * w[k], b += p[2] * w[k];
      uint8_t* q = out.rgb.data() + (y * width + x) * 3;
      q[0] = clipped(r), q[1] = clipped(g), q[2] = clipped(b);
    }
  return out;
}

Image along_columns(const Image& in, int64_t height, PixelFilter filter) {
  const Axis axis(in.height, height, filter);
  const int64_t row = in.width * 3;
  Image out{in.width, height, std::vector<uint8_t>(size_t(row * height))};
  std::vector<int32_t> sums(static_cast<size_t>(row));
  for (int64_t y = 0; y < height; y++) {
    const auto [first, count] = axis.taps[size_t(y)];
    std::fill(sums.begin(), sums.end(), 1 << (kBits - 1));
    for (int64_t k = 0; k < count; k++) {
      const int32_t w = axis.weights[size_t(y * axis.widest + k)];
      const uint8_t* p = in.rgb.data() + (first + k) * row;
      for (int64_t i = 0; i < row; i++) sums[size_t(i)] += p[i] * w;
    }
    std::transform(sums.begin(), sums.end(), out.rgb.begin() + y * row, clipped);
  }
  return out;
}

/// Half of an even number, and of an odd one the even neighbour of the half: how Python rounds.
int64_t half_to_even(int64_t n) { return n % 2 == 0 ? n / 2 : (n / 2) + (n / 2) % 2; }

}  // namespace

Image resize(const Image& image, int64_t width, int64_t height, PixelFilter filter) {
  check(width > 0 && height > 0 && image.width > 0 && image.height > 0, "resize: {} x {} to {} x {}", image.width, image.height, width,
        height);
  if (width == image.width) return height == image.height ? image : along_columns(image, height, filter);
  // Pillow shortens what is more than a hundred times as high as wide along the columns first.
  if (image.height > 100 * image.width && height < image.height) return along_rows(along_columns(image, height, filter), width, filter);
  const Image across = along_rows(image, width, filter);
  return height == image.height ? across : along_columns(across, height, filter);
}

Image resize_shorter(Image image, int64_t size, PixelFilter filter) {
  const bool tall = image.width <= image.height;
  const int64_t shorter = std::min(image.width, image.height), longer = size * std::max(image.width, image.height) / shorter;
  if (shorter == size) return image;
  return tall ? resize(image, size, longer, filter) : resize(image, longer, size, filter);
}

Image centre_crop(Image image, int64_t size) {
  if (image.width == size && image.height == size) return image;
  // Where the picture's corner lies in a canvas that is large enough, and the crop's in that canvas.
  const int64_t pad_x = std::max<int64_t>(0, size - image.width) / 2, pad_y = std::max<int64_t>(0, size - image.height) / 2;
  const int64_t left = half_to_even(std::max<int64_t>(0, image.width - size)) - pad_x,
                top = half_to_even(std::max<int64_t>(0, image.height - size)) - pad_y;
  Image out{size, size, std::vector<uint8_t>(size_t(size * size * 3))};
  const int64_t from = std::max<int64_t>(left, 0), to = std::min(left + size, image.width);
  for (int64_t y = 0; y < size; y++)
    if (top + y >= 0 && top + y < image.height)
      std::copy_n(image.rgb.begin() + ((top + y) * image.width + from) * 3, (to - from) * 3,
                  out.rgb.begin() + (y * size + from - left) * 3);
  return out;
}

Image preprocess(Image image, int64_t resize, PixelFilter filter, int64_t crop) {
  if (resize > 0) image = resize_shorter(std::move(image), resize, filter);
  if (crop > 0) image = centre_crop(std::move(image), crop);
  return image;
}

}  // namespace stflow
