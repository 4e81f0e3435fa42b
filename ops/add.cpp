#include "ops/add.h"

#include "ops/reduce.h"

namespace stflow {
namespace {

struct Add final : Op {
  const char* name() const override { return "add"; }
  Tensor infer(std::span<const Tensor> in) const override {
    check(in[0].shape == in[1].shape, "add: {} and {}, expected one shape", in[0].shape.text(), in[1].shape.text());
    return in[0];
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { add_forward(b, c.in[0], c.in[1], c.out); });
  }
  void backward(const Call& c) const override {
    for (int i = 0; i < 2; i++)
      if (c.din[i].data) on(c.context, [&](auto b) { accumulate(b, c.dout, c.din[i]); });
  }
  int overwrites(const Call& c) const override { return c.context.device == Device::cpu ? 0 : -1; }
  unsigned keep() const override { return kNothing; }
  bool reads_half(const Call&, int i) const override { return i == 1; }
};

struct AddRow final : Op {
  const char* name() const override { return "add_row"; }
  Tensor infer(std::span<const Tensor> in) const override {
    check(in[1].size() == in[0].cols(), "add_row: {} and {}, expected ({})", in[0].shape.text(), in[1].shape.text(), in[0].cols());
    return in[0];
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { add_row_forward(b, c.in[0], c.in[1], c.out); });
  }
  void backward(const Call& c) const override {
    on(c.context, [&](auto b) {
      if (c.din[0].data) accumulate(b, c.dout, c.din[0]);
      if (c.din[1].data) add_row_backward(b, c.dout, c.din[1], c.scratch);
    });
  }
  unsigned keep() const override { return kNothing; }
  size_t scratch_bytes(const Call& c, bool backward) const override {
    return backward ? size_t(reduce_pieces(c.out.rows()) * c.out.cols()) * bytes_of(c.out.type) : 0;
  }
};

}  // namespace

Var add(Var x, Var y) { return x.tape->record(Add(), {x, y}); }
Var add_row(Var x, Var v) { return x.tape->record(AddRow(), {x, v}); }

}  // namespace stflow
