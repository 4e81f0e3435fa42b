// The right operand of gemm_strassen(): sums of B's blocks made in the tiles that read them first, and what is asked of memory beside
// tiles.
#pragma once
#include "ops/cpu/panels.h"
#include "ops/cpu/strassen.h"

namespace stflow {
namespace {

constexpr int64_t kColumns = kPanel<float>;

/// The packed operand by blocks.
template <class W> struct RightBlocks {
  const W* packed;
  int64_t panels, k;  // panels of half the columns

  [[nodiscard]] const W* at(Block b, int64_t panel, int64_t p) const {
    return packed + ((b.right * panels + panel) * k + b.below * (k / 2) + p) * kColumns;
  }
};

/// Blocks of B that will be needed next, to be asked for line by line in the steps of a tile so that memory works while it computes:
/// those of this range that no product has read yet, then those of the next range that its first product reads.
template <class W> struct Coming {
  const W* blocks[4];
  int64_t apart, panels, depth;
  int64_t block = 0, panel = 0, run = 0;

  /// Where the next `depth` lines lie, null if there are no more.
  STFLOW_INLINE const W* next() {
    constexpr int64_t kLine = 64 / int64_t(sizeof(W)), kRuns = kColumns < kLine ? 1 : kColumns / kLine;
    if (block == 4) return nullptr;
    const W* at = blocks[block] + panel * apart + run * depth * kLine;
    if (++run < kRuns) return at;
    run = 0;
    if (++panel == panels) panel = 0, block++;
    return at;
  }
};

/// Reads the rows of a block of B, or of a sum of two with the second's sign, and leaves them in `room`.
template <class W, bool Two> struct Sums {
  const W *one, *two;
  Reg<uint32_t> sign;
  float* room;

  template <size_t N> STFLOW_INLINE void operator()(Reg<float> (&b)[N]) {
    each<N>([&](auto j) STFLOW_INLINE_LAMBDA {
      b[j] = take(one + j * kWidth<float>);
      if constexpr (Two) b[j] = add_signed(b[j], take(two + j * kWidth<float>), sign);
      std::memcpy(room + j * kWidth<float>, &b[j], sizeof b[j]);
      __builtin_prefetch(one + 12 * kColumns + j * kWidth<float>);
      if constexpr (Two) __builtin_prefetch(two + 12 * kColumns + j * kWidth<float>);
    });
    one += kColumns, two += kColumns, room += kColumns;
  }
  STFLOW_INLINE void skip(int64_t gap) { one += gap, two += gap; }
};

/// Cache lines to ask for, one in a step of a tile: every `stride` bytes, and from `end` on `back` bytes before.
struct Ahead {
  const char *line, *end;
  int64_t stride, back;

  STFLOW_INLINE void step() {
    __builtin_prefetch(line, 0, 2);
    line += stride;
    line -= line < end ? 0 : back;
  }
};
/// The lines of a strip's rows, down them and then along them.
Ahead lines_of(const float* row, int64_t rows, int64_t k) {
  const auto* line = reinterpret_cast<const char*>(row);
  const int64_t apart = k * int64_t(sizeof(float));
  return {line, line + rows * apart, apart, rows * apart - 64};
}
/// Lines that follow one another, or always the first.
Ahead lines_from(const void* p, bool one) {
  const auto* line = static_cast<const char*>(p);
  return {line, line + (int64_t{1} << 30), one ? 0 : 64, 0};
}

}  // namespace
}  // namespace stflow
