// The left operand of gemm_strassen(): sums of A's blocks, laid into strips while the tiles before them are computed.
#pragma once
#include "ops/cpu/panels.h"
#include "ops/cpu/strassen.h"

namespace stflow {
namespace {

/// The left operand (groups, rows, k) by blocks.
struct LeftBlocks {
  const float* data;
  int64_t k;

  [[nodiscard]] const float* at(const Cut& cut, Block b, Cut::Strip strip, int64_t p) const {
    return data + cut.row(b, strip) * k + b.right * (k / 2) + p;
  }
};

alignas(64) constexpr float kZeros[kDepth] = {};

/// Lays a sum of two blocks of A, or one block, for a strip and a range of k: a register in each step of a tile that is computed at the
/// time, and the rest at the end. A row missing below an odd number of them counts as zero.
class Laying {
 public:
  Laying() = default;
  Laying(const Cut& cut, LeftBlocks a, const Block (&terms)[2], Cut::Strip strip, Cut::Range range, float* to)
      : one_(a.at(cut, terms[0], strip, range.begin)),
        two_(terms[1].sign == 0 ? kZeros : a.at(cut, terms[1], strip, range.begin)),
        to_(to),
        sign_(sign_bits(terms[1].sign)),
        one_row_(a.k),
        two_row_(terms[1].sign == 0 ? 0 : a.k),
        whole_(range.depth / kWidth<float> * kWidth<float>) {
    const bool odd = strip.begin + strip.rows + cut.upper > cut.rows;
    left_ = strip.rows - odd;
    for (int64_t r = 0; r < left_; r++) add(one_ + r * one_row_, two_ + r * two_row_, whole_, range.depth, to + r * kStrip);
    if (odd)
      add(terms[0].below ? kZeros : one_ + left_ * one_row_, terms[1].below ? kZeros : two_ + left_ * two_row_, 0, range.depth,
          to + left_ * kStrip);
  }

  STFLOW_INLINE void step() {
    if (left_ == 0) return;
    const Reg<float> sum = add_signed(take(one_ + at_), take(two_ + at_), sign_);
    std::memcpy(to_ + at_, &sum, sizeof sum);
    at_ += kWidth<float>;
    if (at_ == whole_) at_ = 0, left_--, one_ += one_row_, two_ += two_row_, to_ += kStrip;
  }
  void finish() {
    while (left_ > 0) step();
  }

 private:
  void add(const float* one, const float* two, int64_t from, int64_t depth, float* to) const {
    for (int64_t q = from; q < depth; q++) to[q] = one[q] + (sign_[0] ? -two[q] : two[q]);
  }

  const float *one_ = nullptr, *two_ = nullptr;  // rows of the blocks
  float* to_ = nullptr;
  Reg<uint32_t> sign_{};
  int64_t one_row_ = 0, two_row_ = 0, whole_ = 0;  // from row to row; numbers of a row in whole registers
  int64_t left_ = 0, at_ = 0;                      // rows to be laid, and numbers of the first that are
};

}  // namespace
}  // namespace stflow
