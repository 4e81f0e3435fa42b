#include "data/square.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace stflow {

std::vector<SquareFilter::Taps> SquareFilter::taps(double length, int size, double offset, int64_t count) {
  std::vector<Taps> all;
  double scale = length / size, support = std::max(scale, 1.0);
  for (int o = 0; o < size; o++) {
    double centre = offset + (o + 0.5) * scale;
    auto first = std::max<int64_t>(0, int64_t(std::floor(centre - support + 0.5)));
    auto end = std::min<int64_t>(count, int64_t(std::floor(centre + support + 0.5)));
    std::vector<double> w;
    for (int64_t i = first; i < end; i++) w.push_back(std::max(0.0, 1 - std::fabs(double(i) + 0.5 - centre) / support));
    double total = std::accumulate(w.begin(), w.end(), 0.0);
    Taps t{first, {}};
    for (double x : w) t.weight.push_back(float(x / total));
    all.push_back(std::move(t));
  }
  return all;
}

SquareFilter::SquareFilter(double length, int size, double offset_x, double offset_y)
    : size_(size),
      columns_(std::max<int64_t>(1, int64_t(std::ceil(offset_x + length - 1e-6)))),
      rows_(std::max<int64_t>(1, int64_t(std::ceil(offset_y + length - 1e-6)))),
      across_(taps(length, size, offset_x, columns_)),
      down_(taps(length, size, offset_y, rows_)) {}

void SquareFilter::add(const uint8_t* row, int64_t left, int64_t width, int64_t j, float* sums, float* line) const {
  for (int o = 0; o < size_; o++) {
    const Taps& t = across_[size_t(o)];
    float r = 0, g = 0, b = 0;
    for (size_t k = 0; k < t.weight.size(); k++) {
      int64_t x = left + t.first + int64_t(k);
      float w = t.weight[k];
      if (row && x >= 0 && x < width) {
        const uint8_t* q = row + 3 * x;
        r += w * float(q[0]), g += w * float(q[1]), b += w * float(q[2]);
      } else {
        r += w * 255, g += w * 255, b += w * 255;
      }
    }
    const size_t at = 3 * size_t(o);
    line[at] = r, line[at + 1] = g, line[at + 2] = b;
  }
  const size_t values = 3 * size_t(size_);
  for (int o = 0; o < size_; o++) {
    const Taps& t = down_[size_t(o)];
    if (j < t.first || j >= t.first + int64_t(t.weight.size())) continue;
    float w = t.weight[size_t(j - t.first)];
    float* out = sums + size_t(o) * values;
    for (size_t i = 0; i < values; i++) out[i] += w * line[i];
  }
}

void SquareFilter::finish(const float* sums, uint8_t* rgb) const {
  for (size_t i = 0; i < 3 * size_t(size_) * size_t(size_); i++) rgb[i] = uint8_t(std::clamp(sums[i] + 0.5f, 0.0f, 255.0f));
}

}  // namespace stflow
