#include "ops/scale_add.h"

#include <doctest/doctest.h>

#include "tests/check.h"

using namespace stflow;

TEST_CASE("scale_add: gradients, lifetimes, instruction sets") {
  for (Shape x : {Shape{1, 7}, {3, 5, 33}, {300, 70}, {0, 5}, {4, 1}})
    test::op("scale_add", [](Tape&, const std::vector<Var>& in) { return scale_add(in[0], in[1], in[2]); }, {x, x, {x[-1]}});
}
