// Dropout masks sixteen Philox draws at a time; the same bits as RandomKey::draw one by one (ops/dropout.h says which).
#pragma once
#include "ops/cpu/simd.h"
#include "ops/dropout.h"

namespace stflow {
namespace {

typedef uint32_t VecU __attribute__((vector_size(kLanes * 4)));

/// a * m as 64-bit products, split into high and low words.
STFLOW_INLINE void multiply_wide(VecU a, uint32_t m, VecU& high, VecU& low) {
#if defined(__AVX512F__)
  const __m512i x = (__m512i)a, c = _mm512_set1_epi32(int(m));
  const __m512i even = _mm512_mul_epu32(x, c), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), c);
  low = (VecU)_mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
  high = (VecU)_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
#elif defined(__AVX2__)
  union Halves { VecU v; __m256i h[2]; } x{a}, lo, hi;
  const __m256i c = _mm256_set1_epi32(int(m));
  for (int i = 0; i < 2; i++) {
    const __m256i even = _mm256_mul_epu32(x.h[i], c), odd = _mm256_mul_epu32(_mm256_srli_epi64(x.h[i], 32), c);
    lo.h[i] = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
    hi.h[i] = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
  }
  low = lo.v, high = hi.v;
#else
  for (int i = 0; i < kLanes; i++) {
    const uint64_t product = uint64_t(a[i]) * m;
    high[i] = uint32_t(product >> 32), low[i] = uint32_t(product);
  }
#endif
}

/// Words of draws first .. first + 15 of d's key, in the order of the elements: 64 words in four vectors.
STFLOW_INLINE void philox_block(const Dropout& d, uint32_t first, VecU* out) {
  VecU c0 = VecU{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} + first;
  VecU c1 = d.place - VecU{}, c2 = d.key.step - VecU{}, c3 = ((d.key.stream << 24) ^ d.key.slot) - VecU{};
  uint32_t k0 = uint32_t(d.key.seed), k1 = uint32_t(d.key.seed >> 32);
  for (int round = 0; round < 10; round++) {
    VecU high_a, low_a, high_b, low_b;
    multiply_wide(c0, 0xD2511F53u, high_a, low_a);
    multiply_wide(c2, 0xCD9E8D57u, high_b, low_b);
    c0 = high_b ^ c1 ^ k0, c1 = low_b, c2 = high_a ^ c3 ^ k1, c3 = low_a;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  // 4 x 16 -> 16 x 4
  const VecU a = __builtin_shufflevector(c0, c2, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const VecU b = __builtin_shufflevector(c0, c2, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const VecU e = __builtin_shufflevector(c1, c3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const VecU f = __builtin_shufflevector(c1, c3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  out[0] = __builtin_shufflevector(a, e, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  out[1] = __builtin_shufflevector(a, e, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  out[2] = __builtin_shufflevector(b, f, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  out[3] = __builtin_shufflevector(b, f, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/// mask[i] = 0 or 1 / (1 - p) for element first + i, i < count. Fastest in multiples of 64.
template <class T> void dropout_mask(const Dropout& d, int64_t first, int64_t count, T* mask) {
  const T keep = T(1 / (1 - double(d.p)));
  const uint32_t limit = uint32_t(std::ceil(double(d.p) * 16777216.0));  // uniform01(w) >= p  <=>  w >> 8 >= limit
  VecU words[4];
  for (int64_t i = 0; i < count;) {
    const int64_t draw = (first + i) / 4, skip = (first + i) - 4 * draw;
    philox_block(d, uint32_t(draw), words);
    Vec<T> block[4];
    for (int w = 0; w < 4; w++) {
      const VecI kept = (VecI)((words[w] >> 8) >= limit);  // -1 where kept
      block[w] = __builtin_convertvector(kept, Vec<T>) * -keep;
    }
    const int64_t n = 4 * kLanes - skip < count - i ? 4 * kLanes - skip : count - i;
    if (n == 4 * kLanes) std::memcpy(mask + i, block, sizeof block);
    else std::memcpy(mask + i, reinterpret_cast<const char*>(block) + size_t(skip) * sizeof(T), size_t(n) * sizeof(T));
    i += n;
  }
}

}  // namespace
}  // namespace stflow
