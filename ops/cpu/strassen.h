// Strassen's seven products, and how the operands of gemm_strassen() are cut for them.
#pragma once
#include "ops/cpu/gemm_tile.h"

namespace stflow {
namespace {

/// A block of a matrix cut in half both ways, with its sign; a sign of 0 stands for none.
struct Block {
  int below, right;
  float sign;
};
constexpr Block kNone{0, 0, 0}, k11{0, 0, 1}, k12{0, 1, 1}, k21{1, 0, 1}, k22{1, 1, 1};
constexpr Block operator-(Block b) { return {b.below, b.right, -b.sign}; }

/// The product of a sum of blocks of A and one of blocks of B, and the blocks of C that it is added to.
struct Product {
  Block a[2], b[2], c[2];
  bool first[2], last[2];  // the block of C has received nothing before, will receive nothing more
};
/// In an order, and with signs, in which the first two read one block of B each: where a product begins, B's numbers come from far, and a
/// tile that waits for two blocks takes twice as long. Those two are also the first for all blocks of C.
constexpr Product kProducts[7] = {
    {{k21, k22}, {k11, kNone}, {k21, k22}, {true, true}, {}},
    {{k11, k12}, {k22, kNone}, {k11, k12}, {true, true}, {}},
    {{k11, k22}, {k11, -k22}, {k11, -k22}, {}, {}},
    {{k11, kNone}, {k12, -k22}, {k12, k22}, {}, {true, false}},
    {{k21, -k11}, {k11, -k12}, {-k22, kNone}, {}, {true, false}},
    {{k22, kNone}, {k21, -k11}, {k11, k21}, {}, {false, true}},
    {{k12, -k22}, {k21, -k22}, {k11, kNone}, {}, {true, false}},
};

/// How the operands are cut: A's rows into strips of at most kRows of a group's upper half, the half of k into ranges of at most kDepth.
struct Cut {
  int64_t groups, rows, upper, strips_of_group, strips, half_k, ranges;

  Cut(int64_t groups_, int64_t rows_, int64_t k)
      : groups(groups_),
        rows(rows_),
        upper((rows + 1) / 2),
        strips_of_group((upper + kRows - 1) / kRows),
        strips(groups * strips_of_group),
        half_k(k / 2),
        ranges((half_k + kDepth - 1) / kDepth) {}

  struct Strip {
    int64_t group, begin, rows;
  };
  [[nodiscard]] Strip strip(int64_t s) const {
    const int64_t i = s % strips_of_group, begin = i * upper / strips_of_group;
    return {s / strips_of_group, begin, (i + 1) * upper / strips_of_group - begin};
  }
  struct Range {
    int64_t begin, depth;
  };
  [[nodiscard]] Range range(int64_t r) const {
    const int64_t begin = r * half_k / ranges;
    return {begin, (r + 1) * half_k / ranges - begin};
  }
  /// The row of A or C where a strip of a block begins.
  [[nodiscard]] int64_t row(Block b, Strip s) const { return s.group * rows + s.begin + b.below * upper; }
};

/// x + y, or x - y with the sign bits of a negative number: a product with the sign would take the place of another in the tile.
STFLOW_INLINE Reg<float> add_signed(Reg<float> x, Reg<float> y, Reg<uint32_t> sign) { return x + (Reg<float>)((Reg<uint32_t>)y ^ sign); }
Reg<uint32_t> sign_bits(float sign) { return (sign < 0 ? 0x80000000u : 0u) - Reg<uint32_t>{}; }

}  // namespace
}  // namespace stflow
