#include "data/tissue/contours.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "engine/error.h"

namespace stflow {
namespace {

constexpr double kMostWork = 2e9;
constexpr std::array<std::array<int64_t, 2>, 4> kStep{{{1, 0}, {0, 1}, {-1, 0}, {0, -1}}};  // right, down, left, up

// Follows the sides between pixels with tissue at the right hand, so outer lines run clockwise on the screen and holes the other way.
class Tracer {
 public:
  explicit Tracer(const TissueMask& mask) : m_(mask), traced_(mask.on.size()), piece_(mask.on.size(), -1) {}

  std::vector<Polygon> run(double tolerance);

 private:
  [[nodiscard]] bool on(int64_t x, int64_t y) const {
    return x >= 0 && y >= 0 && x < m_.width && y < m_.height && m_.on[size_t(y * m_.width + x)] != 0;
  }
  void mark_piece(int64_t start, int32_t piece);
  Ring ring(int64_t x, int64_t y);

  const TissueMask& m_;
  std::vector<uint8_t> traced_;  // the pixel's upper side is part of a line
  std::vector<int32_t> piece_;
  std::vector<int64_t> queue_;
};

void Tracer::mark_piece(int64_t start, int32_t piece) {
  queue_.assign(1, start);
  piece_[size_t(start)] = piece;
  while (!queue_.empty()) {
    const int64_t x = queue_.back() % m_.width, y = queue_.back() / m_.width;
    queue_.pop_back();
    for (const auto& [dx, dy] : kStep) {
      if (!on(x + dx, y + dy)) continue;
      const int64_t at = (y + dy) * m_.width + x + dx;
      if (piece_[size_t(at)] >= 0) continue;
      piece_[size_t(at)] = piece;
      queue_.push_back(at);
    }
  }
}

// The line that begins with the upper side of pixel (x, y), its corners only. Where two pixels meet at a corner the line stays with its
// own: they are two pieces.
Ring Tracer::ring(int64_t x, int64_t y) {
  Ring points;
  const int64_t x0 = x, y0 = y;
  int turn = 0, first = 0;
  do {
    if (turn == 0) traced_[size_t(y * m_.width + x)] = 1;
    x += kStep[size_t(turn)][0], y += kStep[size_t(turn)][1];
    // The pixels ahead, at the right and the left hand; a corner (x, y) is the upper left one of pixel (x, y).
    const bool right = on(turn == 0 || turn == 3 ? x : x - 1, turn == 0 || turn == 1 ? y : y - 1);
    const bool left = on(turn == 0 || turn == 1 ? x : x - 1, turn == 1 || turn == 2 ? y : y - 1);
    const int next = !right ? (turn + 1) % 4 : left ? (turn + 3) % 4 : turn;
    if (next != turn) points.push_back({double(x), double(y)});
    turn = next;
  } while (x != x0 || y != y0 || turn != first);
  return points;
}

double area(const Ring& r) {
  double sum = 0;
  for (size_t i = 0; i < r.size(); i++) {
    const Vertex a = r[i], b = r[(i + 1) % r.size()];
    sum += a.x * b.y - b.x * a.y;
  }
  return sum / 2;
}

double distance_to_line(Vertex p, Vertex a, Vertex b) {
  const double dx = b.x - a.x, dy = b.y - a.y, length = std::hypot(dx, dy);
  return length == 0 ? std::hypot(p.x - a.x, p.y - a.y) : std::abs((p.x - a.x) * dy - (p.y - a.y) * dx) / length;
}

// Douglas-Peucker between the first point and the one farthest from it, and back. A ring keeps at least three points.
Ring simplified(const Ring& r, double tolerance) {
  if (tolerance <= 0 || r.size() <= 4) return r;
  size_t far = 0;
  auto from_first = [&](size_t i) { return std::hypot(r[i].x - r[0].x, r[i].y - r[0].y); };
  for (size_t i = 1; i < r.size(); i++)
    if (from_first(i) > from_first(far)) far = i;
  std::vector<uint8_t> keep(r.size());
  keep[0] = keep[far] = 1;
  std::vector<std::pair<size_t, size_t>> spans{{0, far}, {far, r.size()}};
  while (!spans.empty()) {
    const auto [from, to] = spans.back();
    spans.pop_back();
    size_t worst = from;
    double most = tolerance;
    for (size_t i = from + 1; i < to; i++)
      if (const double d = distance_to_line(r[i], r[from], r[to % r.size()]); d > most) most = d, worst = i;
    if (worst == from) continue;
    keep[worst] = 1;
    spans.emplace_back(from, worst), spans.emplace_back(worst, to);
  }
  Ring out;
  for (size_t i = 0; i < r.size(); i++)
    if (keep[i]) out.push_back(r[i]);
  return out.size() < 3 ? r : out;
}

std::vector<Polygon> Tracer::run(double tolerance) {
  std::vector<Polygon> polygons;
  for (int64_t y = 0; y < m_.height; y++)
    for (int64_t x = 0; x < m_.width; x++) {
      const int64_t at = y * m_.width + x;
      if (!on(x, y)) continue;
      if (piece_[size_t(at)] < 0) {
        mark_piece(at, int32_t(polygons.size()));
        polygons.emplace_back();
      }
      if (on(x, y - 1) || traced_[size_t(at)]) continue;
      const Ring whole = ring(x, y);
      const bool outer = area(whole) > 0;
      Ring r = simplified(whole, tolerance);
      for (Vertex& p : r) p.x *= m_.scale, p.y *= m_.scale;
      Polygon& polygon = polygons[size_t(piece_[size_t(at)])];
      if (outer) polygon.outer = std::move(r);
      else polygon.holes.push_back(std::move(r));
    }
  return polygons;
}

template <class F> void each_side(const Polygon& p, F&& f) {
  auto sides = [&](const Ring& r) {
    for (size_t i = 0; i < r.size(); i++) f(r[i], r[i + 1 < r.size() ? i + 1 : 0]);
  };
  sides(p.outer);
  for (const Ring& hole : p.holes) sides(hole);
}

// Where the side's line meets height y: the same number whichever way the side runs, so that neighbours that share it share no point.
double crossing(Vertex a, Vertex b, double y) {
  if (a.y > b.y) std::swap(a, b);
  return a.x + (y - a.y) / (b.y - a.y) * (b.x - a.x);
}

// Rows [first, second) of pixels whose centres lie between heights a and b, in mask pixels.
std::pair<int64_t, int64_t> rows_between(double a, double b, int64_t height) {
  auto row = [&](double y) { return int64_t(std::clamp(std::ceil(y - 0.5), 0.0, double(height))); };
  return {row(std::min(a, b)), row(std::max(a, b))};
}

}  // namespace

std::vector<Polygon> contours(const TissueMask& mask, double tolerance) { return Tracer(mask).run(tolerance); }

bool contains(const Polygon& polygon, Vertex p) {
  bool inside = false;
  each_side(polygon, [&](Vertex a, Vertex b) {
    if (std::min(a.y, b.y) <= p.y && p.y < std::max(a.y, b.y) && crossing(a, b, p.y) <= p.x) inside = !inside;
  });
  return inside;
}

TissueMask mask_of(const std::vector<Polygon>& polygons, int64_t width, int64_t height, double scale, const std::string& name) {
  TissueMask mask{width, height, scale, std::vector<uint8_t>(size_t(width * height))};
  double work = 0;
  std::vector<uint8_t> box;
  for (size_t i = 0; i < polygons.size(); i++) {
    double low_x = 1e300, high_x = -1e300, low_y = 1e300, high_y = -1e300;
    each_side(polygons[i], [&](Vertex p, Vertex) {
      low_x = std::min(low_x, p.x), high_x = std::max(high_x, p.x);
      low_y = std::min(low_y, p.y), high_y = std::max(high_y, p.y);
    });
    const auto [y0, y1] = rows_between(low_y / scale, high_y / scale, height);
    const auto [x0, x1] = rows_between(low_x / scale, high_x / scale, width);  // columns; the rule is the same
    if (y0 >= y1 || x0 >= x1) continue;
    work += double(y1 - y0) * double(x1 - x0);
    each_side(polygons[i], [&](Vertex a, Vertex b) {
      const auto [first, last] = rows_between(a.y / scale, b.y / scale, height);
      work += 1 + double(last - first);
    });
    if (work > kMostWork)
      fail(Exit::data, "{}: polygon {}: {} polygons cover too many pixels, expected fewer or smaller ones", name, i + 1, polygons.size());
    // Each side flips what lies to its right in its rows; then the sum from the left is inside or outside.
    const int64_t w = x1 - x0 + 1;
    box.assign(size_t(w * (y1 - y0)), 0);
    each_side(polygons[i], [&, y0 = y0, y1 = y1, x0 = x0, x1 = x1](Vertex a, Vertex b) {
      const auto [first, last] = rows_between(a.y / scale, b.y / scale, height);
      for (int64_t y = std::max(first, y0); y < std::min(last, y1); y++) {
        const double x = std::ceil(crossing(a, b, (double(y) + 0.5) * scale) / scale - 0.5);
        box[size_t((y - y0) * w + int64_t(std::clamp(x, double(x0), double(x1))) - x0)] ^= 1;
      }
    });
    for (int64_t y = y0; y < y1; y++) {
      uint8_t inside = 0;
      for (int64_t x = x0; x < x1; x++) {
        inside ^= box[size_t((y - y0) * w + x - x0)];
        mask.on[size_t(y * width + x)] |= inside;
      }
    }
  }
  return mask;
}

}  // namespace stflow
