#include "engine/replays.h"

#include <algorithm>

namespace stflow {

Replays::Known& Replays::find(const Key& key) {
  auto at = std::find_if(known_.begin(), known_.end(), [&](const Known& k) { return k.key == key; });
  if (at == known_.end()) {
    if (known_.size() == kMost) known_.pop_back();
    at = known_.emplace(known_.end());
    at->key = key;
  }
  std::rotate(known_.begin(), at, at + 1);
  return known_.front();
}

size_t Replays::size() const {
  size_t graphs = 0;
  for (const Known& k : known_) graphs += k.graphs.size();
  return graphs;
}

}  // namespace stflow
