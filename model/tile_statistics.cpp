#include "model/tile_statistics.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace stflow {
namespace {

constexpr int kLevels = 5, kPatchLevels = 3;

/// Sum and sum of squares of `n` numbers (n is counted by the row). Floats for a patch, doubles for a tile.
template <class T> struct Moments {
  T sum = 0, squares = 0;
  int n = 0;
  void add(T x) { sum += x, squares += x * x; }
  [[nodiscard]] double mean() const { return double(sum) / std::max(n, 1); }
  [[nodiscard]] double deviation() const { return std::sqrt(std::max(0.0, double(squares) / std::max(n, 1) - mean() * mean())); }
};
void join(Moments<double>& a, const Moments<float>& b) { a.sum += double(b.sum), a.squares += double(b.squares), a.n += b.n; }

/// One channel of a square: values, and absolute differences to the right and down.
template <class T> struct Texture {
  Moments<T> values, right, down;
  [[nodiscard]] double difference() const { return right.mean() + down.mean(); }
};

/// The texture of the square of `side` pixels at (y0, x0) of channel c in an image (width, width, 3).
Texture<float> texture_of(const float* image, int width, int y0, int x0, int side, int c) {
  Texture<float> t;
  for (int y = y0; y < y0 + side; y++) {
    const float* p = image + (int64_t(y) * width + x0) * 3 + c;
    const int rights = std::min(side, width - 1 - x0);
    for (int i = 0; i < side; i++) t.values.add(p[3 * i]);
    for (int i = 0; i < rights; i++) t.right.add(std::fabs(p[3 * i] - p[3 * i + 3]));
    t.values.n += side, t.right.n += rights;
    if (y + 1 == width) break;
    for (int i = 0; i < side; i++) t.down.add(std::fabs(p[3 * i] - p[3 * (i + width)]));
    t.down.n += side;
  }
  return t;
}

/// Averages of 2 x 2 pixels: (side, side, 3) -> (side / 2, side / 2, 3).
std::vector<float> halve(const std::vector<float>& x, int side) {
  const int half = side / 2;
  std::vector<float> y(size_t(half) * size_t(half) * 3);
  for (int i = 0; i < half; i++)
    for (int j = 0; j < half; j++)
      for (int c = 0; c < 3; c++) {
        const float* p = x.data() + (int64_t(2 * i) * side + 2 * j) * 3 + c;
        y[size_t((i * half + j) * 3 + c)] = 0.25f * (p[0] + p[3] + p[3 * side] + p[3 * side + 3]);
      }
  return y;
}

/// Mean, deviation, cube root of the third moment of each channel, and the covariances, over the seen patches.
float* colour(const float* density, int size, int patch, const uint8_t* seen, float* out) {
  auto each_pixel = [&](auto f) {
    for (int y = 0; y < size; y++)
      for (int x = 0; x < size; x += patch) {
        if (seen && !seen[y / patch * (size / patch) + x / patch]) continue;
        for (int i = 0; i < patch; i++) f(density + (int64_t(y) * size + x + i) * 3);
      }
  };
  double pixels = 0, mean[3] = {0, 0, 0}, third[3] = {0, 0, 0}, covariance[3][3] = {};
  each_pixel([&](const float* p) {
    pixels++;
    for (int c = 0; c < 3; c++) mean[c] += double(p[c]);
  });
  for (double& m : mean) m /= pixels;
  each_pixel([&](const float* p) {
    double d[3];
    for (int c = 0; c < 3; c++) d[c] = double(p[c]) - mean[c];
    for (int c = 0; c < 3; c++) {
      third[c] += d[c] * d[c] * d[c];
      for (int e = c; e < 3; e++) covariance[c][e] += d[c] * d[e];
    }
  });
  for (double m : mean) *out++ = float(m);
  for (int c = 0; c < 3; c++) *out++ = float(std::sqrt(covariance[c][c] / pixels));
  for (double t : third) *out++ = float(std::cbrt(t / pixels));
  for (int c = 0; c < 3; c++)
    for (int e = c; e < 3; e++) *out++ = float(covariance[c][e] / pixels);
  return out;
}

}  // namespace

void tile_statistics(const float* density, int size, int patch, const uint8_t* seen, float* tile, float* patches) {
  tile = colour(density, size, patch, seen, tile);
  std::vector<float> level(density, density + int64_t(size) * size * 3);
  for (int l = 0, width = size, side = patch; l < kLevels; l++, width /= 2, side /= 2) {
    if (l > 0) level = halve(level, 2 * width);
    Texture<double> whole[3];
    for (int y = 0, n = 0; y < width; y += side)
      for (int x = 0; x < width; x += side, n++)
        for (int c = 0; c < 3; c++) {
          const Texture<float> t = texture_of(level.data(), width, y, x, side, c);
          if (!seen || seen[n]) join(whole[c].values, t.values), join(whole[c].right, t.right), join(whole[c].down, t.down);
          if (l >= kPatchLevels) continue;
          float* out = patches + n * kPatchStatistics + c * (2 + kPatchLevels);
          if (l == 0) out[0] = float(3 * t.values.mean()), out[1] = float(std::log(t.values.deviation() + 0.02) + 2);
          out[2 + l] = float(std::log(t.difference() + 0.01) + 2.5);
        }
    for (const auto& t : whole) {
      *tile++ = float(t.difference());
      *tile++ = float(t.values.deviation());
      *tile++ = float(t.right.deviation() + t.down.deviation());
    }
  }
}

}  // namespace stflow
