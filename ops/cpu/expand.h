// Sixteen-bit floating point to float32, exactly, in the order of memory.
#pragma once
#include "ops/cpu/simd.h"
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

/// to[i] = from[i] for i < n, a multiple of a register.
template <class W> STFLOW_INLINE void expand(const W* from, int64_t n, float* to) {
  for (int64_t i = 0; i < n; i += kWide) {
    Narrow bits;
    std::memcpy(&bits, from + i, sizeof bits);
    const Reg<float> x = widened(W{}, bits);
    std::memcpy(to + i, &x, sizeof x);
  }
}

}  // namespace
}  // namespace stflow
