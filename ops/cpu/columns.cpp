#include "ops/columns.h"

#include "ops/cpu/simd.h"

namespace stflow {

template <> void copy_columns(ThisIsa, const ColumnCopy& c) {
  by_type(c.x.type, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(c.rows, row_grain(c.count), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const T* from = c.x.as<T>() + r * c.x_cols + c.x_begin;
        T* to = c.y.as<T>() + r * c.y_cols + c.y_begin;
        if (c.add) lanes_of(c.count, [&](int64_t i, int l) { store_n<T>(to + i, load_n(to + i, l) + load_n(from + i, l), l); });
        else std::memcpy(to, from, size_t(c.count) * sizeof(T));
      }
    });
  });
}

}  // namespace stflow
