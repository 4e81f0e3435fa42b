#include "ops/max_pool.h"

#include <doctest/doctest.h>

#include "ops/add.h"
#include "ops/weighted_sum.h"
#include "tests/check.h"

using namespace stflow;

TEST_CASE("max_pool: gradients, lifetimes, instruction sets") {
  struct {
    Shape x;
    Window window;
  } cases[] = {{{1, 1, 1}, {1, 1, 1, 1, 0}},  {{2, 30, 3}, {5, 6, 3, 2, 1}},  {{1, 42, 17}, {6, 7, 3, 2, 1}},
               {{2, 64, 5}, {8, 8, 2, 2, 0}}, {{1, 35, 33}, {5, 7, 3, 1, 1}}, {{0, 9, 4}, {3, 3, 3, 1, 1}}};
  test::Options apart;  // of the constants, which keep the same one the largest however the inputs are moved
  apart.low = -0.1, apart.high = 0.1;
  for (auto& c : cases) {
    Array single(c.x, DType::f32), twofold(c.x, DType::f64);
    for (int64_t i = 0; i < c.x.size(); i++) single.as<float>()[i] = float(twofold.as<double>()[i] = double(i * 7919 % 1009));
    auto build = [&](Tape& tape, const std::vector<Var>& in) {
      return max_pool(add(in[0], test::constant(tape, in[0].type() == DType::f64 ? twofold : single)), c.window);
    };
    test::op("max_pool", build, {c.x}, apart);
  }
}

TEST_CASE("max_pool: borders are left out, the gradient goes to the first of equals") {
  Array x({1, 9, 1}, DType::f32), dx({1, 9, 1}, DType::f32), ones({1, 4, 1}, DType::f32);
  const float values[] = {-5, -1, -1, -4, -1, -2, -3, -7, -2};
  std::copy(values, values + 9, x.as<float>());
  std::fill(ones.as<float>(), ones.as<float>() + 4, 1.0f);
  Tape tape;
  const Var y = max_pool(tape.input(x, dx), {3, 3, 3, 2, 1});
  const Var loss = weighted_sum(y, tape.input(ones));
  Storage arena;
  tape.plan(true, true), tape.bind(arena, ParameterSet()), tape.forward(), tape.backward(loss);
  const float want[] = {-1, -1, -1, -1}, slope[] = {0, 2, 0, 0, 2, 0, 0, 0, 0};
  for (int i = 0; i < 4; i++) CHECK(tape.value(y).as<float>()[i] == want[i]);
  for (int i = 0; i < 9; i++) CHECK(dx.as<float>()[i] == slope[i]);
}

TEST_CASE("max_pool: refuses shapes that do not fit") {
  Array x({2, 12, 3}, DType::f32);
  Tape tape;
  const Var in = tape.input(x);
  CHECK_THROWS_AS(max_pool(in, {3, 5, 3, 1, 1}), Error);
  CHECK_THROWS_AS(max_pool(in, {3, 4, 3, 1, 3}), Error);
}
