// Panels of sixteen-bit floating point as float32, exactly.
#pragma once
#include "ops/cpu/gemm_tile.h"
#include "ops/gemm.h"

namespace stflow {
namespace {

/// Registers of sixteen bits and of thirty-two that hold equally many numbers.
constexpr int kWide = kRegister / 4;
typedef uint16_t Narrow __attribute__((vector_size(kWide * 2)));

STFLOW_INLINE Reg<float> widened(Half, Narrow h) {
#if defined(__AVX512F__)
  return (Reg<float>)_mm512_cvtph_ps((__m256i)h);
#elif defined(__F16C__)
  return (Reg<float>)_mm256_cvtph_ps((__m128i)h);
#else
  const auto bits = __builtin_convertvector(h, Reg<uint32_t>);
  const Reg<uint32_t> sign = (bits & 0x8000u) << 16, rest = (bits & 0x7fffu) << 13;
  const Reg<float> scaled = (Reg<float>)rest * 0x1p112f;  // moves the exponent's bias, and makes normal what was below it
  const Reg<uint32_t> special = rest | 0x7f800000u;       // infinity and NaN have the largest exponent in both
  return (Reg<float>)((rest >= 0x0f800000u ? special : (Reg<uint32_t>)scaled) | sign);
#endif
}
STFLOW_INLINE Reg<float> widened(Bfloat, Narrow b) { return (Reg<float>)(__builtin_convertvector(b, Reg<uint32_t>) << 16); }

/// A register of the numbers at p.
template <class W> STFLOW_INLINE Reg<float> take(const W* p) {
  if constexpr (std::is_same_v<W, float>) {
    Reg<float> x;
    std::memcpy(&x, p, sizeof x);
    return x;
  } else {
    Narrow bits;
    std::memcpy(&bits, p, sizeof bits);
    return widened(W{}, bits);
  }
}

/// to[i] = from[i] for i < n, a multiple of a register.
template <class W> STFLOW_INLINE void expand(const W* from, int64_t n, float* to) {
  for (int64_t i = 0; i < n; i += kWide) {
    const Reg<float> x = take(from + i);
    std::memcpy(to + i, &x, sizeof x);
  }
}

/// Panels that hold n columns.
template <class T> constexpr int64_t panels_of(int64_t n) {
  constexpr int64_t wide = kPanel<T>;
  return (n + wide - 1) / wide;
}

/// Panels as tiles read them. Numbers T are read where they lie; a block of 16-bit ones becomes T first, while the block that comes
/// next is asked for a few lines at a time.
template <class T, class W> struct Panels {
  const W* packed;
  int64_t n, k;
  T* room;             // of a block
  const T* block;      // the first panel's rows [p, p + depth)
  int64_t apart;       // columns times this is how far a panel is from the first
  const W* coming;     // the first panel of the next block
  int64_t lines, all;  // cache lines of one of its panels, and of those not yet asked for
  int64_t at;

  STFLOW_INLINE void take(int64_t p, int64_t depth, int64_t j0, int64_t j1) {
    const W* stored = packed + j0 * k + p * kPanel<T>;
    if constexpr (std::is_same_v<T, W>) {
      block = stored, apart = k;
    } else {
      for (int64_t j = 0; j < j1 - j0; j += kPanel<T>) expand(stored + j * k, depth * kPanel<T>, room + j * depth);
      block = room, apart = depth;
      const bool same_rows = j1 < n;  // the next block is of more columns; else of the next rows of all
      const int64_t rows = same_rows ? depth : k - p - depth < depth ? k - p - depth : depth;
      const int64_t left = panels_of<T>(same_rows ? n - j1 : n), most = panels_of<T>(j1 - j0);
      coming = packed + (same_rows ? j1 * k + p * kPanel<T> : (p + depth) * kPanel<T>);
      lines = rows * kPanel<T> / 32, all = lines * (left < most ? left : most), at = 0;
    }
  }
  STFLOW_INLINE void ask(int64_t tiles) {
    if constexpr (!std::is_same_v<T, W>)
      for (int64_t end = at + all / tiles + 1; at < end && at < all; at++)
        __builtin_prefetch(coming + at / lines * k * kPanel<T> + at % lines * 32, 0, 2);
  }
};

}  // namespace
}  // namespace stflow
