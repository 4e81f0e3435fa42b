// The planner: offsets for buffers whose lives are known.
#include <algorithm>

#include "engine/tape.h"

namespace stflow {

// Largest first, each at the lowest place where it meets no living neighbour.
void Tape::place() {
  std::sort(lives_.begin(), lives_.end(), [](const Life& a, const Life& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.node != b.node ? a.node < b.node : a.kind < b.kind;
  });
  std::vector<int>& meets = order_;
  arena_bytes_ = 0;
  for (size_t i = 0; i < lives_.size(); i++) {
    Life& a = lives_[i];
    meets.clear();
    for (size_t j = 0; j < i; j++)
      if (lives_[j].born <= a.dies && a.born <= lives_[j].dies) meets.push_back(int(j));
    std::sort(meets.begin(), meets.end(), [&](int x, int y) { return lives_[size_t(x)].at < lives_[size_t(y)].at; });
    size_t at = 0;
    for (int m : meets) {
      const Life& b = lives_[size_t(m)];
      if (at + a.bytes <= b.at) break;
      at = std::max(at, b.at + b.bytes);
    }
    a.at = at;
    arena_bytes_ = std::max(arena_bytes_, at + a.bytes);
  }
}

}  // namespace stflow
