#include "ops/graph.h"

#include <algorithm>
#include <utility>

namespace stflow {
namespace {

/// An empty tensor has an address too.
Tensor shaped(Storage& memory, Shape shape, DType type) {
  memory.reserve(std::max<size_t>(size_t(shape.size()) * bytes_of(type), 1));
  return {memory.data(), shape, type};
}

}  // namespace

Graph Graph::to(Device there) const {
  Graph g(there);
  g.resize(n, k);
  for (auto [from, to] : {std::pair{&idx, &g.idx}, {&distance, &g.distance}, {&reverse_start, &g.reverse_start}, {&reverse, &g.reverse}})
    copy(there, to->data, device(), from->data, from->bytes());
  return g;
}

void Graph::resize(int64_t spots, int neighbours) {
  check(spots >= 0 && neighbours >= 0 && spots * std::max(neighbours, 1) < (int64_t(1) << 31), "graph: {} spots with {} neighbours", spots,
        neighbours);
  n = spots, k = neighbours;
  idx = shaped(idx_, {n, k}, DType::i32);
  distance = shaped(distance_, {n, k}, DType::f64);
  reverse_start = shaped(start_, {n + 1}, DType::i32);
  reverse = shaped(reverse_, {n * k}, DType::i32);
}

void Graph::build_reverse(const Tensor& rank) {
  const auto *to = idx.as<int32_t>(), *position = rank.as<int32_t>();
  auto *start = reverse_start.as<int32_t>(), *edges = reverse.as<int32_t>();
  auto* order = shaped(scratch, {n}, DType::i32).as<int32_t>();
  for (int64_t i = 0; i < n; i++) order[position[i]] = int32_t(i);

  // Counting sort by target. start[j + 1] first counts, then is the place of the next edge to j, at last the end of j.
  for (int64_t j = 0; j <= n; j++) start[j] = 0;
  for (int64_t e = 0; e < n * k; e++) start[to[e] + 1]++;
  for (int64_t j = 0, before = 0; j < n; j++) {
    const int32_t count = start[j + 1];
    start[j + 1] = int32_t(before);
    before += count;
  }
  for (int64_t r = 0; r < n; r++)
    for (int32_t e = order[r] * k; e < (order[r] + 1) * k; e++) edges[start[to[e] + 1]++] = e;
}

}  // namespace stflow
