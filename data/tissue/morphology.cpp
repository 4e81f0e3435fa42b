#include "data/tissue/morphology.h"

#include <algorithm>

namespace stflow {
namespace {

// Each pixel becomes decide(ones, pixels) of the square around it: two passes of running sums.
template <class Decide> void by_square(Bitmap& b, int64_t radius, Decide decide) {
  if (radius <= 0 || b.size() == 0) return;
  const int64_t w = b.width, h = b.height;
  std::vector<int32_t> rows(size_t(b.size()));  // of each row: ones within radius
  for (int64_t y = 0; y < h; y++) {
    const uint8_t* in = &b.on[size_t(y * w)];
    int32_t sum = 0;
    for (int64_t x = 0; x < std::min(radius, w); x++) sum += in[x];
    for (int64_t x = 0; x < w; x++) {
      if (x + radius < w) sum += in[x + radius];
      if (x - radius > 0) sum -= in[x - radius - 1];
      rows[size_t(y * w + x)] = sum;
    }
  }
  std::vector<int64_t> sums(static_cast<size_t>(w), 0);
  auto add = [&](int64_t y, int64_t sign) {
    for (int64_t x = 0; x < w; x++) sums[size_t(x)] += sign * rows[size_t(y * w + x)];
  };
  for (int64_t y = 0; y < std::min(radius, h); y++) add(y, 1);
  for (int64_t y = 0; y < h; y++) {
    if (y + radius < h) add(y + radius, 1);
    if (y - radius > 0) add(y - radius - 1, -1);
    const int64_t high = std::min(h - 1, y + radius) - std::max<int64_t>(0, y - radius) + 1;
    for (int64_t x = 0; x < w; x++) {
      const int64_t wide = std::min(w - 1, x + radius) - std::max<int64_t>(0, x - radius) + 1;
      b.on[size_t(y * w + x)] = decide(sums[size_t(x)], wide * high);
    }
  }
}

}  // namespace

void dilate(Bitmap& b, int64_t radius) {
  by_square(b, radius, [](int64_t ones, int64_t) { return ones > 0; });
}

void erode(Bitmap& b, int64_t radius) {
  by_square(b, radius, [](int64_t ones, int64_t all) { return ones == all; });
}

void majority(Bitmap& b, int64_t radius) {
  by_square(b, radius, [](int64_t ones, int64_t all) { return 2 * ones > all; });
}

void flip_pieces(Bitmap& b, uint8_t value, const std::function<bool(const std::vector<int64_t>& piece, bool border)>& change) {
  const int64_t w = b.width, h = b.height;
  std::vector<uint8_t> seen(b.on.size());
  std::vector<int64_t> piece;
  for (int64_t start = 0; start < b.size(); start++) {
    if (seen[size_t(start)] || b.on[size_t(start)] != value) continue;
    bool border = false;
    piece.assign(1, start);
    seen[size_t(start)] = 1;
    for (size_t i = 0; i < piece.size(); i++) {
      const int64_t x = piece[i] % w, y = piece[i] / w;
      border |= x == 0 || y == 0 || x == w - 1 || y == h - 1;
      for (int64_t v = std::max<int64_t>(0, y - 1); v <= std::min(h - 1, y + 1); v++)
        for (int64_t u = std::max<int64_t>(0, x - 1); u <= std::min(w - 1, x + 1); u++) {
          const auto at = size_t(v * w + u);
          if (seen[at] || b.on[at] != value || (value == 1 && u != x && v != y)) continue;
          seen[at] = 1;
          piece.push_back(int64_t(at));
        }
    }
    if (change(piece, border))
      for (const int64_t at : piece) b.on[size_t(at)] = uint8_t(1 - value);
  }
}

}  // namespace stflow
