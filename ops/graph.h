// The neighbour graph of one slide (or of one training disc): who attends to whom, and who is attended to by whom.
#pragma once
#include "engine/storage.h"

namespace stflow {

/// Directed k-nearest-neighbour lists of n spots and their reverse. The lists live in memory that the graph owns and
/// reuses, the host's or the device's: resize() to a size seen before allocates nothing. An edge (i, slot) has the number
/// i * k + slot.
/// Every order below follows the spots' canonical ranks, so permuting the spots permutes the graph byte for byte.
struct Graph {
  int64_t n = 0;         // spots
  int k = 0;             // neighbours of each, min(asked, n - 1); 0 for a lone spot
  Tensor idx;            // (n, k) i32: neighbours of i, nearest first, ties by rank (ops/knn.h)
  Tensor distance;       // (n, k) f64: ||C_j - C_i|| in the coordinates' unit
  Tensor reverse_start;  // (n + 1) i32: reverse[reverse_start[j] .. reverse_start[j + 1]) are the edges that point to j,
  Tensor reverse;        // (n * k) i32: by rank of their source

  Storage scratch;  // of whoever builds the lists

  explicit Graph(Device device = Device::cpu)
      : scratch(0, device), idx_(0, device), distance_(0, device), start_(0, device), reverse_(0, device) {}
  [[nodiscard]] Device device() const { return scratch.device(); }
  /// Shapes the tensors for n spots with k neighbours; content undefined. n * k must stay below 2^31.
  void resize(int64_t n, int k);
  /// Fills the reverse lists of a host graph from idx. rank (n) i32 is a permutation: rank[i] = position of spot i in barcode order.
  void build_reverse(const Tensor& rank);
  /// A copy in that memory.
  [[nodiscard]] Graph to(Device device) const;

 private:
  Storage idx_, distance_, start_, reverse_;
};

/// Graph::build_reverse for a graph and ranks in the device's memory.
void build_reverse(Cuda on, const Tensor& rank, Graph& graph);
/// Gives a device's graph more spots, up to `spots`: each repeats the last one's neighbours, and none is a neighbour. The graph must have
/// had as many with as many neighbours before: it stays where it is.
void pad_graph(Cuda on, Graph& graph, int64_t spots);

}  // namespace stflow
