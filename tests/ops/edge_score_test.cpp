#include "ops/edge_score.h"

#include <doctest/doctest.h>

#include "tests/check.h"
#include "tests/ops/graphs.h"

using namespace stflow;

TEST_CASE("edge_score: gradients, lifetimes, instruction sets") {
  struct Case {
    int64_t n;
    int k;
    int64_t heads, m, width;
  };
  for (Case c : {Case{2, 1, 1, 1, 1},
                 {7, 3, 2, 7, 5},
                 {33, 8, 4, 16, 8},
                 {9, 5, 4, 64, 32},
                 {6, 5, 3, 32, 8},
                 {1, 0, 4, 16, 8},
                 {20, 8, 4, 33, 16},
                 {14, 13, 3, 6, 4},     // on CUDA: more rows (slot, head) of a spot than a block takes at a time
                 {2, 1, 1, 400, 20},    // fewer warps, because their rows would not fit shared memory
                 {4, 2, 1, 128, 130}})  // a We too large for it
    for (Dropout d : {Dropout{}, Dropout{0.3f, RandomKey(9, Stream::dropout, 3, 1), 2}}) {
      Graph graph;
      test::random_graph(graph, c.n, c.k);
      const int64_t m2 = 2 * c.m;
      test::op(
          "edge_score",
          [&](Tape& t, const std::vector<Var>& in) {
            return edge_score(in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7], in[8], test::constant(t, graph), d);
          },
          {{c.n, c.heads, m2}, {c.n, c.heads, m2}, {c.n, m2}, {c.n, c.k, c.heads * c.width}, {m2, c.width}, {c.m}, {c.m}, {1, c.m}, {1}});
    }
}
