#include "ops/layernorm.h"

#include <doctest/doctest.h>

#include "tests/check.h"

using namespace stflow;

TEST_CASE("layernorm: gradients, lifetimes, instruction sets") {
  for (Shape x : {Shape{1, 7}, {7, 33}, {130, 130}, {33, 1}, {0, 5}, {2, 3, 16}})
    test::op("layernorm", [](Tape&, const std::vector<Var>& in) { return layernorm(in[0], in[1], in[2], 1e-5f); }, {x, {x[-1]}, {x[-1]}});
}
