#include "ops/frames.h"

#include <algorithm>
#include <atomic>

#include "engine/threads.h"
#include "ops/frame_axes.h"

namespace stflow {

void Frames::resize(int64_t n, int k, int frames, DType type) {
  count = frames;
  const Shape shape{n, k, frames, 3};
  memory_.reserve(std::max<size_t>(size_t(shape.size()) * bytes_of(type), 1));  // an empty tensor has an address too
  values = {memory_.data(), shape, type};
}

Neighbourhoods::Neighbourhoods(const Tensor& coordinates, const Graph& graph, FrameMode mode, double unit_)
    : coords(coordinates.as<double>()),
      idx(graph.idx.as<int32_t>()),
      distance(graph.distance.as<double>()),
      n(graph.n),
      k(graph.k),
      unit(unit_),
      exact(mode == FrameMode::exact),
      near(std::cos(M_PI / 8)),
      far(std::sin(M_PI / 8)) {
  check(coordinates.shape == Shape{n, 2} && coordinates.type == DType::f64 && unit > 0, "frames: coordinates {} of {} spots, unit {}",
        coordinates.shape.text(), n, unit);
}

void Neighbourhoods::shape(int64_t degenerate, int least, DType type, Frames& frames) {
  count = std::max(least, exact && degenerate > 0 ? 8 : 4);
  frames.degenerate = degenerate;
  frames.resize(n, int(k), count, type);
}

namespace {

constexpr int64_t kGrain = 512;

int64_t degenerate_spots(const Neighbourhoods& a) {
  std::atomic<int64_t> degenerate{0};
  if (a.exact && a.k > 0)
    parallel_for(a.n, kGrain, [&](int64_t first, int64_t last) {
      int64_t found = 0;
      for (int64_t i = first; i < last; i++) found += Axes(a, i).kind == Axes::circle;
      degenerate += found;
    });
  return degenerate;
}

}  // namespace

int64_t degenerate_spots(const Tensor& coords, const Graph& graph) {
  return degenerate_spots(Neighbourhoods(coords, graph, FrameMode::exact, 1));
}

void average_frames(const Tensor& coords, const Graph& graph, FrameMode mode, double unit, DType type, Frames& frames, int least) {
  Neighbourhoods a(coords, graph, mode, unit);
  a.shape(degenerate_spots(a), least, type, frames);
  if (a.k == 0) return;

  by_type(type, [&](auto zero) {
    auto* values = frames.values.as<decltype(zero)>();
    parallel_for(a.n, kGrain, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++) {
        const Axes axes(a, i);
        for (int64_t e = i * a.k; e < (i + 1) * a.k; e++) write_frames(a, axes, i, e, values + e * a.count * 3);
      }
    });
  });
}

}  // namespace stflow
