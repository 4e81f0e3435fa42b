#include "ops/add.h"

#include <doctest/doctest.h>

#include "tests/check.h"

using namespace stflow;

TEST_CASE("add, add_row: gradients, lifetimes, instruction sets") {
  for (Shape x : {Shape{1, 7}, {7, 33}, {130, 130}, {1100, 3}, {0, 5}, {2, 3, 16}}) {
    test::op("add", [](Tape&, const std::vector<Var>& in) { return add(in[0], in[1]); }, {x, x});
    test::op("add to itself", [](Tape&, const std::vector<Var>& in) { return add(in[0], in[0]); }, {x});
    test::op("add_row", [](Tape&, const std::vector<Var>& in) { return add_row(in[0], in[1]); }, {x, {1, x[-1]}});
  }
}

TEST_CASE("add, add_row: refuse shapes that do not fit") {
  Array x({2, 3}, DType::f32), y({3, 2}, DType::f32);
  Tape tape;
  const Var a = tape.input(x), b = tape.input(y);
  CHECK_THROWS_AS(add(a, b), Error);
  CHECK_THROWS_AS(add_row(a, b), Error);
}
