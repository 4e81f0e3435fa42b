#include "ops/linear.h"

#include "ops/gemm.h"
#include "ops/gemm_int8.h"
#include "ops/gemm_strassen.h"

namespace stflow {
namespace {

/// A held weight in 8 bits: panels of words with four integers each.
bool in_int8(const Tensor& weight) { return weight.packed && weight.type == DType::i32; }

struct Linear final : Op {
  Activation activation;
  bool constant;  // the weight is a parameter: it can be packed once for all runs of an inference tape
  Linear(Activation a, bool c) : activation(a), constant(c) {}

  const char* name() const override { return "linear"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const Shape &w = in[1].shape, &b = in[2].shape;
    check(w.rank == 2 && w[1] == in[0].cols(), "linear: input {}, weight {}, expected weight (out, {})", in[0].shape.text(), w.text(),
          in[0].cols());
    check(!in[1].packed || in[0].type == DType::f32, "linear: input of {}, expected f32 for a packed weight", name_of(in[0].type));
    check(b.rank == 0 || b == Shape{w[0]}, "linear: bias {}, expected ({})", b.text(), w[0]);
    Tensor y = in[0];
    y.shape.n[y.shape.rank - 1] = w[0];
    return y;
  }
  void prepare(const Call& c) const override {
    on(c.context, [&](auto b) {
      if (rounds_bias(c)) linear_round(b, c.in[2], narrow(c.in[2], c.prepared));
      else linear_pack(b, c.in[1], c.prepared);
    });
  }
  void forward(const Call& c) const override {
    if (in_int8(c.in[1])) {
      const int64_t out = c.out.cols(), in = c.in[0].cols();
      const Epilogue<float> epilogue{c.in[2].as<const float>(), nullptr, activation, false};
      return on_cpu(c.context.isa, [&](auto b) {
        gemm_int8(b, c.in[0].as<const float>(), in, c.out.rows(), c.in[1].data, out, in, c.out.as<float>(), out, epilogue, c.scratch);
      });
    }
    const void* packed = c.in[1].packed ? c.in[1].data : c.prepared;
    if (by_strassen(c)) return strassen(c, packed);
    on(c.context, [&](auto b) {
      if (!packed) linear_pack(b, c.in[1], c.scratch);
      if (rounds_input(c)) linear_round(b, c.in[0], narrow(c.in[0], c.scratch));
      linear_forward(b, rounds_input(c) ? narrow(c.in[0], c.scratch) : c.in[0], c.in[1],
                     rounds_bias(c) ? narrow(c.in[2], c.prepared) : c.in[2], activation, packed ? packed : c.scratch, c.out, c.saved);
    });
  }
  void backward(const Call& c) const override {
    check(!c.in[1].packed, "linear: backward through a packed weight");
    on(c.context,
       [&](auto b) { linear_backward(b, c.in[0], c.in[1], activation, c.saved, c.dout, c.din[0], c.din[1], c.din[2], c.scratch); });
  }
  unsigned keep() const override { return kInputs; }
  bool reads_packed() const override { return true; }
  bool reads_half(const Call& c, int i) const override { return i == 0 && on_gpu_in_half(c); }
  bool writes_half(const Call& c) const override { return on_gpu_in_half(c); }
  size_t saved_bytes(const Call& c) const override { return activation == Activation::none ? 0 : c.out.bytes(); }
  size_t prepared_bytes(const Call& c) const override {
    if (rounds_bias(c)) return narrow(c.in[2], nullptr).bytes();
    return constant && !c.in[1].packed ? linear_packed_bytes(c.context.device, c.in[1]) : 0;
  }
  size_t scratch_bytes(const Call& c, bool backward) const override {
    if (backward) return linear_scratch_bytes(c.context.device, c.in[0], c.in[1]);
    if (c.context.device == Device::cuda) return rounds_input(c) ? narrow(c.in[0], nullptr).bytes() : 0;
    if (c.in[1].packed) return int8_scratch_bytes(c.out.rows(), c.in[0].cols());  // whether it is in 8 bits is known at bind() alone
    return constant && !c.training ? 0 : linear_packed_bytes(c.context.device, c.in[1]);
  }

