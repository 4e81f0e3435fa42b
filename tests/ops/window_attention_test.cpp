#include "ops/window_attention.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/attention.h"
#include "tests/check.h"

using namespace stflow;

TEST_CASE("window_attention: gradients, lifetimes, instruction sets") {
  struct {
    int64_t images, side, heads, n;
    int window, shift;
  } cases[] = {{1, 1, 1, 1, 1, 0}, {2, 4, 2, 5, 2, 1}, {1, 6, 3, 8, 3, 1}, {1, 7, 1, 33, 7, 0}, {3, 4, 2, 16, 4, 0}, {0, 4, 1, 2, 2, 1}};
  for (auto& c : cases) {
    const int64_t offsets = 2 * c.window - 1;
    test::op("window_attention",
             [&](Tape&, const std::vector<Var>& in) { return window_attention(in[0], in[1], int(c.heads), c.window, c.shift); },
             {{c.images, c.side * c.side, 3 * c.heads * c.n}, {offsets * offsets, c.heads}});
  }
}

TEST_CASE("window_attention: one window without bias is attention, and the definition holds with shift and bias") {
  const int64_t side = 6, window = 3, shift = 2, heads = 2, n = 4, d = heads * n, cells = side * side, offsets = 2 * window - 1;
  Array qkv({1, cells, 3 * d}, DType::f64), bias({offsets * offsets, heads}, DType::f64),
      none({(2 * side - 1) * (2 * side - 1), heads}, DType::f64);
  const auto x = test::normal(size_t(qkv.tensor().size() + bias.tensor().size()), 2);
  std::copy(x.begin(), x.begin() + qkv.tensor().size(), qkv.as<double>());
  std::copy(x.begin() + qkv.tensor().size(), x.end(), bias.as<double>());
  Tape tape;
  const Var in = tape.input(qkv);
  const Var whole = window_attention(in, tape.input(none), heads, side, 0), full = attention(in, heads);
  const Var y = window_attention(in, tape.input(bias), heads, window, shift);
  Storage arena;
  tape.plan(false, true), tape.bind(arena, ParameterSet()), tape.forward();
  CHECK(test::relative(tape.value(whole), tape.value(full)) < 1e-12);

  // Two cells see each other if the map, moved by `shift`, has them in one window and neither came around the border.
  auto moved = [&](int64_t at) { return (at - shift + side) % side; };
  const double* p = qkv.as<double>();
  double worst = 0;
  for (int64_t h = 0; h < heads; h++)
    for (int64_t i = 0; i < cells; i++) {
      std::vector<double> e(size_t(cells), 0.0);
      double total = 0;
      for (int64_t j = 0; j < cells; j++) {
        const int64_t yi = i / side, xi = i % side, yj = j / side, xj = j % side;
        if (moved(yi) / window != moved(yj) / window || moved(xi) / window != moved(xj) / window) continue;
        if ((yi < shift) != (yj < shift) || (xi < shift) != (xj < shift)) continue;
        double s = 0;
        for (int64_t c = 0; c < n; c++) s += p[i * 3 * d + h * n + c] * p[(j * 3 + 1) * d + h * n + c];
        s = s / std::sqrt(double(n)) + bias.as<double>()[((yi - yj + window - 1) * offsets + xi - xj + window - 1) * heads + h];
        total += e[size_t(j)] = std::exp(s);
      }
      for (int64_t c = 0; c < n; c++) {
        double want = 0;
        for (int64_t j = 0; j < cells; j++) want += e[size_t(j)] / total * p[(j * 3 + 2) * d + h * n + c];
        worst = std::max(worst, std::fabs(want - tape.value(y).as<double>()[i * d + h * n + c]));
      }
    }
  CHECK(worst < 1e-12);
}

TEST_CASE("window_attention: refuses shapes that do not fit") {
  Array qkv({1, 16, 12}, DType::f32), odd({1, 15, 12}, DType::f32), bias({9, 2}, DType::f32);
  Tape tape;
  const Var in = tape.input(qkv), b = tape.input(bias);
  CHECK_THROWS_AS(window_attention(tape.input(odd), b, 2, 2, 0), Error);
  CHECK_THROWS_AS(window_attention(in, b, 2, 3, 0), Error);
  CHECK_THROWS_AS(window_attention(in, b, 2, 2, 2), Error);
  CHECK_THROWS_AS(window_attention(in, b, 1, 2, 1), Error);
}
