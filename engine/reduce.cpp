#include "engine/reduce.h"

#include <cstring>

#include "engine/threads.h"

namespace stflow {
namespace {

void add(const Tensor& to, const Tensor& from) {
  check(to.size() == from.size() && to.type == from.type, "reduce: {} {} += {} {}", name_of(to.type), to.size(), name_of(from.type),
        from.size());
  by_type(to.type, [&](auto zero) {
    auto* a = to.as<decltype(zero)>();
    const auto* b = from.as<decltype(zero)>();
    parallel_for(to.size(), 32768, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) a[i] += b[i];
    });
  });
}

}  // namespace

void add_tree(std::span<const Tensor> nodes) {
  for (size_t stride = 1; stride < nodes.size(); stride *= 2)
    for (size_t i = 0; i + stride < nodes.size(); i += 2 * stride) add(nodes[i], nodes[i + stride]);
}

Tensor SlotSum::next() {
  if (buffers_.size() == levels_.size()) buffers_.emplace_back(Shape{size_}, type_);
  const Tensor t = buffer(levels_.size());
  std::memset(t.data, 0, t.bytes());
  return t;
}

void SlotSum::add() {
  check(buffers_.size() > levels_.size(), "reduce: add() without next()");
  levels_.push_back(0);
  while (levels_.size() > 1 && levels_[levels_.size() - 2] == levels_.back()) merge();
}

void SlotSum::merge() {  // the node below takes the top in, and is one level higher
  stflow::add(buffer(levels_.size() - 2), buffer(levels_.size() - 1));
  levels_.pop_back();
  levels_.back()++;
}

Tensor SlotSum::total() {
  check(!levels_.empty(), "reduce: no slots");
  while (levels_.size() > 1) merge();
  levels_.clear();
  return buffer(0);
}

}  // namespace stflow
