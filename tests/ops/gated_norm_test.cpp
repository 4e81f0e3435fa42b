#include "ops/gated_norm.h"

#include <doctest/doctest.h>

#include "ops/layernorm.h"
#include "ops/swiglu.h"
#include "tests/check.h"

using namespace stflow;

namespace {
const Dropout kDropout{0.2f, RandomKey(7, Stream::dropout, 3, 11), 5};
}

TEST_CASE("gated_norm: gradients, lifetimes, instruction sets") {
  for (Dropout d : {Dropout{}, kDropout})
    for (Shape u : {Shape{1, 14}, {7, 66}, {130, 128}, {1100, 8}, {0, 10}, {2, 3, 32}})
      test::op("gated_norm", [d](Tape&, const std::vector<Var>& in) { return gated_norm(in[0], in[1], in[2], 1e-5f, d); },
               {u, {u[-1] / 2}, {u[-1] / 2}});
}

TEST_CASE("gated_norm: equals swiglu, dropout, layernorm") {
  const int64_t rows = 37, m = 50;
  Array u({rows, 2 * m}, DType::f64), w({m}, DType::f64), b({m}, DType::f64);
  for (Array* a : {&u, &w, &b}) {
    const auto v = test::normal(size_t(a->tensor().size()), uint64_t(a->tensor().size()));
    std::copy(v.begin(), v.end(), a->as<double>());
  }
  Tape tape;
  const Var fused = gated_norm(tape.input(u), tape.input(w), tape.input(b), 1e-5f, kDropout);
  const Var apart = layernorm(dropout(swiglu(tape.input(u)), kDropout), tape.input(w), tape.input(b), 1e-5f);
  tape.plan(false);
  Storage arena;
  tape.bind(arena, ParameterSet{});
  tape.forward();
  CHECK(test::relative(tape.value(fused), tape.value(apart)) < 1e-13);
}

TEST_CASE("gated_norm: refuses shapes that do not fit") {
  Array u({2, 6}, DType::f32), w({3}, DType::f32), bad({6}, DType::f32), odd({2, 5}, DType::f32);
  Tape tape;
  CHECK_THROWS_AS(gated_norm(tape.input(u), tape.input(w), tape.input(bad), 1e-5f), Error);
  CHECK_THROWS_AS(gated_norm(tape.input(odd), tape.input(w), tape.input(w), 1e-5f), Error);
}
