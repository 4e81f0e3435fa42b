#include "ops/mean.h"

#include <doctest/doctest.h>

#include "tests/check.h"

using namespace stflow;

TEST_CASE("mean: gradients, lifetimes, instruction sets") {
  for (Shape x : {Shape{1, 1}, {7, 33}, {130, 130}, {0, 5}, {2, 3, 16}})
    for (size_t count : {1, 3, 16})
      test::op(
          "mean", [](Tape&, const std::vector<Var>& in) { return mean(in); }, std::vector<Shape>(count, x));
}

TEST_CASE("mean: refuses shapes that do not fit, and nothing") {
  Array x({2, 3}, DType::f32), y({3, 2}, DType::f32);
  Tape tape;
  const Var in[] = {tape.input(x), tape.input(y)};
  CHECK_THROWS_AS(mean(in), Error);
  CHECK_THROWS_AS(mean({}), Error);
}
