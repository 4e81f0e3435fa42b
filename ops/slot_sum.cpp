#include "ops/slot_sum.h"

#include "ops/add.h"

namespace stflow {
namespace {

void add_into(const Context& context, const Tensor& to, const Tensor& from) {
  check(to.size() == from.size() && to.type == from.type, "slot sum: {} {} += {} {}", name_of(to.type), to.size(), name_of(from.type),
        from.size());
  on(context, [&](auto b) { accumulate(b, from, to); });
}

}  // namespace

void add_tree(std::span<const Tensor> nodes, const Context& context) {
  for (size_t stride = 1; stride < nodes.size(); stride *= 2)
    for (size_t i = 0; i + stride < nodes.size(); i += 2 * stride) add_into(context, nodes[i], nodes[i + stride]);
}

Tensor add_nodes(std::span<const Tensor> nodes, std::span<const int> levels, const Context& context) {
  check(!nodes.empty() && nodes.size() == levels.size(), "slot sum: {} nodes, {} levels", nodes.size(), levels.size());
  std::vector<size_t> open;  // nodes whose right neighbour is to come
  std::vector<int> level(levels.begin(), levels.end());
  const auto merge = [&] {
    const size_t right = open.back();
    open.pop_back();
    add_into(context, nodes[open.back()], nodes[right]);
    level[open.back()]++;
  };
  for (size_t i = 0; i < nodes.size(); i++) {
    open.push_back(i);
    while (open.size() > 1 && level[open[open.size() - 2]] == level[open.back()]) merge();
  }
  while (open.size() > 1) merge();
  return nodes[0];
}

Tensor SlotSum::next() {
  if (buffers_.size() == levels_.size()) buffers_.emplace_back(Shape{size_}, type_, context_.device);
  const Tensor t = buffer(levels_.size());
  fill(context_.device, t.data, 0, t.bytes(), context_.stream);
  return t;
}

void SlotSum::add() {
  check(buffers_.size() > levels_.size(), "slot sum: add() without next()");
  levels_.push_back(0);
  while (levels_.size() > 1 && levels_[levels_.size() - 2] == levels_.back()) merge();
}

void SlotSum::merge() {  // the node below takes the top in, and is one level higher
  add_into(context_, buffer(levels_.size() - 2), buffer(levels_.size() - 1));
  levels_.pop_back();
  levels_.back()++;
}

Tensor SlotSum::part(int64_t begin, int64_t end) {
  const auto part_of = [&](size_t i) {
    return Tensor{static_cast<char*>(buffer(i).data) + size_t(begin) * bytes_of(type_), {end - begin}, type_};
  };
  for (size_t i = levels_.size(); i > 0; i--) add_into(context_, part_of(i - 1), part_of(i));  // in total()'s order
  return part_of(0);
}

Tensor SlotSum::whole() {
  levels_.clear();
  return buffer(0);
}

Tensor SlotSum::total() {
  check(!levels_.empty(), "slot sum: no slots");
  while (levels_.size() > 1) merge();
  levels_.clear();
  return buffer(0);
}

}  // namespace stflow
