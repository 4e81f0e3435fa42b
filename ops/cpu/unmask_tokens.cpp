#include "ops/unmask_tokens.h"

#include "ops/cpu/simd.h"

namespace stflow {

template <> void unmask_tokens_forward(ThisIsa, Tensor x, Tensor mask, Tensor position, Tensor order, Tensor y) {
  by_type(y.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t tokens = y.shape[1], d = y.shape[2], inner = x.shape[1];
    parallel_for(y.rows(), row_grain(d), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const int64_t b = row / tokens, i = row % tokens;  // token i of the decoder's input, in x's order
        const T* from = i < inner ? x.as<T>() + (b * inner + i) * d : mask.as<T>();
        if (i == 0) {
          std::memcpy(y.as<T>() + row * d, from, size_t(d) * sizeof(T));
          continue;
        }
        const int64_t cell = order.as<int32_t>()[b * (tokens - 1) + i - 1];
        const T* place = position.as<T>() + cell * d;
        T* to = y.as<T>() + (b * tokens + 1 + cell) * d;
        lanes_of(d, [&](int64_t c, int l) { store_n<T>(to + c, load_n(from + c, l) + load_n(place + c, l), l); });
      }
    });
  });
}

template <> void unmask_tokens_backward(ThisIsa, Tensor dy, Tensor order, int64_t visible, Tensor dx, Tensor dmask, Tensor dposition) {
  by_type(dy.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t tokens = dy.shape[1], d = dy.shape[2], inner = 1 + visible;
    constexpr int64_t kColumns = 4 * kLanes;  // a thread owns some columns: every sum has one owner and one order
    parallel_for(d, kColumns, [&](int64_t begin, int64_t end) {
      for (int64_t row = 0; row < dy.rows(); row++) {
        const int64_t b = row / tokens, i = row % tokens;
        const int64_t cell = i == 0 ? -1 : order.as<int32_t>()[b * (tokens - 1) + i - 1];
        const T* g = dy.as<T>() + (b * tokens + 1 + cell) * d;
        auto add = [&](T* to) {
          lanes_of(end - begin,
                   [&](int64_t c, int l) { store_n<T>(to + begin + c, load_n(to + begin + c, l) + load_n(g + begin + c, l), l); });
        };
        if (i < inner) {
          if (dx.data) add(dx.as<T>() + (b * inner + i) * d);
        } else if (dmask.data) {
          add(dmask.as<T>());
        }
        if (cell >= 0 && dposition.data) add(dposition.as<T>() + cell * d);
      }
    });
  });
}

}  // namespace stflow
