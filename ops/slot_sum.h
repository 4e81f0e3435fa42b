// Adding the gradients of a step's slots in one fixed binary tree, so that the bits depend neither on threads nor on
// which rank computed which slot.
//
// The tree over V slots: node (0, i) is slot i; node (l + 1, i) = node (l, 2i) + node (l, 2i + 1), or its left child alone
// where there is no right one. A rank that owns the aligned slots [r 2^l, (r + 1) 2^l) computes node (l, r) by itself,
// and add_tree() over the ranks' nodes gives the same bits as one rank that owns all.
#pragma once
#include <span>
#include <vector>

#include "engine/op.h"
#include "engine/storage.h"

namespace stflow {

/// The root of the tree over `nodes` (equal sizes, f32 or f64, in the memory of the context's device), left in nodes[0]; the others are
/// used up.
void add_tree(std::span<const Tensor> nodes, const Context& context = {});

/// The root of the tree over its nodes of several levels, which come in order and leave no slot out (engine/distributed/plan.h: nodes_of);
/// the result is in the memory of the first, the others are used up.
Tensor add_nodes(std::span<const Tensor> nodes, std::span<const int> levels, const Context& context = {});

/// The same for slots that come one after another, with log2(V) + 1 buffers instead of V.
class SlotSum {
 public:
  /// `size` elements per slot, in the memory of the context's device.
  SlotSum(int64_t size, DType type, const Context& context = {}) : size_(size), type_(type), context_(context) {}

  /// A zeroed buffer for the next slot's gradient. Fill it, then call add().
  Tensor next();
  /// Takes what next() gave as the next slot.
  void add();
  /// The elements [begin, end) of total(), as soon as those of the slot that next() gave last are final: it counts as added. Each element
  /// is asked for once; whole() then is total().
  Tensor part(int64_t begin, int64_t end);
  Tensor whole();
  /// The sum over the slots added since the last total(), valid until the next call of next(). Throws if there are none.
  Tensor total();

 private:
  Tensor buffer(size_t i) const { return buffers_[i]; }
  void merge();

  int64_t size_;
  DType type_;
  Context context_;
  std::vector<Array> buffers_;  // buffers_[i] holds the node on place i of the stack
  std::vector<int> levels_;     // its level; falling
};

}  // namespace stflow
