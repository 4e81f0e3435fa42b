// The tile of ops/cpu/gemm_tile.h with four products of bytes where that has one multiply-add. Activations are stored with 128 added, as
// the instruction wants them unsigned, and 128 times the sum of a column's weights is taken off again.
#include "ops/gemm_int8.h"

#include "ops/cpu/activate.h"
#include "ops/cpu/gemm_tile.h"

namespace stflow {
namespace {

constexpr int64_t kColumns = kPanel<int32_t>;
using Ints = Reg<int32_t>;

constexpr int64_t quads(int64_t k) { return (k + 3) / 4; }

/// Where pack_int8() puts things.
struct Packed {
  const int8_t* panels;
  const float* scale;
  const int32_t* sum;  // of a column's integers
};
Packed packed_at(const void* p, int64_t n, int64_t k) {
  const int64_t wide = (n + 31) / 32 * 32;
  const auto* words = static_cast<const int32_t*>(p);  // four integers in each
  const void* scale = words + wide * quads(k);
  return {static_cast<const int8_t*>(p), static_cast<const float*>(scale), words + wide * quads(k) + wide};
}

/// c + the four products of each lane's bytes, a unsigned and b signed; exact on every instruction set.
struct Widening {
  static STFLOW_INLINE Ints add(Ints c, uint32_t a, Ints b) {
#if defined(__AVX2__)
    typedef int16_t Shorts __attribute__((vector_size(kRegister)));
    const Shorts even = ((Shorts)b << 8) >> 8, odd = (Shorts)b >> 8;
    const Ints a_even = int32_t(a & 0x00ff00ffu) - Ints{}, a_odd = int32_t(a >> 8 & 0x00ff00ffu) - Ints{};
#if defined(__AVX512F__)
    return c + (Ints)_mm512_madd_epi16((__m512i)a_even, (__m512i)even) + (Ints)_mm512_madd_epi16((__m512i)a_odd, (__m512i)odd);
#else
    return c + (Ints)_mm256_madd_epi16((__m256i)a_even, (__m256i)even) + (Ints)_mm256_madd_epi16((__m256i)a_odd, (__m256i)odd);
#endif
#else
    for (int i = 0; i < 4; i++) c += int32_t(a >> (8 * i) & 255u) * ((b << (24 - 8 * i)) >> 24);
    return c;
#endif
  }
};
#if defined(__AVX512F__)
/// In assembly because only some processors with AVX-512 have it: the compiler must not use it on its own.
struct Vnni {
  static STFLOW_INLINE Ints add(Ints c, uint32_t a, Ints b) {
    asm("vpdpbusd %2, %1, %0" : "+v"(c) : "v"(int32_t(a) - Ints{}), "v"(b));
    return c;
  }
};
#endif

/// R rows of the integer products with one panel, `row` bytes apart, into sums (R, kColumns).
template <class Dot, int R> void int8_tile(const uint8_t* a, int64_t row, const int8_t* panel, int64_t k4, int32_t* sums) {
  Ints c[R * 2];
  each<R * 2>([&](auto i) STFLOW_INLINE_LAMBDA { c[i] = Ints{}; });
  for (int64_t p = 0; p < k4; p++, panel += kColumns * 4, a += 4) {
    Ints b[2];
    each<2>([&](auto j) STFLOW_INLINE_LAMBDA {
      std::memcpy(&b[j], panel + j * kRegister, sizeof b[j]);
      __builtin_prefetch(panel + 16 * kColumns * 4 + j * kRegister);
    });
    each<R>([&](auto r) STFLOW_INLINE_LAMBDA {
      uint32_t four = 0;
      std::memcpy(&four, a + r * row, 4);
      each<2>([&](auto j) STFLOW_INLINE_LAMBDA { c[r * 2 + j] = Dot::add(c[r * 2 + j], four, b[j]); });
    });
  }
  each<R * 2>([&](auto i) STFLOW_INLINE_LAMBDA { std::memcpy(sums + i * (kColumns / 2), &c[i], sizeof c[i]); });
}

template <class Dot, int R = kRows>
void int8_tile_of(int rows, const uint8_t* a, int64_t row, const int8_t* panel, int64_t k4, int32_t* sums) {
  if constexpr (R > 0) {
    if (rows < R) int8_tile_of<Dot, R - 1>(rows, a, row, panel, k4, sums);
    else int8_tile<Dot, R>(a, row, panel, k4, sums);
  }
}

/// Bytes between rows of integers: an odd number of cache lines, so that the rows of a tile share no set.
constexpr int64_t row_bytes(int64_t k) { return ((quads(k) * 4 + 63) / 64 | 1) * 64; }

/// Rounds x (k) to whole multiples of the scale that is returned, 128 added, and fills the last sixteen bytes with 128. A number that is
/// not finite makes the scale NaN.
STFLOW_INLINE float quantise(const float* x, int64_t k, uint8_t* to) {
  Vec<float> most{}, poison{};
  lanes_of(k, [&](int64_t i, int l) {
    const Vec<float> v = load_n(x + i, l);
    most = max<float>(most, max<float>(v, -v)), poison = fma<float>(v, Vec<float>{}, poison);
  });
  const float scale = largest(most) / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
  lanes_of(k, [&](int64_t i, int l) {
    // Adding 1.5 * 2^23 rounds to an integer, to nearest even, which then is in the low bits.
    const Vec<float> shifted = load_n(x + i, l) * inverse + 12582912.0f;
#pragma GCC unroll 4
    for (int part = 0; part < kParts<float>; part++) {
      typedef uint8_t Bytes __attribute__((vector_size(kRegister / 4)));
      const Bytes bytes = __builtin_convertvector((Reg<uint32_t>)shifted.part[part] + (128u - 0x4b400000u), Bytes);
      std::memcpy(to + i + part * int(sizeof bytes), &bytes, sizeof bytes);
    }
  });
  return scale + sum(poison);
}

struct Product {
  const uint8_t* rows;
  const float* scales;  // of the rows
  Packed w;
  int64_t m, n, k;
  float* c;
  int64_t ldc;
  Epilogue<float> e;

