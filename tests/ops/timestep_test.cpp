#include "ops/timestep.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/check.h"

using namespace stflow;

TEST_CASE("timestep: gradients, lifetimes, instruction sets") {
  for (int64_t width : {2, 14, 256})
    test::op("timestep", [width](Tape&, const std::vector<Var>& in) { return timestep(in[0], width); }, {{1}});
}

TEST_CASE("timestep: cosines first, frequencies from 1 down to nearly 1 / 10000") {
  Array t({1}, DType::f64);
  *t.as<double>() = 0.7;
  Tape tape;
  const Var y = timestep(tape.input(t), 256);
  tape.plan(false);
  Storage arena;
  tape.bind(arena, ParameterSet{});
  tape.forward();
  const double* v = tape.value(y).as<double>();
  for (int j : {0, 1, 64, 127}) {
    const double f = std::pow(10000.0, -j / 128.0);
    CHECK(v[j] == doctest::Approx(std::cos(0.7 * f)).epsilon(1e-12));
    CHECK(v[128 + j] == doctest::Approx(std::sin(0.7 * f)).epsilon(1e-12));
  }
  CHECK_THROWS_AS(timestep(tape.input(t), 5), Error);
}
