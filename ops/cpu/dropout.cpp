#include "ops/dropout.h"

#include "ops/cpu/dropout_mask.h"

namespace stflow {
namespace {

template <class T> void apply(const Dropout& d, const T* x, T* y, int64_t size, bool add) {
  parallel_for(size, 16384, [=](int64_t begin, int64_t end) {
    constexpr int64_t kBlock = 1024;
    T mask[kBlock];
    for (int64_t at = begin; at < end; at += kBlock) {
      const int64_t n = end - at < kBlock ? end - at : kBlock;
      dropout_mask(d, at, n, mask);
      lanes_of(n, [&](int64_t i, int l) {
        const Vec<T> v = load_n(x + at + i, l) * load_n(mask + i, l);
        store_n<T>(y + at + i, add ? v + load_n(y + at + i, l) : v, l);
      });
    }
  });
}

}  // namespace

template <> void dropout_apply(ThisIsa, const Dropout& d, Tensor x, Tensor y, bool add) {
  by_type(x.type, [&](auto zero) { apply(d, x.as<decltype(zero)>(), y.as<decltype(zero)>(), x.size(), add); });
}

}  // namespace stflow
