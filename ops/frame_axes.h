// The arithmetic of ops/frames.h for one spot and one edge, the same on the host and on the device.
#pragma once
#include <cmath>

#include "engine/random.h"  // STFLOW_BOTH
#include "ops/frames.h"

namespace stflow {

/// What average_frames reads.
struct Neighbourhoods {
  const double* coords;
  const int32_t* idx;
  const double* distance;
  int64_t n, k;
  double unit;
  bool exact;
  double near, far;  // cosine and sine of 22.5 degrees, by the host for both
  int count = 4;     // frames of an edge

  Neighbourhoods(const Tensor& coordinates, const Graph& graph, FrameMode mode, double unit_);
  /// Decides `count`, at least `least`, and shapes `frames` for it.
  void shape(int64_t degenerate, int least, DType type, Frames& frames);
};

struct Offset {
  double x, y;
};

/// From the edge's source, spot i, to its target.
STFLOW_BOTH inline Offset offset(const Neighbourhoods& a, int64_t i, int64_t edge) {
  const double *from = a.coords + 2 * i, *to = a.coords + 2 * int64_t(a.idx[edge]);
  return {to[0] - from[0], to[1] - from[1]};
}

/// The neighbours of one spot: their centre and their principal axes. C = sum y y^T = [[a, b], [b, c]] over the
/// centred offsets y has the eigenvalues (a + c +- h) / 2.
struct Axes {
  enum Kind { point, circle, frame } kind = point;
  double cx = 0, cy = 0;  // mean offset
  double ux = 1, uy = 0;  // major axis, of either sign

  STFLOW_BOTH Axes(const Neighbourhoods& n, int64_t i) {
    for (int64_t e = i * n.k; e < (i + 1) * n.k; e++) {
      const Offset x = offset(n, i, e);
      cx += x.x, cy += x.y;
    }
    cx /= double(n.k), cy /= double(n.k);
    double a = 0, b = 0, c = 0, r2 = 0;
    for (int64_t e = i * n.k; e < (i + 1) * n.k; e++) {
      const Offset x = offset(n, i, e);
      const double yx = x.x - cx, yy = x.y - cy;
      a += yx * yx, b += yx * yy, c += yy * yy;
      r2 += x.x * x.x + x.y * x.y;
    }
    const double t = a + c, h = std::hypot(a - c, 2 * b);
    if (!(t > 1e-24 * r2)) return;  // one place, but for rounding
    kind = h < kMinAnisotropy * t ? circle : frame;
    // The eigenvector of (t + h) / 2, in whichever of its two forms does not cancel.
    const double vx = a >= c ? h + (a - c) : 2 * b, vy = a >= c ? 2 * b : h - (a - c);
    const double length = std::hypot(vx, vy);
    if (length > 0) ux = vx / length, uy = vy / length;
  }
};

template <class T> STFLOW_BOTH void put(T* v, double p, double q, double r) { v[0] = T(p), v[1] = T(q), v[2] = T(r); }

/// Writes the edge's (count, 3) frames; `s` are the axes of its source i.
template <class T> STFLOW_BOTH void write_frames(const Neighbourhoods& n, const Axes& s, int64_t i, int64_t edge, T* v) {
  const Offset x = offset(n, i, edge);
  const double yx = x.x - s.cx, yy = x.y - s.cy, r = n.distance[edge] / n.unit;
  double p = 0, q = 0;
  if (s.kind == Axes::circle && n.exact) {
    const double rho = std::hypot(yx, yy) / n.unit;
    p = rho * n.near, q = rho * n.far;
  } else if (s.kind != Axes::point) {
    p = std::fabs(s.ux * yy - s.uy * yx) / n.unit, q = std::fabs(s.ux * yx + s.uy * yy) / n.unit;
  }
  for (int f = 0; f < n.count; f += 4, v += 12) {
    put(v, -p, -q, r), put(v + 3, -p, q, r), put(v + 6, p, -q, r), put(v + 9, p, q, r);
    if (s.kind == Axes::circle) {
      const double old = p;
      p = q, q = old;
    }
  }
}

}  // namespace stflow
