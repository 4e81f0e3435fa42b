// Exact k nearest neighbours in the plane, the same whatever the order of the spots or the pose of the slide.
#pragma once
#include "ops/graph.h"

namespace stflow {

/// Squared distances whose relative gap is no larger count as equal: rotating float64 coordinates moves them by about
/// 1e-13, distinct shells of a lattice differ by far more.
inline constexpr double kTieTolerance = 1e-9;

/// Fills `graph` with the min(k, n - 1) nearest other spots of each spot. coords (n, 2) f64; rank (n) i32, a permutation:
/// rank[i] = position of spot i in barcode order. A spot's candidates are sorted by squared distance and chained into
/// groups while the gap is <= kTieTolerance * d2; groups in rising distance, ranks within a group. So a lattice's shells
/// stay whole under rotation, and permuting the spots permutes the result byte for byte.
/// O(n log n) for any layout (a k-d tree over the distinct places; of a place, only its k + 1 first spots are looked at).
/// Throws Exit::data for a coordinate that is not finite or beyond 1e12.
void build_knn(const Tensor& coords, const Tensor& rank, int k, Graph& graph);

/// coords (n, 2) f64 and rank (n) i32 in one memory.
struct Spots {
  Tensor coords, rank;
};
/// The same graph, byte for byte, into one in the device's memory. `there` is a copy of `here`, the host's, in the device's. O(n) for
/// layouts without gaps; where a share of all spots lies in one place or in clusters far apart, O(n) for each of those spots. Waits for
/// nothing, and asks for no memory for a graph of a size seen before or smaller.
void build_knn(Cuda on, const Spots& here, const Spots& there, int k, Graph& graph);

/// The median over spots of the distance to the nearest neighbour elsewhere (distance > 0); 1 if no spot has one.
/// The unit of length of a slide, in the coordinates' unit.
double median_neighbour_distance(const Graph& graph);
/// The same of a graph in the device's memory; waits for it.
double median_neighbour_distance(Cuda on, Graph& graph);

}  // namespace stflow