  /// Rows [i, i + rows) and columns [j, j + kColumns) of C.
  template <class Dot> STFLOW_INLINE void tile(int64_t i, int count, int64_t j) const {
    alignas(64) int32_t sums[kRows * kColumns];
    int8_tile_of<Dot>(count, rows + i * row_bytes(k), row_bytes(k), w.panels + j * quads(k) * 4, quads(k), sums);
    const int64_t columns = n - j < kColumns ? n - j : kColumns;
    for (int r = 0; r < count; r++) {
      float values[kColumns];
      for (int64_t q = 0; q < kColumns; q += kColumns / 2) {
        Ints sum, of_weights;
        Reg<float> scale;
        std::memcpy(&sum, sums + r * kColumns + q, sizeof sum);
        std::memcpy(&of_weights, w.sum + j + q, sizeof sum);
        std::memcpy(&scale, w.scale + j + q, sizeof scale);
        const Reg<float> value = __builtin_convertvector(sum - of_weights * 128, Reg<float>) * (scale * scales[i + r]);
        std::memcpy(values + q, &value, sizeof value);
      }
      float* to = c + (i + r) * ldc + j;
      lanes_of(columns, [&](int64_t q, int l) {
        Vec<float> v = load_n(values + q, l);
        if (e.bias) v += load_n(e.bias + j + q, l);
        if (e.activation != Activation::none) v = activate<float>(e.activation, v);
        store_n<float>(to + q, v, l);
      });
    }
  }

  /// About 32 pieces, each all rows of some panels, or of large products some hundred rows.
  template <class Dot> void run() const {
    const int64_t panels = (n + kColumns - 1) / kColumns, blocks = (m + 447) / 448;
    const int64_t groups = blocks >= 32 ? 1 : 32 / blocks < panels ? 32 / blocks : panels;
    parallel_for(blocks * groups, 1, [&](int64_t piece, int64_t) {
      const int64_t block = piece / groups, group = piece % groups;
      const int64_t first = block * m / blocks, count = (block + 1) * m / blocks - first, strips = (count + kRows - 1) / kRows;
      for (int64_t s = 0; s < strips; s++) {
        const int64_t i = first + s * count / strips, end = first + (s + 1) * count / strips;
        for (int64_t panel = group * panels / groups; panel < (group + 1) * panels / groups; panel++)
          tile<Dot>(i, int(end - i), panel * kColumns);
      }
    });
  }
};

}  // namespace

template <> void pack_int8(ThisIsa, const float* w, int64_t n, int64_t k, void* packed) {
  const int64_t wide = (n + 31) / 32 * 32;
  const Packed to = packed_at(packed, n, k);
  auto* panels = const_cast<int8_t*>(to.panels);
  parallel_for(wide, 1 + 16384 / (k + 1), [=](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; j++) {
      float most = 0, poison = 0;
      for (int64_t p = 0; p < k && j < n; p++) {
        const float x = w[j * k + p];
        most = x > most ? x : -x > most ? -x : most, poison += x * 0;
      }
      const float scale = most / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
      int32_t sum = 0;
      for (int64_t p = 0; p < quads(k) * 4; p++) {
        float shifted = (p < k && j < n ? w[j * k + p] : 0.0f) * inverse + 12582912.0f;
        uint32_t bits = 0;
        std::memcpy(&bits, &shifted, 4);
        const auto q = int8_t(bits - 0x4b400000u);
        panels[(j / kColumns * quads(k) + p / 4) * kColumns * 4 + j % kColumns * 4 + p % 4] = q;
        sum += q;
      }
      const_cast<float*>(to.scale)[j] = scale + poison, const_cast<int32_t*>(to.sum)[j] = sum;
    }
  });
}

template <>
void gemm_int8(ThisIsa, const float* a, int64_t lda, int64_t m, const void* packed, int64_t n, int64_t k, float* c, int64_t ldc,
               const Epilogue<float>& e, void* scratch) {
  auto* rows = static_cast<uint8_t*>(scratch);
  void* behind = rows + m * row_bytes(k);
  auto* scales = static_cast<float*>(behind);
  parallel_for(m, row_grain(k), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) scales[i] = quantise(a + i * lda, k, rows + i * row_bytes(k));
  });
  const Product product{rows, scales, packed_at(packed, n, k), m, n, k, c, ldc, e};
#if defined(__AVX512F__)
  if (__builtin_cpu_supports("avx512vnni")) return product.run<Vnni>();
#endif
  product.run<Widening>();
}

}  // namespace stflow
