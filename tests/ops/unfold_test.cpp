#include "ops/unfold.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/linear.h"
#include "tests/check.h"

using namespace stflow;

TEST_CASE("unfold: gradients, lifetimes, instruction sets") {
  struct {
    Shape x;
    Window window;
  } cases[] = {{{1, 1, 1}, {1, 1, 1, 1, 0}},   {{2, 30, 3}, {5, 6, 3, 1, 1}},  {{2, 7, 6, 3}, {7, 6, 7, 2, 3}},
               {{1, 42, 17}, {6, 7, 3, 2, 1}}, {{3, 64, 20}, {8, 8, 2, 2, 0}}, {{2, 35, 5}, {5, 7, 1, 2, 0}},
               {{1, 30, 2}, {6, 5, 2, 3, 1}},  {{0, 9, 4}, {3, 3, 3, 1, 1}}};
  for (auto& c : cases) test::op("unfold", [&](Tape&, const std::vector<Var>& in) { return unfold(in[0], c.window); }, {c.x});
  test::op("convolution",
           [](Tape&, const std::vector<Var>& in) {
             return linear(unfold(in[0], {6, 5, 3, 2, 1}), in[1], in[2]);
           },
           {{2, 30, 4}, {7, 36}, {7}});
}

TEST_CASE("unfold: with linear() it is the sum that defines a convolution") {
  const int64_t height = 5, width = 7, in = 3, out = 4, kernel = 3, stride = 2, padding = 1;
  const Window window{height, width, kernel, stride, padding};
  Array x({2, height, width, in}, DType::f64), w({out, kernel * kernel * in}, DType::f64);
  const auto numbers = test::normal(size_t(x.tensor().size() + w.tensor().size()), 3);
  std::copy(numbers.begin(), numbers.begin() + x.tensor().size(), x.as<double>());
  std::copy(numbers.begin() + x.tensor().size(), numbers.end(), w.as<double>());
  Tape tape;
  const Var y = linear(unfold(tape.input(x), window), tape.input(w), Var{});
  Storage arena;
  tape.plan(false), tape.bind(arena, ParameterSet()), tape.forward();
  REQUIRE(y.shape() == Shape{2, 3 * 4, out});
  double worst = 0;
  for (int64_t b = 0; b < 2; b++)
    for (int64_t oy = 0; oy < 3; oy++)
      for (int64_t ox = 0; ox < 4; ox++)
        for (int64_t o = 0; o < out; o++) {
          double sum = 0;
          for (int64_t ky = 0; ky < kernel; ky++)
            for (int64_t kx = 0; kx < kernel; kx++) {
              const int64_t iy = oy * stride - padding + ky, ix = ox * stride - padding + kx;
              if (iy < 0 || iy >= height || ix < 0 || ix >= width) continue;
              for (int64_t i = 0; i < in; i++)
                sum +=
                    x.as<double>()[((b * height + iy) * width + ix) * in + i] * w.as<double>()[((o * kernel + ky) * kernel + kx) * in + i];
            }
          worst = std::max(worst, std::fabs(sum - tape.value(y).as<double>()[((b * 3 + oy) * 4 + ox) * out + o]));
        }
  CHECK(worst < 1e-12);
}

TEST_CASE("unfold: refuses shapes that do not fit") {
  Array x({2, 12, 3}, DType::f32);
  Tape tape;
  const Var in = tape.input(x);
  CHECK_THROWS_AS(unfold(in, {3, 5, 3, 1, 1}), Error);
  CHECK_THROWS_AS(unfold(in, {3, 4, 5, 1, 0}), Error);
  CHECK_THROWS_AS(unfold(in, {3, 4, 3, 0, 1}), Error);
  CHECK_THROWS_AS(unfold(in, {3, 4, 1, 1, 1}), Error);
}
