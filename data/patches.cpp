#include "data/patches.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "data/image.h"
#include "engine/error.h"

namespace stflow {
namespace {

/// Linear resampling of `side` samples to `size`: out[o] = sum of weight * in[first + k].
struct Filter {
  struct Taps {
    int64_t first;
    std::vector<float> weight;
  };
  std::vector<Taps> taps;  // by output sample

  Filter(int64_t side, int size) {
    double scale = double(side) / size, support = std::max(scale, 1.0);
    for (int o = 0; o < size; o++) {
      double centre = (o + 0.5) * scale;
      auto first = std::max<int64_t>(0, int64_t(std::floor(centre - support + 0.5)));
      auto end = std::min<int64_t>(side, int64_t(std::floor(centre + support + 0.5)));
      std::vector<double> w;
      for (int64_t i = first; i < end; i++) w.push_back(std::max(0.0, 1 - std::fabs(double(i) + 0.5 - centre) / support));
      double total = std::accumulate(w.begin(), w.end(), 0.0);
      Taps t{first, {}};
      for (double x : w) t.weight.push_back(float(x / total));
      taps.push_back(std::move(t));
    }
  }
};

/// A patch whose rows are coming in.
struct Open {
  int64_t index, left, top;
  std::vector<float> sums;  // (size, size, 3)
};

class Cutter {
 public:
  Cutter(int64_t side, int size, int64_t width)
      : side_(side), size_(size), width_(width), filter_(side, size), line_(size_t(size) * 3), bytes_(size_t(size) * size_t(size) * 3) {}

  /// Adds the image row (null: outside, white) at height y to the patch.
  void add(Open& p, const uint8_t* row, int64_t y) {
    for (int o = 0; o < size_; o++) {
      const auto& t = filter_.taps[size_t(o)];
      float r = 0, g = 0, b = 0;
      for (size_t k = 0; k < t.weight.size(); k++) {
        int64_t x = p.left + t.first + int64_t(k);
        float w = t.weight[k];
        if (row && x >= 0 && x < width_) {
          const uint8_t* q = row + 3 * x;
          r += w * float(q[0]), g += w * float(q[1]), b += w * float(q[2]);
        } else {
          r += w * 255, g += w * 255, b += w * 255;
        }
      }
      const size_t at = 3 * size_t(o);
      line_[at] = r, line_[at + 1] = g, line_[at + 2] = b;
    }
    const int64_t j = y - p.top;
    for (int o = 0; o < size_; o++) {
      const auto& t = filter_.taps[size_t(o)];
      if (j < t.first || j >= t.first + int64_t(t.weight.size())) continue;
      float w = t.weight[size_t(j - t.first)];
      float* out = p.sums.data() + size_t(o) * line_.size();
      for (size_t i = 0; i < line_.size(); i++) out[i] += w * line_[i];
    }
  }
  const uint8_t* finish(const Open& p) {
    for (size_t i = 0; i < bytes_.size(); i++) bytes_[i] = uint8_t(std::clamp(p.sums[i] + 0.5f, 0.0f, 255.0f));
    return bytes_.data();
  }

 private:
  int64_t side_;
  int size_;
  int64_t width_;
  Filter filter_;
  std::vector<float> line_;
  std::vector<uint8_t> bytes_;
};

}  // namespace

int64_t patch_side(const Section& s, const PatchSpec& spec) {
  if (!(s.mpp > 0))
    fail(Exit::data, "{}: no microns per pixel: tried --mpp, the manifest and the spot pitch; pass --mpp or --spot-pitch",
         s.source.image.empty() ? s.sample() : s.source.image);
  return std::max<int64_t>(1, std::llround(spec.microns / s.mpp));
}

void cut_patches(const std::string& image, std::span<const double> xy, int64_t side, int size,
                 const std::function<void(int64_t, const uint8_t*)>& sink) {
  ImageReader reader(image);
  const int64_t width = reader.width(), height = reader.height();
  Cutter cutter(side, size, width);
  std::vector<Open> waiting, open;
  for (size_t i = 0; i < xy.size() / 2; i++) {
    double left = std::round(xy[2 * i] - double(side) / 2), top = std::round(xy[2 * i + 1] - double(side) / 2);
    check(std::fabs(left) < 1e15 && std::fabs(top) < 1e15, "patch {} at {}, {}", i, left, top);
    // A patch wholly above or below the image is white wherever it lies: brought near, so that rows are walked once.
    waiting.push_back({int64_t(i), int64_t(left), int64_t(std::clamp(top, double(-side), double(height))), {}});
  }
  std::stable_sort(waiting.begin(), waiting.end(), [](const Open& a, const Open& b) { return a.top < b.top; });

  std::vector<uint8_t> row(size_t(width) * 3);
  size_t next = 0;
  for (int64_t y = -side; y < height + side; y++) {
    bool inside = y >= 0 && y < height;
    if (inside) reader.next_row(row.data());
    for (; next < waiting.size() && waiting[next].top == y; next++) {
      open.push_back(std::move(waiting[next]));
      open.back().sums.assign(size_t(size) * size_t(size) * 3, 0);
    }
    for (auto& p : open) cutter.add(p, inside ? row.data() : nullptr, y);
    while (!open.empty() && open.front().top + side == y + 1) {  // they opened in this order
      sink(open.front().index, cutter.finish(open.front()));
      open.erase(open.begin());
    }
  }
}

std::vector<uint8_t> cut_patches(const Section& s, const PatchSpec& spec) {
  const size_t bytes = size_t(spec.size) * size_t(spec.size) * 3;
  std::vector<uint8_t> all(size_t(s.size()) * bytes);
  cut_patches(s.source.image, s.xy, patch_side(s, spec), spec.size,
              [&](int64_t i, const uint8_t* rgb) { std::copy_n(rgb, bytes, all.begin() + i * int64_t(bytes)); });
  return all;
}

void check_coordinates(const Section& s, std::vector<std::string>& warnings) {
  auto outside = [&](size_t column, size_t row) {
    int64_t n = 0;
    for (size_t i = 0; i < s.spots.size(); i++) {
      double x = s.xy[2 * i + column], y = s.xy[2 * i + row];
      n += !(x >= 0 && y >= 0 && x < double(s.width) && y < double(s.height));
    }
    return n;
  };
  if (int64_t n = s.width > 0 ? outside(0, 1) : 0; n > 0) {
    std::string found = fmt::format("{} of {} spots outside the {} x {} pixels of the image", n, s.size(), s.width, s.height);
    if (n * 100 > s.size())
      fail(Exit::data, "{}: {}, expected at most 1 %{}", s.source.spots, found, outside(1, 0) < n ? "; swapped axes fit better" : "");
    warnings.push_back(fmt::format("{}: {}: their patches are partly or wholly white", s.sample(), found));
  }
  std::vector<std::pair<double, double>> places;
  for (size_t i = 0; i < s.spots.size(); i++) places.emplace_back(s.xy[2 * i], s.xy[2 * i + 1]);
  std::sort(places.begin(), places.end());
  auto shared = int64_t(places.size()) - (std::unique(places.begin(), places.end()) - places.begin());
  if (shared > 0) warnings.push_back(fmt::format("{}: {} spots stand exactly where another one stands", s.sample(), shared));
}

}  // namespace stflow
