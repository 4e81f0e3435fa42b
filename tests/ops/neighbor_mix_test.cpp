#include "ops/neighbor_mix.h"

#include <doctest/doctest.h>

#include "tests/check.h"
#include "tests/ops/graphs.h"

using namespace stflow;

TEST_CASE("neighbor_mix: gradients, lifetimes, instruction sets") {
  struct Case {
    int64_t n;
    int k;
    int64_t heads, value, edge;
  };
  for (Case c : {Case{2, 1, 1, 1, 1}, {7, 3, 2, 7, 5}, {33, 8, 4, 8, 16}, {1, 0, 4, 8, 8}, {130, 5, 3, 33, 7}})
    for (Dropout d : {Dropout{}, Dropout{0.3f, RandomKey(9, Stream::dropout, 3, 1), 2}}) {
      Graph graph;
      test::random_graph(graph, c.n, c.k);
      test::op("neighbor_mix",
               [&](Tape& t, const std::vector<Var>& in) { return neighbor_mix(in[0], in[1], in[2], test::constant(t, graph), d); },
               {{c.n, c.k, c.heads}, {c.n, c.heads * c.value}, {c.n, c.k, c.heads * c.edge}});
    }
}
