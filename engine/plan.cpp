// The planner: offsets for buffers whose lives are known, and which of an inference program's values need only 16 bits.
#include <algorithm>

#include "engine/tape.h"

namespace stflow {

// A value is bf16 where the op that writes it can do so and all that read it can take it: the one place where that is decided. What nothing
// reads is a result, and stays float32. In the order of the program, so that an op may follow the types of its inputs.
void Tape::narrow() {
  std::vector<int>& wide = order_;  // reused as memory: readers that want float32, -1 where there is no reader
  wide.assign(nodes_.size(), -1);
  for (size_t i = 0; i < nodes_.size(); i++)
    for (int k = 0; k < nodes_[i].inputs; k++)
      if (const int in = nodes_[i].in[k]; in >= 0) {
        int& count = wide[size_t(in)];
        count = std::max(count, 0) + int(!nodes_[i].op->reads_half(call(nodes_[i], false), k));
      }
  for (size_t i = 0; i < nodes_.size(); i++)
    if (Node& n = nodes_[i]; n.op && wide[i] == 0 && n.op->writes_half(call(n, false))) n.value.type = DType::bf16;
}

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
