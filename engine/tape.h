// The program is data: model code records ops on a tape, the planner turns lifetimes into offsets in one arena,
// forward() and backward() walk a flat list.
#pragma once
#include <functional>
#include <initializer_list>
#include <new>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/module.h"
#include "engine/op.h"
#include "engine/storage.h"

namespace stflow {

class Tape;

/// A node of a tape. Default-constructed, it stands for a missing optional input.
struct Var {
  Tape* tape = nullptr;
  int id = -1;
  [[nodiscard]] Shape shape() const;
  [[nodiscard]] DType type() const;
};

/// Up to kMaxInputs nodes, one per layer of a model: a list without the heap, so that recording a step asks for no memory.
class Vars {
 public:
  void push_back(Var v) {
    check(n_ < size_t(kMaxInputs), "vars: more than {}", kMaxInputs);
    v_[n_++] = v;
  }
  [[nodiscard]] size_t size() const { return n_; }
  [[nodiscard]] bool empty() const { return n_ == 0; }
  Var operator[](size_t i) const { return v_[i]; }
  [[nodiscard]] Var back() const { return v_[n_ - 1]; }
  [[nodiscard]] const Var* begin() const { return v_; }
  [[nodiscard]] const Var* end() const { return v_ + n_; }

 private:
  Var v_[kMaxInputs];
  size_t n_ = 0;
};

/// Use: record (input, param, ops), plan(), bind(), forward(), backward(); reset() keeps all capacity for the next item.
class Tape {
 public:
  explicit Tape(Context context = {}) : context_(context) {}
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;
  ~Tape();

  /// A value that the caller owns, in the memory of the context's device. With grad.data, backward adds its gradient there.
  Var input(Tensor value, Tensor grad = {});
  /// A parameter; its gradient goes to the array given to bind().
  Var param(const Parameter& p);
  /// Records O with the given inputs and returns its output.
  template <class O> Var record(const O& op, std::span<const Var> in) {
    static_assert(std::is_trivially_destructible_v<O>, "ops live in the tape's buffer and are never destroyed");
    return add(new (op_memory(sizeof(O), alignof(O))) O(op), in.data(), int(in.size()));
  }
  template <class O> Var record(const O& op, std::initializer_list<Var> in) { return record(op, std::span(in.begin(), in.size())); }

  /// Lays out the arena and returns its bytes. Nothing is touched. `keep_all` gives every value a place of its own
  /// (for reading intermediate values). Only ancestors of nothing are dropped: every node is computed.
  size_t plan(bool training, bool keep_all = false);
  /// Points every node into the arena (of the context's device, grown when too small; `params`, there too, gives values, `grads` has the
  /// layout of ParameterSet::grads or is empty for inference) and, for inference, lets ops prepare.
  void bind(Storage& arena, const ParameterSet& params, Tensor grads = {});
  void forward();
  /// d loss = 1 for the (1)-shaped node `loss`; adds into the gradients of inputs and parameters. In pieces: a call goes through the nodes
  /// [begin, end), the next one through nodes before them; the first one ends with the last node, as it does without `end`.
  void backward(Var loss, int begin = 0, int end = -1);
  /// Where a parameter is in the flat array (elements), and the first node that reads it: when that one has gone backward, the parameter's
  /// gradient is final. One for each param().
  struct Use {
    int64_t offset, size;
    int first;
  };
  [[nodiscard]] std::vector<Use> uses() const;
  /// Forgets the program, keeps the memory.
  void reset();

  [[nodiscard]] Tensor value(Var v) const { return nodes_[size_t(v.id)].value; }
  /// True for a param(): the same value in every run until the next bind().
  [[nodiscard]] bool is_param(Var v) const { return nodes_[size_t(v.id)].offset >= 0 || nodes_[size_t(v.id)].value.packed; }
  [[nodiscard]] bool training() const { return training_; }
  [[nodiscard]] Context context() const { return context_; }
  [[nodiscard]] int size() const { return int(nodes_.size()); }

  /// Names the layer of the nodes recorded from now on, for error lines ("backbone.blks.2.attn"). The text must outlive the tape's program.
  void layer(const char* name) { layer_ = name; }
  /// After each op, throws Exit::data naming op, layer, direction, shape and index of the first NaN or Inf.
  void check_finite(bool on) { check_finite_ = on; }
  /// True while something looks at each op's result, which a graph cannot stop for.
  [[nodiscard]] bool watched() const { return check_finite_ || scorch_ || watch_ || tamper_; }
  /// Called after each op: for measurements. `call` is what the op was given.
  using Watch = void (*)(void* state, const char* op, const Call& call, bool backward);
  void watch(Watch f, void* state) { watch_ = f, watch_state_ = state; }
  /// Tests only: fills every buffer with NaN outside its planned life, so that a wrong keep() is seen.
  void scorch(bool on) { scorch_ = on; }
  /// Tests only: called with what an op has just written, to change it on purpose: after forward its value (input -1), after
  /// backward the gradient of each input.
  using Tamper = void (*)(void* state, const char* op, int node, int input, Tensor written);
  void tamper(Tamper f, void* state) { tamper_ = f, tamper_state_ = state; }

 private:
  struct Node {
    const Op* op = nullptr;
    const char* layer = "";
    int in[kMaxInputs] = {};
    int inputs = 0;
    Tensor value, grad;
    bool wants_grad = false;
    int64_t offset = -1;  // of the parameter in the flat array, in elements
    uint32_t number = 0;  // of a packed parameter
    size_t value_at = 0, grad_at = 0, saved_at = 0, scratch_at = 0, back_scratch_at = 0, prepared_at = 0;
    size_t saved = 0, scratch = 0, back_scratch = 0, prepared = 0;
    int first_reader = -1;
    int over = -1;    // the node whose place the value takes
    size_t life = 0;  // of the value, before place() sorts them
  };
  struct Life {
    int node;
    int kind;
    size_t bytes;
    int born, dies;
    size_t at;
  };

  Var add(const Op* op, const Var* in, int n);
  void* op_memory(size_t bytes, size_t align);
  Call call(const Node& n, bool backward) const;
  int overwritten(const Call& c, const Node& node, int i) const;
  void narrow();
  void place();
  void settle(int time);
  void verify_finite(const Node& n, const Tensor& written, const char* direction) const;

  Context context_;
  std::vector<Node> nodes_;
  std::vector<Life> lives_;
  std::vector<int> order_;
  std::vector<unsigned char> born_;
  struct Chunk {
    unsigned char* data;
    size_t size;
  };
  std::vector<Chunk> chunks_;  // op objects
  size_t chunk_ = 0, chunk_used_ = 0;
  size_t arena_bytes_ = 0;
  char* arena_ = nullptr;
  const char* layer_ = "";
  bool training_ = false, check_finite_ = false, scorch_ = false;
  Watch watch_ = nullptr;
  void* watch_state_ = nullptr;
  Tamper tamper_ = nullptr;
  void* tamper_state_ = nullptr;
};

inline Shape Var::shape() const { return tape ? tape->value(*this).shape : Shape{}; }
inline DType Var::type() const { return tape->value(*this).type; }

}  // namespace stflow
