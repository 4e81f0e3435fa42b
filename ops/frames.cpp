#include "ops/frames.h"

#include <atomic>
#include <cmath>
#include <utility>

#include "engine/threads.h"

namespace stflow {
namespace {

/// The neighbours of one spot: their centre and their principal axes. C = sum y y^T = [[a, b], [b, c]] over the
/// centred offsets y has the eigenvalues (a + c +- h) / 2.
struct Axes {
  enum Kind { point, circle, frame } kind = point;
  double cx = 0, cy = 0;  // mean offset
  double ux = 1, uy = 0;  // major axis, of either sign
};

struct Offset {
  double x, y;
};

Offset offset(const double* c, int64_t i, int64_t j) { return {c[2 * j] - c[2 * i], c[2 * j + 1] - c[2 * i + 1]}; }

Axes axes_of(const double* coords, const int32_t* idx, int64_t i, int64_t k) {
  Axes s;
  for (int64_t e = i * k; e < (i + 1) * k; e++) {
    const Offset x = offset(coords, i, idx[e]);
    s.cx += x.x, s.cy += x.y;
  }
  s.cx /= double(k), s.cy /= double(k);
  double a = 0, b = 0, c = 0, r2 = 0;
  for (int64_t e = i * k; e < (i + 1) * k; e++) {
    const Offset x = offset(coords, i, idx[e]);
    const double yx = x.x - s.cx, yy = x.y - s.cy;
    a += yx * yx, b += yx * yy, c += yy * yy;
    r2 += x.x * x.x + x.y * x.y;
  }
  const double t = a + c, h = std::hypot(a - c, 2 * b);
  if (!(t > 1e-24 * r2)) return s;  // one place, but for rounding
  s.kind = h < kMinAnisotropy * t ? Axes::circle : Axes::frame;
  // The eigenvector of (t + h) / 2, in whichever of its two forms does not cancel.
  double ux = a >= c ? h + (a - c) : 2 * b, uy = a >= c ? 2 * b : h - (a - c);
  const double length = std::hypot(ux, uy);
  if (length > 0) s.ux = ux / length, s.uy = uy / length;
  return s;
}

template <class T> void put(T* v, double p, double q, double r) { v[0] = T(p), v[1] = T(q), v[2] = T(r); }

}  // namespace

void Frames::resize(int64_t n, int k, int frames, DType type) {
  count = frames;
  const Shape shape{n, k, frames, 3};
  memory_.reserve(size_t(shape.size()) * bytes_of(type));
  values = {memory_.data(), shape, type};
}

void average_frames(const Tensor& coords, const Graph& graph, FrameMode mode, double unit, DType type, Frames& frames) {
  const int64_t n = graph.n, k = graph.k;
  check(coords.shape == Shape{n, 2} && coords.type == DType::f64 && unit > 0, "frames: coordinates {} of {} spots, unit {}",
        coords.shape.text(), n, unit);
  const auto* c = coords.as<double>();
  const auto* idx = graph.idx.as<int32_t>();
  const auto* distance = graph.distance.as<double>();
  constexpr int64_t kGrain = 512;

  std::atomic<int64_t> degenerate{0};
  if (k > 0)
    parallel_for(n, kGrain, [&](int64_t first, int64_t last) {
      int64_t found = 0;
      for (int64_t i = first; i < last; i++) found += axes_of(c, idx, i, k).kind == Axes::circle;
      degenerate += found;
    });
  frames.degenerate = degenerate;
  frames.resize(n, int(k), mode == FrameMode::exact && frames.degenerate > 0 ? 8 : 4, type);
  if (k == 0) return;

  const double near = std::cos(M_PI / 8), far = std::sin(M_PI / 8);
  by_type(type, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(n, kGrain, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++) {
        const Axes s = axes_of(c, idx, i, k);
        for (int64_t e = i * k; e < (i + 1) * k; e++) {
          T* v = frames.values.as<T>() + e * frames.count * 3;
          const Offset x = offset(c, i, idx[e]);
          const double yx = x.x - s.cx, yy = x.y - s.cy, r = distance[e] / unit;
          double p = 0, q = 0;
          if (s.kind == Axes::circle && mode == FrameMode::exact) {
            const double rho = std::hypot(yx, yy) / unit;
            p = rho * near, q = rho * far;
          } else if (s.kind != Axes::point) {
            p = std::fabs(s.ux * yy - s.uy * yx) / unit, q = std::fabs(s.ux * yx + s.uy * yy) / unit;
          }
          for (int f = 0; f < frames.count; f += 4, v += 12) {
            put(v, -p, -q, r), put(v + 3, -p, q, r), put(v + 6, p, -q, r), put(v + 9, p, q, r);
            if (s.kind == Axes::circle) std::swap(p, q);
          }
        }
      }
    });
  });
}

}  // namespace stflow
