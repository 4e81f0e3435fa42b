// Slides for geometry tests: the layouts that platforms produce and the ones that break careless code.
#pragma once
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/random.h"
#include "engine/tensor.h"

namespace stflow::test {

struct Layout {
  std::string name;
  std::vector<double> coords;  // x, y, x, y, ...
  std::vector<int32_t> rank;   // position in barcode order

  [[nodiscard]] int64_t n() const { return int64_t(rank.size()); }
  [[nodiscard]] Tensor points() { return view(coords.data(), {n(), 2}); }
  [[nodiscard]] Tensor ranks() { return view(rank.data(), {n()}); }
};

/// A permutation of 0 .. n-1 that depends on the seed (Fisher-Yates).
inline std::vector<int32_t> shuffled(int64_t n, uint32_t seed) {
  std::vector<int32_t> p(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; i++) p[size_t(i)] = int32_t(i);
  RandomKey key(seed, Stream::test, 1);
  for (int64_t i = n - 1; i > 0; i--) std::swap(p[size_t(i)], p[size_t(key.draw(uint64_t(i)).v[0] % uint32_t(i + 1))]);
  return p;
}

/// The twelve layouts, spacing 200, 60 to 100 spots each.
inline std::vector<Layout> layouts() {
  std::vector<Layout> all;
  RandomKey key(7, Stream::test, 2);
  uint64_t draws = 0;
  auto uniform = [&] {
    auto r = key.draw(draws++);
    return open01(r.v[0], r.v[1]);
  };
  auto add = [&](const std::string& name, int count, auto&& point) {
    Layout l{name, {}, shuffled(count, uint32_t(all.size()))};
    for (int i = 0; i < count; i++) point(i, l.coords);
    all.push_back(l);
  };
  auto put = [](std::vector<double>& c, double x, double y) { c.push_back(x), c.push_back(y); };
  auto hex = [](int i, double& x, double& y) { x = 200 * (i % 9 + 0.5 * ((i / 9) % 2)), y = 200 * std::sqrt(0.75) * (i / 9); };
  auto square = [](int i, double& x, double& y) { x = 200 * (i % 9), y = 200 * (i / 9); };

  add("random", 81, [&](int, auto& c) {
    const double x = 1800 * uniform();
    put(c, x, 1800 * uniform());
  });
  add("jittered", 81, [&](int i, auto& c) {
    double x, y;
    square(i, x, y);
    x += 60 * uniform();
    put(c, x, y + 60 * uniform());
  });
  add("hex", 81, [&](int i, auto& c) {
    double x, y;
    hex(i, x, y);
    put(c, x, y);
  });
  add("square", 81, [&](int i, auto& c) {
    double x, y;
    square(i, x, y);
    put(c, x, y);
  });
  add("hex in pixels", 81, [&](int i, auto& c) {
    double x, y;
    hex(i, x, y);
    put(c, std::round(x), std::round(y));
  });
  // A square grid turned by 0.3 rad, then rounded: nearly degenerate, with a few exact ties left.
  add("turned square in pixels", 81, [&](int i, auto& c) {
    double x, y;
    square(i, x, y);
    put(c, std::round(std::cos(0.3) * x - std::sin(0.3) * y), std::round(std::sin(0.3) * x + std::cos(0.3) * y));
  });
  add("collinear", 60, [&](int i, auto& c) { put(c, 120.0 * i, 160.0 * i); });
  add("duplicates", 80, [&](int i, auto& c) {
    double x, y;
    square(i / 2, x, y);
    put(c, x, y);
  });
  add("one place", 60, [&](int, auto& c) { put(c, 300, 400); });
  add("pair", 2, [&](int i, auto& c) { put(c, 200.0 * i, 70.0 * i); });
  add("two clusters", 80, [&](int i, auto& c) {
    const double x = 500 * uniform() + 90000 * (i % 2);
    put(c, x, 500 * uniform());
  });
  add("ring", 60, [&](int i, auto& c) { put(c, 1000 * std::cos(2 * M_PI * i / 60), 1000 * std::sin(2 * M_PI * i / 60)); });
  return all;
}

}  // namespace stflow::test
