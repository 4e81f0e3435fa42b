// Who does what: plans that follow from sizes alone, so that all ranks know them without a word.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace stflow {

/// The slots [begin, end) of a step that rank `rank` of `size` computes: as equal as can be, more on the lower ranks; none when there are
/// more ranks than slots.
struct SlotRange {
  int begin = 0, end = 0;
};
SlotRange slots_of(int slots, int rank, int size);

/// A node of the tree over the slots (ops/slot_sum.h): the slots [first, first + 2^level), cut at their number.
struct TreeNode {
  int first = 0, level = 0;
};
/// The largest nodes that make up a range, in order: at most 2 log2(slots).
std::vector<TreeNode> nodes_of(SlotRange range, int slots);

/// Which of the items each rank takes, item by item: the largest first, each to the rank that has least.
std::vector<int> shares_of(std::span<const int64_t> sizes, int ranks);

}  // namespace stflow