 private:
  /// Inference of a weight known beforehand, on items (the tokens of an image) of many rows.
  [[nodiscard]] bool by_strassen(const Call& c) const {
    const Tensor &x = c.in[0], &w = c.in[1];
    return c.context.device == Device::cpu && !c.training && (constant || w.packed) && x.type == DType::f32 && x.shape.rank > 2 &&
           strassen_pays(group(c), c.out.cols(), x.cols());
  }
  void strassen(const Call& c, const void* packed) const {
    on_cpu(c.context.isa, [&](auto b) {
      const auto multiply = [&](auto* panels) {
        gemm_strassen(b, c.in[0].as<const float>(), groups(c), group(c), panels, c.out.cols(), c.in[0].cols(), c.out.as<float>(),
                      c.in[2].as<const float>(), activation);
      };
      if (c.in[1].type == DType::f16) multiply(static_cast<const Half*>(packed));
      else if (c.in[1].type == DType::bf16) multiply(static_cast<const Bfloat*>(packed));
      else multiply(static_cast<const float*>(packed));
    });
  }
  static int64_t group(const Call& c) { return c.in[0].shape[c.in[0].shape.rank - 2]; }
  static int64_t groups(const Call& c) { return c.in[0].rows() / group(c); }
  static bool on_gpu_in_half(const Call& c) { return c.context.device == Device::cuda && c.in[1].type == DType::bf16; }
  /// An input that another op wrote in float32 becomes bf16 in scratch.
  static bool rounds_input(const Call& c) { return on_gpu_in_half(c) && c.in[0].type == DType::f32; }
  /// The product adds a bias of its result's type, rounded once; before an activation the bias stays float32.
  [[nodiscard]] bool rounds_bias(const Call& c) const {
    return c.out.type == DType::bf16 && c.in[2].size() > 0 && activation == Activation::none;
  }
  static Tensor narrow(const Tensor& t, void* data) { return {data, t.shape, DType::bf16}; }
};

}  // namespace

size_t linear_packed_bytes(Device device, const Tensor& w) {
  return device == Device::cuda ? 0 : size_t(packed_elements(w.shape[0], w.shape[1])) * bytes_of(w.type);
}
// What scratch holds backward: the weight packed for dx, then the partial sums of dweight and dbias; on CUDA those of dbias.
size_t linear_scratch_bytes(Device device, const Tensor& x, const Tensor& w) {
  const int64_t out = w.shape[0], in = w.shape[1];
  if (device == Device::cuda) return size_t(linear_bias_pieces(x.rows()) * out) * bytes_of(w.type);
  return aligned(size_t(packed_elements(in, out)) * bytes_of(w.type)) +
         size_t(gemm_transposed_scratch(x.rows(), out, in)) * bytes_of(w.type);
}

Tensor linear_hold(const Context& context, const Tensor& weight, DType held, TensorPool& pool) {
  const Isa isa = context.isa;
  const Tensor flat{weight.data, {weight.shape[0], weight.size() / weight.shape[0]}, weight.type};
  if (held == DType::i32) {
    check(context.device == Device::cpu, "linear: a GPU computes in no integers");
    check(weight.type == DType::f32, "linear: {} cannot be held in 8 bits", name_of(weight.type));
    const Tensor panels = pool.take({int64_t(int8_packed_bytes(flat.shape[0], flat.shape[1]) / 4)}, held);
    on_cpu(isa, [&](auto b) { pack_int8(b, flat.as<const float>(), flat.shape[0], flat.shape[1], panels.data); });
    return panels;
  }
  Array rounded;
  if (held != weight.type) {
    check(weight.type == DType::f32 && is_half(held), "linear: {} cannot be held as {}", name_of(weight.type), name_of(held));
    rounded = Array(flat.shape, held);
    on_cpu(isa, [&](auto b) { linear_round(b, flat, rounded); });
  }
  const Tensor rows = held == weight.type ? flat : rounded.tensor();
  const bool on_gpu = context.device == Device::cuda;
  const Tensor panels = pool.take(on_gpu ? rows.shape : Shape{packed_elements(flat.shape[0], flat.shape[1])}, held);
  if (on_gpu) copy(context.device, panels.data, Device::cpu, rows.data, rows.bytes(), context.stream);
  else on_cpu(isa, [&](auto b) { linear_pack(b, rows, panels.data); });
  return panels;
}

Var linear(Var x, Var weight, Var bias, Activation activation) {
  return x.tape->record(Linear(activation, weight.tape->is_param(weight)), {x, weight, bias});
}

}  // namespace stflow
