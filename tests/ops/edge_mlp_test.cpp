#include "ops/edge_mlp.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/layernorm.h"
#include "ops/linear.h"
#include "ops/swiglu.h"
#include "tests/check.h"

using namespace stflow;

namespace {

std::vector<Shape> shapes(Shape frames, int64_t m, int64_t e) { return {frames, {2 * m, 3}, {2 * m}, {m}, {m}, {e, m}, {e}}; }

test::Build fused(Dropout inner, Dropout outer) {
  return [=](Tape&, const std::vector<Var>& in) { return edge_mlp(in[0], in[1], in[2], in[3], in[4], in[5], in[6], inner, outer); };
}

const Dropout kInner{0.3f, RandomKey(9, Stream::dropout, 3, 1), 2}, kOuter{0.2f, RandomKey(9, Stream::dropout, 3, 1), 3};

}  // namespace

TEST_CASE("edge_mlp: gradients, lifetimes, instruction sets") {
  test::Options o;
  o.fixed = {0};
  for (Shape f : {Shape{1, 1, 4, 3}, {13, 7, 4, 3}, {3, 5, 8, 3}, {1, 0, 4, 3}, {0, 8, 4, 3}}) {
    test::op("edge_mlp", fused({}, {}), shapes(f, 16, 9), o);
    test::op("edge_mlp with dropout", fused(kInner, kOuter), shapes(f, 16, 20), o);
  }
  for (auto [m, e] : {std::pair<int64_t, int64_t>{1, 1}, {7, 40}, {33, 5}, {64, 33}, {130, 3}})
    test::op("edge_mlp with dropout", fused(kInner, kOuter), shapes({13, 7, 4, 3}, m, e), o);
}

// Each edge's rows through the single operators, frame by frame; masks are numbered over (edge, frame, element) in both.
TEST_CASE("edge_mlp: equals its parts, applied to every frame") {
  constexpr int64_t n = 9, k = 8, F = 4, m = 16, e = 24;
  const std::vector<Shape> sizes = shapes({n, k, F, 3}, m, e);
  std::vector<Array> x;
  for (size_t i = 0; i < sizes.size(); i++) {
    x.emplace_back(sizes[i], DType::f64);
    const auto numbers = test::normal(size_t(sizes[i].size()), 30 + i);
    std::copy(numbers.begin(), numbers.end(), x.back().as<double>());
  }
  Tape tape;
  std::vector<Var> in;
  for (const auto& a : x) in.push_back(tape.input(a));
  const Var y = edge_mlp(in[0], in[1], in[2], in[3], in[4], in[5], in[6], kInner, kOuter);
  const Var h = layernorm(dropout(swiglu(linear(in[0], in[1], in[2])), kInner), in[3], in[4], 1e-5f);
  const Var every = dropout(linear(h, in[5], in[6]), kOuter);
  tape.plan(true, true);
  Storage arena;
  tape.bind(arena, ParameterSet{});
  tape.forward();
  double worst = 0;
  for (int64_t edge = 0; edge < n * k; edge++)
    for (int64_t c = 0; c < e; c++) {
      double want = 0;
      for (int64_t f = 0; f < F; f++) want += tape.value(every).as<double>()[(edge * F + f) * e + c] / F;
      worst = std::max(worst, std::fabs(tape.value(y).as<double>()[edge * e + c] - want));
    }
  CHECK(worst < 1e-13);
}
