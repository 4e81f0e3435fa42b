#include "ops/edge_hidden.h"

#include <doctest/doctest.h>

#include "ops/frame_mean.h"
#include "tests/check.h"

using namespace stflow;

namespace {

test::Build build(bool mean, Dropout d = {}) {
  return [=](Tape&, const std::vector<Var>& in) { return edge_hidden(in[0], in[1], in[2], in[3], in[4], mean, d); };
}
std::vector<Shape> shapes(Shape frames, int64_t m) { return {frames, {2 * m, 3}, {2 * m}, {m}, {m}}; }

const Dropout kDrop{0.3f, RandomKey(9, Stream::dropout, 3, 1), 2};

}  // namespace

TEST_CASE("edge_hidden: gradients, lifetimes, instruction sets") {
  test::Options o;
  o.fixed = {0};
  for (bool mean : {false, true})
    for (int64_t m : {1, 7, 16, 33, 64})
      for (Shape f : {Shape{1, 1, 4, 3}, {13, 7, 4, 3}, {3, 5, 8, 3}, {1, 0, 4, 3}, {0, 8, 4, 3}})
        test::op("edge_hidden", build(mean), shapes(f, m), o);
  for (bool mean : {false, true})
    for (int64_t m : {7, 16, 64}) test::op("edge_hidden with dropout", build(mean, kDrop), shapes({13, 7, 4, 3}, m), o);
}

TEST_CASE("frame_mean: gradients, lifetimes, instruction sets") {
  for (Shape x : {Shape{1, 1, 4, 1}, {13, 7, 4, 33}, {5, 3, 8, 64}, {2, 1, 4, 1500}, {0, 8, 4, 16}})
    for (const Dropout& d : {Dropout{}, kDrop})
      test::op("frame_mean", [=](Tape&, const std::vector<Var>& in) { return frame_mean(in[0], d); }, {x});
}
