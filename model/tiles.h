// A slide in parts that are computed one after another: each part is some spots of its own and the halo of spots that these see, hop by
// hop, through the layers and steps of the flow. What is computed for a part's own spots is what the whole slide gives, byte for byte.
#pragma once
#include <cstdint>
#include <vector>

#include "ops/graph.h"

namespace stflow {

/// Rows of a slide: first the part's own, then its halo by hops; those before `inner` have all their neighbours in the part.
struct Tile {
  std::vector<int32_t> spots;
  int64_t own = 0, inner = 0;

  [[nodiscard]] int64_t size() const { return int64_t(spots.size()); }
  [[nodiscard]] bool whole(int64_t n) const { return own == n; }
};

/// Cuts slides of one graph into tiles. Memory: 8 bytes a spot.
class Tiles {
 public:
  /// `graph` is the host's and must stay. `hops`: how far an own spot's result reaches, in edges.
  Tiles(const Tensor& coords, const Graph& graph, int64_t hops);

  /// Halves the slide across its longer side until no tile has more than `most` spots with its halo (or a single own spot); as they are,
  /// in one piece, when n <= most. Calls each(tile) for every tile; together their own spots are all spots, once.
  template <class F> void each(int64_t most, F&& each) {
    Tile tile;
    std::vector<Range> left{{0, graph_.n}};
    while (!left.empty()) {
      const Range r = left.back();
      left.pop_back();
      if (fill(r, most, tile)) {
        each(static_cast<const Tile&>(tile));
        continue;
      }
      const int64_t middle = split(r);
      left.push_back({middle, r.end});
      left.push_back({r.begin, middle});
    }
  }

 private:
  struct Range {
    int64_t begin, end;
  };

  /// False, leaving the tile unfinished, as soon as it has more than `most` spots and can be halved.
  bool fill(Range r, int64_t most, Tile& tile);
  int64_t split(Range r);

  const double* coords_;
  const Graph& graph_;
  int64_t hops_;
  std::vector<int32_t> order_;  // of spots; a range of it is a rectangle of tissue
  std::vector<int32_t> seen_;   // by the tile of this number
  int32_t number_ = 0;
};

/// The part of `whole` that a tile's spots see: neighbours numbered within the tile. Spots at its rim are their own neighbours at distance
/// 0, which nothing of the tile's own spots depends on. No reverse lists.
void cut_graph(const Graph& whole, const Tile& tile, std::vector<int32_t>& local, Graph& part);

}  // namespace stflow
