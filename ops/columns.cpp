#include "ops/columns.h"

namespace stflow {
namespace {

struct Columns final : Op {
  int64_t begin, count;
  Shape shape;
  Columns(int64_t b, int64_t c, Shape s) : begin(b), count(c), shape(s) {}

  const char* name() const override { return "columns"; }
  Tensor infer(std::span<const Tensor> in) const override {
    check(begin >= 0 && count >= 0 && begin + count <= in[0].cols(), "columns: {} to {} of {}, expected them inside", begin, begin + count,
          in[0].shape.text());
    check(in[0].rows() * count == shape.size(), "columns: result {}, expected {} elements", shape.text(), in[0].rows() * count);
    return {nullptr, shape, in[0].type};
  }
  void forward(const Call& c) const override {
    const ColumnCopy copy{c.in[0], begin, c.in[0].cols(), c.out, 0, count, c.in[0].rows(), count, false};
    on(c.context, [&](auto b) { copy_columns(b, copy); });
  }
  void backward(const Call& c) const override {
    const ColumnCopy copy{c.dout, 0, count, c.din[0], begin, c.in[0].cols(), c.in[0].rows(), count, true};
    if (c.din[0].data) on(c.context, [&](auto b) { copy_columns(b, copy); });
  }
  unsigned keep() const override { return kNothing; }
};

struct Concat final : Op {
  const char* name() const override { return "concat"; }
  Tensor infer(std::span<const Tensor> in) const override {
    Tensor y = in[0];
    int64_t& cols = y.shape.n[y.shape.rank - 1];
    cols = 0;
    for (const Tensor& x : in) {
      Shape same = in[0].shape;
      same.n[same.rank - 1] = x.cols();
      check(x.shape == same, "concat: {} and {}, expected all but the last dimension the same", in[0].shape.text(), x.shape.text());
      cols += x.cols();
    }
    return y;
  }
  void forward(const Call& c) const override { each(c, false); }
  void backward(const Call& c) const override { each(c, true); }
  unsigned keep() const override { return kNothing; }

  static void each(const Call& c, bool backward) {
    int64_t at = 0;
    for (int i = 0; i < c.inputs; i++) {
      const int64_t n = c.in[i].cols(), rows = c.out.rows();
      const ColumnCopy copy = backward ? ColumnCopy{c.dout, at, c.out.cols(), c.din[i], 0, n, rows, n, true}
                                       : ColumnCopy{c.in[i], 0, n, c.out, at, c.out.cols(), rows, n, false};
      if (!backward || c.din[i].data) on(c.context, [&](auto b) { copy_columns(b, copy); });
      at += n;
    }
  }
};

}  // namespace

Var columns(Var x, int64_t begin, int64_t count, Shape shape) { return x.tape->record(Columns(begin, count, shape), {x}); }

Var concat(std::span<const Var> x) {
  check(!x.empty(), "concat: no inputs, expected at least one");
  return x[0].tape->record(Concat(), x);
}

}  // namespace stflow
