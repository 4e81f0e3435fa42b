// Graphs for op tests: arbitrary neighbour lists, so that lengths and repetitions of the reverse lists vary.
#pragma once
#include "engine/random.h"
#include "ops/graph.h"

namespace stflow::test {

/// n spots with k neighbours each, drawn at random (never the spot itself; the same neighbour may come twice).
inline void random_graph(Graph& g, int64_t n, int k, uint64_t seed = 5) {
  g.resize(n, k);
  Array rank({n}, DType::i32);
  for (int64_t i = 0; i < n; i++) {
    rank.as<int32_t>()[i] = int32_t(n - 1 - i);
    for (int j = 0; j < k; j++)
      g.idx.as<int32_t>()[i * k + j] =
          int32_t((i + 1 + RandomKey(seed, Stream::test).draw(uint64_t(i * k + j)).v[0] % uint32_t(n - 1)) % n);
  }
  g.build_reverse(rank);
}

}  // namespace stflow::test
