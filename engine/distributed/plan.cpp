#include "engine/distributed/plan.h"

#include <algorithm>
#include <numeric>

namespace stflow {

SlotRange slots_of(int slots, int rank, int size) {
  const auto begin = [&](int r) { return int((int64_t(slots) * r + size - 1) / size); };
  return {begin(rank), begin(rank + 1)};
}

std::vector<TreeNode> nodes_of(SlotRange range, int slots) {
  std::vector<TreeNode> nodes;
  for (int at = range.begin; at < range.end;) {
    int level = 0;
    // A node that reaches beyond the last slot is whole with the slots that there are.
    const auto fits = [&](int l) {
      const int64_t width = int64_t(1) << l;
      return at % width == 0 && (at + width <= range.end || (range.end == slots && at + width / 2 < slots));
    };
    while (fits(level + 1)) level++;
    nodes.push_back({at, level});
    at += 1 << level;
  }
  return nodes;
}

std::vector<int> shares_of(std::span<const int64_t> sizes, int ranks) {
  std::vector<size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return sizes[a] > sizes[b]; });
  std::vector<int64_t> load(size_t(ranks), 0);
  std::vector<int> owner(sizes.size());
  for (const size_t i : order) {
    const auto least = std::min_element(load.begin(), load.end());
    owner[i] = int(least - load.begin());
    *least += sizes[i];
  }
  return owner;
}

}  // namespace stflow
