#include "ops/mse.h"

#include <doctest/doctest.h>

#include "tests/check.h"

using namespace stflow;

TEST_CASE("mse: gradients, lifetimes, instruction sets") {
  for (Reduction r : {Reduction::mean, Reduction::sum})
    for (Shape x : {Shape{1, 1}, {7, 33}, {130, 130}, {2, 3, 16}})
      test::op("mse", [r](Tape&, const std::vector<Var>& in) { return mse(in[0], in[1], r); }, {x, x});
  test::op("mse of nothing", [](Tape&, const std::vector<Var>& in) { return mse(in[0], in[1], Reduction::sum); }, {{0, 5}, {0, 5}});
}

TEST_CASE("mse: refuses shapes that do not fit and the mean of nothing") {
  Array x({2, 3}, DType::f32), y({3, 2}, DType::f32), none({0, 3}, DType::f32);
  Tape tape;
  CHECK_THROWS_AS(mse(tape.input(x), tape.input(y)), Error);
  CHECK_THROWS_AS(mse(tape.input(none), tape.input(none)), Error);
}
