#include "ops/cross_attention.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/attention.h"
#include "tests/check.h"

using namespace stflow;

TEST_CASE("cross_attention: gradients, lifetimes, instruction sets") {
  struct {
    Shape q, kv;
    int heads;
  } cases[] = {{{1, 1}, {1, 1, 2}, 1},      {{1, 24}, {2, 17, 48}, 8}, {{3, 14}, {2, 5, 28}, 2},
               {{1, 80}, {1, 150, 160}, 1}, {{2, 33}, {3, 9, 66}, 3},  {{1, 8}, {0, 5, 16}, 2}};
  for (auto& c : cases)
    test::op("cross_attention", [&](Tape&, const std::vector<Var>& in) { return cross_attention(in[0], in[1], c.heads); }, {c.q, c.kv});
}

TEST_CASE("cross_attention: is self-attention where a query is an image's own") {
  const int64_t tokens = 7, d = 12;
  const auto x = test::normal(size_t(tokens * 3 * d), 1);
  Array qkv({1, tokens, 3 * d}, DType::f64), q({tokens, d}, DType::f64), kv({1, tokens, 2 * d}, DType::f64);
  for (int64_t t = 0; t < tokens; t++)
    for (int64_t i = 0; i < 3 * d; i++) {
      const double v = 30 * x[size_t(t * 3 * d + i)];  // scores that overflow a bare exponential
      qkv.as<double>()[t * 3 * d + i] = v;
      (i < d ? q.as<double>()[t * d + i] : kv.as<double>()[t * 2 * d + i - d]) = v;
    }
  Tape tape;
  const Var all = attention(tape.input(qkv), 3), here = cross_attention(tape.input(q), tape.input(kv), 3);
  Storage arena;
  tape.plan(false, true), tape.bind(arena, ParameterSet()), tape.forward();
  CHECK(test::relative(tape.value(here), tape.value(all)) < 1e-12);
}

TEST_CASE("cross_attention: refuses shapes that do not fit") {
  Array q({1, 6}, DType::f32), kv({2, 3, 12}, DType::f32), odd({2, 3, 10}, DType::f32);
  Tape tape;
  CHECK_THROWS_AS(cross_attention(tape.input(q), tape.input(kv), 4), Error);
  CHECK_THROWS_AS(cross_attention(tape.input(q), tape.input(odd), 2), Error);
}
