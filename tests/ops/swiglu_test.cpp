#include "ops/swiglu.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/check.h"

using namespace stflow;

TEST_CASE("swiglu: gradients, lifetimes, instruction sets") {
  for (Shape u : {Shape{1, 2}, {7, 66}, {130, 130}, {0, 10}, {2, 3, 32}})
    test::op("swiglu", [](Tape&, const std::vector<Var>& in) { return swiglu(in[0]); }, {u});
}

TEST_CASE("swiglu: the activation is on the first half") {
  Array u({1, 2}, DType::f64);
  u.as<double>()[0] = 2, u.as<double>()[1] = 3;
  Tape tape;
  const Var y = swiglu(tape.input(u));
  tape.plan(false);
  Storage arena;
  tape.bind(arena, ParameterSet{});
  tape.forward();
  CHECK(*tape.value(y).as<double>() == doctest::Approx(3 * 2 / (1 + std::exp(-2.0))).epsilon(1e-14));
  Array odd({1, 3}, DType::f64);
  CHECK_THROWS_AS(swiglu(tape.input(odd)), Error);
}
