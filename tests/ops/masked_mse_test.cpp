#include "ops/masked_mse.h"

#include <doctest/doctest.h>

#include "tests/check.h"

using namespace stflow;

TEST_CASE("masked_mse: gradients, lifetimes, instruction sets") {
  test::Options o;
  o.fixed = {1, 2};
  for (Shape x : {Shape{1, 7}, {3, 5, 33}, {100, 16}, {1, 1}})
    test::op(
        "masked_mse", [](Tape&, const std::vector<Var>& in) { return masked_mse(in[0], in[1], in[2]); }, {x, x, {x.size() / x[-1]}}, o);
}

TEST_CASE("masked_mse: rows of weight zero do not count, whatever they hold") {
  Array x({2, 2}, DType::f64), target({2, 2}, DType::f64), weight({2}, DType::f64);
  const double a[] = {1, 2, 1e300, 1e300}, b[] = {2, 4, -1e300, 0};
  for (int i = 0; i < 4; i++) x.as<double>()[i] = a[i], target.as<double>()[i] = b[i];
  weight.as<double>()[0] = 3;
  Tape tape;
  Var y = masked_mse(tape.input(x), tape.input(target), tape.input(weight));
  Storage arena;
  tape.plan(false), tape.bind(arena, ParameterSet()), tape.forward();
  CHECK(*tape.value(y).as<double>() == 7.5);
}
