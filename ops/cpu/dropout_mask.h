// Dropout masks a register of Philox draws at a time; the same bits as RandomKey::draw one by one (ops/dropout.h says which).
#pragma once
#include "ops/cpu/simd.h"
#include "ops/dropout.h"

namespace stflow {
namespace {
namespace on_register {

using Words = Reg<uint32_t>;
using Pairs = Reg<uint64_t>;
using Halves = Reg<uint16_t>;
typedef int16_t HalfRegister __attribute__((vector_size(kRegister / 2)));
constexpr int kDraws = kRegister / 4;              // made at once
constexpr int kDrawn = Dropout::kHalves * kDraws;  // elements that they decide

STFLOW_INLINE Words all(uint32_t x) { return x - Words{}; }

/// The 64-bit products of the even words of a with m.
STFLOW_INLINE Pairs multiply_even(Pairs a, uint32_t m) {
#if defined(__AVX512F__)
  return (Pairs)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi32(int(m)));
#elif defined(__AVX2__)
  return (Pairs)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi32(int(m)));
#elif defined(__SSE2__)
  return (Pairs)_mm_mul_epu32((__m128i)a, _mm_set1_epi32(int(m)));
#else
  return (a & 0xffffffffu) * m;
#endif
}

/// a * m as 64-bit products, split into high and low words.
STFLOW_INLINE void multiply_wide(Words a, uint32_t m, Words& high, Words& low) {
  const Pairs even = multiply_even((Pairs)a, m), odd = multiply_even((Pairs)a >> 32, m);
  constexpr uint64_t upper = 0xffffffff00000000u;
  low = (Words)((even & ~upper) | (odd << 32));
  high = (Words)((even >> 32) | (odd & upper));
}

/// In each lane of four words: words A, B, C, D of x's lane (0 to 3) and y's (4 to 7).
template <int A, int B, int C, int D> STFLOW_INLINE Words shuffle(Words x, Words y) {
  constexpr auto at = [](int lane, int word) { return 4 * lane + word % 4 + (word < 4 ? 0 : kDraws); };
#if defined(__AVX512F__)
  return __builtin_shufflevector(x, y, at(0, A), at(0, B), at(0, C), at(0, D), at(1, A), at(1, B), at(1, C), at(1, D), at(2, A), at(2, B),
                                 at(2, C), at(2, D), at(3, A), at(3, B), at(3, C), at(3, D));
#elif defined(__AVX2__)
  return __builtin_shufflevector(x, y, at(0, A), at(0, B), at(0, C), at(0, D), at(1, A), at(1, B), at(1, C), at(1, D));
#else
  return __builtin_shufflevector(x, y, at(0, A), at(0, B), at(0, C), at(0, D));
#endif
}

/// The words of draws first .. first + kDraws - 1 of d's key, in the order of the elements.
STFLOW_INLINE void philox_words(const Dropout& d, uint32_t first, Words (&out)[4]) {
  // Register r of the result holds, in lane j, draw r kDraws / 4 + j: draws start where a transpose of each lane puts them.
  Words c0{};
#pragma GCC unroll 16
  for (int i = 0; i < kDraws; i++) c0[i] = uint32_t(i % 4 * kDraws / 4 + i / 4);
  c0 += first;
  Words c1 = all(d.place), c2 = all(d.key.step), c3 = all((d.key.stream << 24) ^ d.key.slot);
  uint32_t k0 = uint32_t(d.key.seed), k1 = uint32_t(d.key.seed >> 32);
#pragma GCC unroll 7
  for (int round = 0; round < Dropout::kRounds; round++) {
    Words high_a, low_a, high_b, low_b;
    multiply_wide(c0, 0xD2511F53u, high_a, low_a);
    multiply_wide(c2, 0xCD9E8D57u, high_b, low_b);
    c0 = high_b ^ c1 ^ k0, c1 = low_b, c2 = high_a ^ c3 ^ k1, c3 = low_a;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  const Words a = shuffle<0, 4, 1, 5>(c0, c1), b = shuffle<0, 4, 1, 5>(c2, c3);
  const Words e = shuffle<2, 6, 3, 7>(c0, c1), f = shuffle<2, 6, 3, 7>(c2, c3);
  out[0] = shuffle<0, 1, 4, 5>(a, b), out[1] = shuffle<2, 3, 6, 7>(a, b);
  out[2] = shuffle<0, 1, 4, 5>(e, f), out[3] = shuffle<2, 3, 6, 7>(e, f);
}

/// kDrawn elements of the mask, from draw `first` on.
STFLOW_INLINE void mask_block(const Dropout& d, uint32_t first, uint16_t dropped, float keep, float* mask) {
  Words words[4];
  philox_words(d, first, words);
  const Words scale = (Words)(keep - Reg<float>{});
#pragma GCC unroll 4
  for (int r = 0; r < 4; r++) {
    const auto kept = (Halves)words[r] >= dropped;  // all ones where kept, and so when widened
    HalfRegister half[2];
    std::memcpy(half, &kept, sizeof kept);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
      const Words m = (Words) __builtin_convertvector(half[i], Reg<int32_t>) & scale;
      std::memcpy(mask + (2 * r + i) * kDraws, &m, sizeof m);
    }
  }
}

}  // namespace on_register

/// mask[i] = 0 or d.scale() for element first + i, i < count.
template <class T> void dropout_mask(const Dropout& d, int64_t first, int64_t count, T* mask) {
  constexpr int64_t kBlock = on_register::kDrawn, kHalves = Dropout::kHalves;
  const T keep = T(d.scale());
  const uint16_t dropped = uint16_t(d.dropped());
  int64_t draw = first / kHalves, skip = first % kHalves;  // the block's first `skip` elements come before
  for (int64_t i = 0; i < count; draw += kBlock / kHalves) {
    const int64_t n = kBlock - skip < count - i ? kBlock - skip : count - i;
    if constexpr (sizeof(T) == 4) {
      if (n == kBlock) {
        on_register::mask_block(d, uint32_t(draw), dropped, keep, mask + i);
        i += n;
        continue;
      }
    }
    alignas(64) float block[kBlock];
    on_register::mask_block(d, uint32_t(draw), dropped, float(keep), block);
    for (int64_t j = 0; j < n; j++) mask[i + j] = block[skip + j] != 0 ? keep : T(0);
    i += n, skip = 0;
  }
}

}  // namespace
}  // namespace stflow
