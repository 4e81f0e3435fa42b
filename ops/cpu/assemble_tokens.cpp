#include "ops/assemble_tokens.h"

#include "ops/cpu/simd.h"

namespace stflow {
namespace {

/// y = a + b, or a copy of a when b is null.
template <class T> STFLOW_INLINE void add_rows(const T* a, const T* b, T* y, int64_t n) {
  lanes_of(n, [&](int64_t i, int l) { store_n<T>(y + i, b ? load_n(a + i, l) + load_n(b + i, l) : load_n(a + i, l), l); });
}

}  // namespace

template <>
void assemble_tokens_forward(ThisIsa, Tensor patches, Tensor cls, Tensor registers, Tensor position, Tensor cells, int64_t grid, Tensor y) {
  by_type(y.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t tokens = y.shape[1], n = patches.shape[1], d = y.shape[2], prefix = tokens - n, placed = position.shape[1] - grid;
    const int64_t first_register = cls.data ? 1 : 0;
    const int32_t* cell = cells.as<int32_t>();
    parallel_for(y.rows(), row_grain(d), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const int64_t b = row / tokens, t = row % tokens, i = b * n + t - prefix;
        const T *x = nullptr, *p = nullptr;
        if (t < prefix) {
          x = t < first_register ? cls.as<T>() : registers.as<T>() + (t - first_register) * d;
          p = t < placed ? position.as<T>() + t * d : nullptr;
        } else {
          x = patches.as<T>() + i * d;
          p = position.as<T>() + (placed + (cell ? cell[i] : t - prefix)) * d;
        }
        add_rows(x, p, y.as<T>() + row * d, d);
      }
    });
  });
}

template <>
void assemble_tokens_backward(ThisIsa, Tensor dy, Tensor cells, int64_t grid, Tensor dpatches, Tensor dcls, Tensor dregisters,
                              Tensor dposition) {
  by_type(dy.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t images = dy.shape[0], tokens = dy.shape[1], d = dy.shape[2],
                  n = dpatches.data ? dpatches.shape[1]
                      : cells.data  ? cells.shape[1]
                                    : grid;
    const int64_t prefix = tokens - n, placed = dposition.data ? dposition.shape[1] - grid : 0;
    const int64_t first_register = prefix - (dregisters.data ? dregisters.shape[1] : prefix > 1 ? prefix - 1 : 0);
    const int32_t* cell = cells.as<int32_t>();
    constexpr int64_t kColumns = 4 * kLanes;  // a thread owns some columns: every sum has one owner and one order
    parallel_for(d, kColumns, [&](int64_t begin, int64_t end) {
      for (int64_t row = 0; row < images * tokens; row++) {
        const int64_t b = row / tokens, t = row % tokens, i = b * n + t - prefix;
        const T* g = dy.as<T>() + row * d;
        T *x = nullptr, *p = nullptr;
        if (t < prefix) {
          if (t < first_register) x = dcls.as<T>();
          else if (dregisters.data) x = dregisters.as<T>() + (t - first_register) * d;
          if (dposition.data && t < placed) p = dposition.as<T>() + t * d;
        } else {
          if (dpatches.data) x = dpatches.as<T>() + i * d;
          if (dposition.data) p = dposition.as<T>() + (placed + (cell ? cell[i] : t - prefix)) * d;
        }
        if (x) add_rows<T>(x + begin, g + begin, x + begin, end - begin);
        if (p) add_rows<T>(p + begin, g + begin, p + begin, end - begin);
      }
    });
  });
}

}  // namespace stflow
