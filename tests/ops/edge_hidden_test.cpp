#include "ops/edge_hidden.h"

#include <doctest/doctest.h>

#include "tests/check.h"

using namespace stflow;

TEST_CASE("edge_hidden: gradients, lifetimes, instruction sets") {
  const auto build = [](Dropout d) -> test::Build {
    return [=](Tape&, const std::vector<Var>& in) { return edge_hidden(in[0], in[1], in[2], in[3], in[4], d); };
  };
  const auto shapes = [](Shape frames, int64_t m) -> std::vector<Shape> { return {frames, {2 * m, 3}, {2 * m}, {m}, {m}}; };
  const Dropout drop{0.3f, RandomKey(9, Stream::dropout, 3, 1), 2};
  test::Options o;
  o.fixed = {0};
  for (int64_t m : {1, 7, 16, 33, 64})
    for (Shape f : {Shape{1, 1, 4, 3}, {13, 7, 4, 3}, {3, 5, 8, 3}, {1, 0, 4, 3}, {0, 8, 4, 3}})
      test::op("edge_hidden", build({}), shapes(f, m), o);
  for (int64_t m : {7, 16, 64}) test::op("edge_hidden with dropout", build(drop), shapes({13, 7, 4, 3}, m), o);
}
