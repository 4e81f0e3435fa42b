// The planner: offsets for buffers whose lives are known.
#include <algorithm>

#include "engine/tape.h"

namespace stflow {

// Largest first, each at the lowest place where it meets no living neighbour.
void Tape::place() {
  std::sort(lives_.begin(), lives_.end(), [](const Life& a, const Life& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.node != b.node ? a.node < b.node : a.kind < b.kind;
  });
  std::vector<int>& placed = order_;  // by address
  placed.clear();
  arena_bytes_ = 0;
  for (size_t i = 0; i < lives_.size(); i++) {
    Life& a = lives_[i];
    size_t at = 0;
    for (int j : placed) {
      const Life& b = lives_[size_t(j)];
      if (b.born > a.dies || a.born > b.dies) continue;
      if (at + a.bytes <= b.at) break;
      at = std::max(at, b.at + b.bytes);
    }
    a.at = at;
    placed.insert(std::upper_bound(placed.begin(), placed.end(), at, [&](size_t x, int j) { return x < lives_[size_t(j)].at; }), int(i));
    arena_bytes_ = std::max(arena_bytes_, at + a.bytes);
  }
}

}  // namespace stflow
