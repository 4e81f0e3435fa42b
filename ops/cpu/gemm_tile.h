// The innermost part of a product: a tile of rows times one panel of columns, kept in registers while k runs.
#pragma once
#include <utility>

#include "ops/cpu/simd.h"

namespace stflow {
namespace {

#if defined(__AVX512F__)
constexpr int kRows = 14;  // 28 of 32 registers hold the tile
#else
constexpr int kRows = 6;  // 12 of 16
#endif

template <class T> constexpr int kWidth = kRegister / int(sizeof(T));
template <class T> constexpr int kPanel = 2 * kWidth<T>;

constexpr int64_t kDepth = 512;          // rows of a panel that are used at a time
constexpr int64_t kStrip = kDepth + 16;  // between rows of a strip: an odd number of cache lines, so that they share no set

/// The left operand of a tile: element (i, p) at data[i * row + p * column]. One of the strides is 1.
template <class T> struct Left {
  const T* data;
  int64_t row, column;
};
/// Where a tile goes: rows ld apart, `columns` <= kPanel of them.
template <class T> struct Target {
  T* data;
  int64_t ld;
  int columns;
  bool add;
  const T* bias;
};

template <class T> STFLOW_INLINE void finish(Reg<T> v, T* c, const T* bias, bool add, int lanes) {
  if (lanes >= kWidth<T>) {
    Reg<T> x;
    if (add) std::memcpy(&x, c, sizeof x), v += x;
    if (bias) std::memcpy(&x, bias, sizeof x), v += x;
    std::memcpy(c, &v, sizeof v);
  } else {
    for (int i = 0; i < lanes; i++) c[i] = v[i] + (add ? c[i] : T(0)) + (bias ? bias[i] : T(0));
  }
}

/// f(0), ..., f(N - 1) with constants: the tile below lives in registers only if no index of it is a variable, and g++ 12
/// unrolls a loop too late to see that (it then stores every accumulator in every step).
template <class F, int... I> STFLOW_INLINE void each(std::integer_sequence<int, I...>, F f) { (f(std::integral_constant<int, I>{}), ...); }
template <int N, class F> STFLOW_INLINE void each(F f) { each(std::make_integer_sequence<int, N>{}, f); }

/// write(c) for the R x N registers c of the product of R rows and k rows of a panel; read(b) gives the panel's next row. A row-major
/// left operand lies in a strip (row = kStrip).
template <class T, int R, int N, bool RowMajor, class Read, class Write>
STFLOW_INLINE void tile(Left<T> a, int64_t k, Read read, Write write) {
  Reg<T> c[R * N];
  each<R * N>([&](auto i) STFLOW_INLINE_LAMBDA { c[i] = Reg<T>{}; });
  const T* x = a.data;
  const int64_t row = RowMajor ? kStrip : 1, column = RowMajor ? 1 : a.column;
  for (int64_t p = 0; p < k; p++, x += column) {
    Reg<T> b[N];
    read(b);
    each<R>([&](auto r) STFLOW_INLINE_LAMBDA {
      const Reg<T> s = x[r * row] - Reg<T>{};
      each<N>([&](auto j) STFLOW_INLINE_LAMBDA { c[r * N + j] = multiply_add<T>(s, b[j], c[r * N + j]); });
    });
  }
  write(c);
}

/// Reads the rows of a panel one by one, and asks for those that come later.
template <class T> struct Rows {
  const T* at;

  template <size_t N> STFLOW_INLINE void operator()(Reg<T> (&b)[N]) {
    each<N>([&](auto j) STFLOW_INLINE_LAMBDA {
      std::memcpy(&b[j], at + j * kWidth<T>, sizeof b[j]);
      __builtin_prefetch(at + 12 * kPanel<T> + j * kWidth<T>);
    });
    at += kPanel<T>;
  }
  STFLOW_INLINE void skip(int64_t gap) { at += gap; }
};

/// A tile into its place.
template <class T, int R, int N, bool RowMajor> void tile(Left<T> a, const T* panel, int64_t k, Target<T> to) {
  tile<T, R, N, RowMajor>(a, k, Rows<T>{panel}, [&](auto& c) STFLOW_INLINE_LAMBDA {
    each<R * N>([&](auto i) STFLOW_INLINE_LAMBDA {
      const int64_t r = i / N, at = i % N * kWidth<T>;
      finish<T>(c[i], to.data + r * to.ld + at, to.bias ? to.bias + at : nullptr, to.add, to.columns - int(at));
    });
  });
}

template <class T, bool RowMajor, int R = kRows> void tile_of(int rows, Left<T> a, const T* panel, int64_t k, Target<T> to) {
  if constexpr (R > 0) {
    if (rows < R) tile_of<T, RowMajor, R - 1>(rows, a, panel, k, to);
    else if (to.columns > kWidth<T>) tile<T, R, 2, RowMajor>(a, panel, k, to);
    else tile<T, R, 1, RowMajor>(a, panel, k, to);
  }
}

}  // namespace
}  // namespace stflow
