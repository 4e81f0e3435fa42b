#include "engine/tape.h"

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "engine/cuda/memory.h"
#include "engine/half.h"

namespace stflow {

Tape::~Tape() {
  for (auto& c : chunks_) std::free(c.data);
}

void* Tape::op_memory(size_t bytes, size_t align) {
  for (;; chunk_++, chunk_used_ = 0) {
    if (chunk_ == chunks_.size()) {
      size_t size = std::max<size_t>(size_t(1) << 16, bytes);
      auto* data = static_cast<unsigned char*>(std::malloc(size));
      if (!data) fail(Exit::memory, "memory: {} bytes asked for a tape, none free", size);
      chunks_.push_back({data, size});
    }
    size_t at = (chunk_used_ + align - 1) / align * align;
    if (at + bytes > chunks_[chunk_].size) continue;
    chunk_used_ = at + bytes;
    return chunks_[chunk_].data + at;
  }
}

void Tape::reset() {
  nodes_.clear();
  lives_.clear();
  chunk_ = chunk_used_ = 0;
  layer_ = "";
}

Var Tape::input(Tensor value, Tensor grad) {
  Node n;
  n.value = value, n.grad = grad, n.wants_grad = grad.data != nullptr;
  nodes_.push_back(n);
  return {this, int(nodes_.size()) - 1};
}

Var Tape::param(const Parameter& p) {
  Node n;
  n.value.shape = p.shape, n.value.type = p.type, n.value.packed = p.packed, n.offset = p.offset, n.number = p.number;
  n.wants_grad = !p.packed;
  nodes_.push_back(n);
  return {this, int(nodes_.size()) - 1};
}

Var Tape::add(const Op* op, const Var* in, int count) {
  check(count <= kMaxInputs, "{}: {} inputs, expected at most {}", op->name(), count, kMaxInputs);
  Node n;
  n.op = op, n.layer = layer_, n.inputs = count;
  Tensor shapes[kMaxInputs];
  for (int i = 0; i < count; i++) {
    n.in[i] = in[i].id;
    if (in[i].id < 0) continue;
    check(in[i].tape == this, "{}: input {} belongs to another tape", op->name(), i);
    Node& source = nodes_[size_t(in[i].id)];
    check(!source.value.packed || op->reads_packed(), "{}: input {} is packed, expected rows of numbers", op->name(), i);
    shapes[i] = source.value;
    n.wants_grad |= source.wants_grad;
  }
  n.value = op->infer({shapes, size_t(count)});
  n.value.data = nullptr, n.value.packed = false;
  nodes_.push_back(n);
  return {this, int(nodes_.size()) - 1};
}

Call Tape::call(const Node& n, bool backward) const {
  Call c;
  c.context = context_, c.training = training_, c.inputs = n.inputs;
  for (int i = 0; i < n.inputs; i++) {
    if (n.in[i] < 0) continue;
    const Node& s = nodes_[size_t(n.in[i])];
    c.in[i] = s.value;
    if (backward && s.wants_grad) c.din[i] = s.grad;
  }
  c.out = n.value;
  if (backward) c.dout = n.grad;
  if (arena_) {
    if (n.saved) c.saved = arena_ + n.saved_at;
    if (n.prepared) c.prepared = arena_ + n.prepared_at;
    if (backward ? n.back_scratch : n.scratch) c.scratch = arena_ + (backward ? n.back_scratch_at : n.scratch_at);
  }
  return c;
}

// Node i runs forward at time i and backward at time 2n-1-i. A buffer lives from its first write to its last read; two
// buffers may share bytes when their lives do not meet.
size_t Tape::plan(bool training, bool keep_all) {
  enum { kValue, kGrad, kSaved, kScratch, kBackScratch, kPrepared };
  training_ = training;
  lives_.clear();
  arena_ = nullptr;
  if (!training && context_.device == Device::cuda && context_.products == Products::bf16) narrow();
  const int n = int(nodes_.size()), end = 2 * n;
  std::vector<int>& dies = order_;  // reused as memory
  dies.assign(size_t(n), -1);
  for (auto& node : nodes_) node.first_reader = -1;
  for (int i = 0; i < n; i++) {
    Node& node = nodes_[size_t(i)];
    if (!node.op) continue;
    const bool back = training && node.wants_grad;
    const int later = 2 * n - 1 - i;
    for (int k = 0; k < node.inputs; k++) {
      if (node.in[k] < 0) continue;
      auto s = size_t(node.in[k]);
      dies[s] = std::max(dies[s], back && (node.op->keep() & kInputs) ? later : i);
      nodes_[s].first_reader = i;  // the last reader forward is the first writer backward
    }
  }
  for (int i = 0; i < n; i++) {
    Node& node = nodes_[size_t(i)];
    if (!node.op) continue;
    const bool back = training && node.wants_grad;
    const int later = 2 * n - 1 - i;
    auto live = [&](int kind, size_t bytes, int born, int until) {
      if (bytes) lives_.push_back({i, kind, aligned(bytes), born, until, 0});
    };
    int until = dies[size_t(i)];
    if (back && (node.op->keep() & kOutput)) until = std::max(until, later);
    if (node.first_reader < 0 || keep_all) until = end;
    const Call c = call(node, false);
    node.over = keep_all ? -1 : overwritten(c, node, i);
    if (node.over >= 0) {
      node.life = nodes_[size_t(node.over)].life;
      lives_[node.life].dies = std::max(until, i);
    } else {
      node.life = lives_.size();
      live(kValue, node.value.bytes(), i, std::max(until, i));
    }
    if (back) live(kGrad, node.value.bytes(), 2 * n - 1 - (node.first_reader < 0 ? i : node.first_reader), later);
    node.saved = back ? node.op->saved_bytes(c) : 0;
    node.scratch = node.op->scratch_bytes(c, false);
    node.back_scratch = back ? node.op->scratch_bytes(c, true) : 0;
    node.prepared = training ? 0 : node.op->prepared_bytes(c);
    live(kSaved, node.saved, i, later);
    live(kScratch, node.scratch, i, i);
    live(kBackScratch, node.back_scratch, later, later);
    live(kPrepared, node.prepared, -1, end);
  }
  place();
  for (const auto& l : lives_) {
    Node& node = nodes_[size_t(l.node)];
    size_t* at[] = {&node.value_at, &node.grad_at, &node.saved_at, &node.scratch_at, &node.back_scratch_at, &node.prepared_at};
    *at[l.kind] = l.at;
  }
  for (auto& node : nodes_)
    if (node.op && node.over >= 0) node.value_at = nodes_[size_t(node.over)].value_at;
  return arena_bytes_;
}

// The node whose place node i's value takes, for it dies there; -1 if it needs one of its own.
int Tape::overwritten(const Call& c, const Node& node, int i) const {
  const int k = node.op->overwrites(c), s = k < 0 ? -1 : node.in[k];
  if (s < 0 || node.value.bytes() == 0) return -1;
  const Node& source = nodes_[size_t(s)];
  return source.op && lives_[source.life].dies == i && source.value.type == node.value.type && source.value.size() == node.value.size()
             ? s
             : -1;
}

void Tape::bind(Storage& arena, const ParameterSet& params, Tensor grads) {
  check(arena.device() == context_.device, "bind: the arena is not in the memory of the tape's device");
  arena.reserve(arena_bytes_);
  arena_ = static_cast<char*>(arena.data());
  if (scorch_ && arena_) fill(context_.device, arena_, 0xff, arena_bytes_, context_.stream);
  for (auto& n : nodes_) {
    if (n.op) {
      n.value.data = arena_ + n.value_at;
      n.grad = n.value;
      n.grad.data = training_ && n.wants_grad ? arena_ + n.grad_at : nullptr;
    } else if (n.offset >= 0) {
      const size_t at = size_t(n.offset) * bytes_of(params.type());
      n.value.data = static_cast<char*>(params.values().data) + at;
      n.grad = n.value;
      n.grad.data = grads.data ? static_cast<char*>(grads.data) + at : nullptr;
    } else if (n.value.packed) {
      const Tensor held = params.value(params.all()[n.number]);
      n.value.data = held.data, n.value.type = held.type;
    }
  }
  for (auto& n : nodes_)
    if (n.prepared) n.op->prepare(call(n, false));
}

void Tape::forward() {
  for (int i = 0; i < int(nodes_.size()); i++) {
    if (scorch_) settle(i);
    const Node& n = nodes_[size_t(i)];
    if (!n.op) continue;
    const Call c = call(n, false);
    if (n.value.size() > 0) n.op->forward(c);
    if (watch_) watch_(watch_state_, n.op->name(), c, false);
    if (tamper_) tamper_(tamper_state_, n.op->name(), i, -1, n.value);
    if (check_finite_) verify_finite(n, n.value, "forward");
  }
}

void Tape::backward(Var loss, int begin, int end) {
  const int n = int(nodes_.size());
  if (end < 0) end = n;
  check(0 <= begin && begin <= end && end <= n, "backward: nodes {} to {} of {}", begin, end, n);
  if (end == n) born_.assign(size_t(n), 0);
  auto give_birth = [&](Node& node, size_t id) {
    if (!node.op || !node.wants_grad || born_[id]) return;
    fill(context_.device, node.grad.data, 0, node.grad.bytes(), context_.stream);
    born_[id] = 1;
  };
  for (int i = end - 1; i >= begin; i--) {
    if (scorch_) settle(2 * n - 1 - i);
    Node& node = nodes_[size_t(i)];
    if (i == loss.id) {
      check(node.op && node.wants_grad && node.value.size() == 1, "backward: the loss must be one number that depends on a parameter");
      born_[size_t(i)] = 1;
      if (context_.device == Device::cuda) cuda_store(node.grad.as<float>(), 1, context_.stream);
      else by_type(node.grad.type, [&](auto zero) { *node.grad.as<decltype(zero)>() = 1; });
    }
    if (!node.op || !node.wants_grad || !born_[size_t(i)]) continue;
    for (int k = 0; k < node.inputs; k++)
      if (node.in[k] >= 0) give_birth(nodes_[size_t(node.in[k])], size_t(node.in[k]));
    const Call c = call(node, true);
    if (node.value.size() > 0) node.op->backward(c);
    if (watch_) watch_(watch_state_, node.op->name(), c, true);
    for (int k = 0; k < node.inputs && (tamper_ || check_finite_); k++) {
      if (!c.din[k].data) continue;
      if (tamper_) tamper_(tamper_state_, node.op->name(), i, k, c.din[k]);
      if (check_finite_) verify_finite(node, c.din[k], "backward");
    }
  }
}

std::vector<Tape::Use> Tape::uses() const {
  std::vector<Use> all;
  std::vector<int> first(nodes_.size(), int(nodes_.size()));
  for (int i = int(nodes_.size()) - 1; i >= 0; i--)
    for (int k = 0; k < nodes_[size_t(i)].inputs; k++)
      if (const int in = nodes_[size_t(i)].in[k]; in >= 0) first[size_t(in)] = i;
  for (size_t i = 0; i < nodes_.size(); i++)
    if (nodes_[i].offset >= 0) all.push_back({nodes_[i].offset, nodes_[i].value.size(), first[i]});
  return all;
}

// Scorched earth: what died just before `time` is NaN from now on (nothing alive can overlap it).
void Tape::settle(int time) {
  for (const auto& l : lives_)
    if (l.dies == time - 1) fill(context_.device, arena_ + l.at, 0xff, l.bytes, context_.stream);
}

void Tape::verify_finite(const Node& n, const Tensor& written, const char* direction) const {
  if (written.type == DType::i32) return;
  Tensor t = written;
  Array here;
  if (context_.device != Device::cpu) {
    here = Array(t.shape, t.type);
    copy(Device::cpu, here.tensor().data, context_.device, t.data, t.bytes(), context_.stream);
    t = here;
  }
  const auto verify = [&](auto at) {
    for (int64_t i = 0; i < t.size(); i++)
      if (const auto x = at(i); !std::isfinite(x))
        fail(Exit::data, "{} {} of layer '{}': {} at element {} of {}, expected finite numbers", n.op->name(), direction, n.layer,
             x != x ? "NaN" : "Inf", i, t.shape.text());
  };
  if (t.type == DType::bf16) return verify([&](int64_t i) { return bfloat_to_float(t.as<uint16_t>()[i]); });
  by_type(t.type, [&](auto zero) { verify([&](int64_t i) { return t.as<decltype(zero)>()[i]; }); });
}

}  // namespace stflow
