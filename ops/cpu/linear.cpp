#include "ops/linear.h"

#include "engine/op.h"
#include "ops/cpu/activate.h"
#include "ops/gemm.h"

namespace stflow {
namespace {

/// dy *= activation'(pre)
template <class T> void backward_activation(const T* pre, T* dy, int64_t size, Activation activation) {
  parallel_for(size, 32768, [=](int64_t begin, int64_t end) {
    lanes_of(end - begin, [&](int64_t i, int l) {
      const Vec<T> x = load_n(pre + begin + i, l), d = activation_slope<T>(activation, x);
      store_n<T>(dy + begin + i, load_n(dy + begin + i, l) * d, l);
    });
  });
}

}  // namespace

template <> void linear_pack(ThisIsa b, Tensor weight, void* packed) {
  const auto halves = [&](auto zero) {
    using W = decltype(zero);
    pack_halves(b, weight.as<const W>(), weight.shape[0], weight.shape[1], static_cast<W*>(packed));
  };
  if (weight.type == DType::f16) return halves(Half{});
  if (weight.type == DType::bf16) return halves(Bfloat{});
  by_type(weight.type, [&](auto zero) {
    using T = decltype(zero);
    pack_weights(b, weight.as<const T>(), weight.shape[1], false, weight.shape[0], weight.shape[1], static_cast<T*>(packed));
  });
}

template <> void linear_round(ThisIsa, Tensor from, Tensor to) {
  parallel_for(from.size(), 1 << 16, [&](int64_t begin, int64_t end) {
    const auto* x = from.as<const float>();
    auto* y = to.as<uint16_t>();
    for (int64_t i = begin; i < end; i++) y[i] = to.type == DType::f16 ? float_to_half(x[i]) : float_to_bfloat(x[i]);
  });
}

template <>
void linear_forward(ThisIsa b, Tensor x, Tensor weight, Tensor bias, Activation activation, const void* packed, Tensor y, void* pre) {
  const auto halves = [&](auto zero) {
    gemm_halves(b, x.as<const float>(), x.cols(), y.rows(), static_cast<const decltype(zero)*>(packed), y.cols(), x.cols(), y.as<float>(),
                y.cols(), Epilogue<float>{bias.as<const float>(), static_cast<float*>(pre), activation, false});
  };
  if (weight.type == DType::f16) return halves(Half{});
  if (weight.type == DType::bf16) return halves(Bfloat{});
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const Epilogue<T> epilogue{bias.as<const T>(), static_cast<T*>(pre), activation, false};
    gemm(b, x.as<const T>(), x.cols(), y.rows(), static_cast<const T*>(packed), y.cols(), x.cols(), y.as<T>(), y.cols(), epilogue);
  });
}

template <>
void linear_backward(ThisIsa b, Tensor x, Tensor weight, Activation activation, const void* pre, Tensor dy, Tensor dx, Tensor dweight,
                     Tensor dbias, void* scratch) {
  by_type(x.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t rows = dy.rows(), out = dy.cols(), in = x.cols();
    if (activation != Activation::none) backward_activation<T>(static_cast<const T*>(pre), dy.as<T>(), dy.size(), activation);
    T* packed = static_cast<T*>(scratch);
    T* partial = reinterpret_cast<T*>(static_cast<char*>(scratch) + aligned(size_t(packed_elements(in, out)) * sizeof(T)));
    if (dx.data) {
      pack_weights(b, weight.as<const T>(), in, true, in, out, packed);
      gemm(b, dy.as<const T>(), out, rows, packed, in, out, dx.as<T>(), in, Epilogue<T>{nullptr, nullptr, Activation::none, true});
    }
    if (dweight.data || dbias.data)
      gemm_transposed(b, dy.as<const T>(), out, x.as<const T>(), in, rows, out, in, dweight.as<T>(), in, dbias.as<T>(), partial);
  });
}

}  // namespace stflow
