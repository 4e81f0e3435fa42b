#include "data/patches.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "data/image.h"
#include "data/square.h"
#include "engine/error.h"

namespace stflow {
namespace {

/// A patch whose rows are coming in.
struct Open {
  int64_t index, left, top;
  std::vector<float> sums;  // (size, size, 3)
};

}  // namespace

int64_t patch_side(const Section& s, const PatchSpec& spec) {
  if (!(s.mpp > 0))
    fail(Exit::data, "{}: no microns per pixel: tried --mpp, the manifest and the spot pitch; pass --mpp or --spot-pitch",
         s.source.image.empty() ? s.sample() : s.source.image);
  return std::max<int64_t>(1, std::llround(spec.microns / s.mpp));
}

std::pair<int64_t, int64_t> patch_corner(double x, double y, int64_t side) {
  const double left = std::round(x - double(side) / 2), top = std::round(y - double(side) / 2);
  check(std::fabs(left) < 1e15 && std::fabs(top) < 1e15, "a patch at {}, {}", left, top);
  return {int64_t(left), int64_t(top)};
}

void cut_patches(const std::string& image, std::span<const double> xy, int64_t side, int size,
                 const std::function<void(int64_t, const uint8_t*)>& sink) {
  ImageReader reader(image);
  const int64_t width = reader.width(), height = reader.height();
  const SquareFilter filter(double(side), size);
  const size_t values = size_t(size) * size_t(size) * 3;
  std::vector<float> line(size_t(size) * 3);
  std::vector<uint8_t> bytes(values);
  std::vector<Open> waiting, open;
  for (size_t i = 0; i < xy.size() / 2; i++) {
    const auto [left, top] = patch_corner(xy[2 * i], xy[2 * i + 1], side);
    // A patch wholly above or below the image is white wherever it lies: brought near, so that rows are walked once.
    waiting.push_back({int64_t(i), left, std::clamp(top, -side, height), {}});
  }
  std::stable_sort(waiting.begin(), waiting.end(), [](const Open& a, const Open& b) { return a.top < b.top; });

  std::vector<uint8_t> row(size_t(width) * 3);
  size_t next = 0;
  for (int64_t y = -side; y < height + side; y++) {
    bool inside = y >= 0 && y < height;
    if (inside) reader.next_row(row.data());
    for (; next < waiting.size() && waiting[next].top == y; next++) {
      open.push_back(std::move(waiting[next]));
      open.back().sums.assign(values, 0);
    }
    for (Open& p : open) filter.add(inside ? row.data() : nullptr, p.left, width, y - p.top, p.sums.data(), line.data());
    while (!open.empty() && open.front().top + side == y + 1) {  // they opened in this order
      filter.finish(open.front().sums.data(), bytes.data());
      sink(open.front().index, bytes.data());
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
