// One step of Strassen's algorithm (Numerische Mathematik 13, 1969): seven products of blocks instead of eight. Its additions hide as in
// Huang, Smith, Henry and van de Geijn (SC 2016): sums of A's blocks are taken where A is laid into strips, those of B's block by block in
// the cache, and a finished tile is added to each block of C that it is a part of.
#include "ops/gemm_strassen.h"

#include <algorithm>

#include "ops/cpu/activate.h"
#include "ops/cpu/gemm_tile.h"
#include "ops/cpu/panels.h"
#include "ops/cpu/strassen.h"

namespace stflow {
namespace {

static_assert(kStrassenDepth == kDepth && kStrassenRow == kStrip);
constexpr int64_t kColumns = kPanel<float>;
constexpr int64_t kGroup = 4;    // panels that a strip of A meets before the next strip: blocks of B that stay in the second cache
constexpr int64_t kStrips = 16;  // of A that meet them, and for which C is kept at hand

/// The seven sums of A's blocks for a strip and a range of k; a row missing below an odd number of them counts as zero.
void add_left(const Cut& cut, const float* a, Cut::Strip strip, int64_t r, float* sums) {
  const Cut::Range range = cut.range(r);
  float* to[7];
  each<7>([&](auto i) STFLOW_INLINE_LAMBDA { to[i] = sums + cut.sum(i, r, strip); });
  for (int64_t row = strip.begin, at = 0; row < strip.begin + strip.rows; row++, at += kStrip) {
    const float* above = a + (strip.group * cut.rows + row) * 2 * cut.half_k + range.begin;
    const float* below = above + cut.upper * 2 * cut.half_k;
    const bool missing = row + cut.upper >= cut.rows;
    lanes_of(range.depth, [&](int64_t q, int l) STFLOW_INLINE_LAMBDA {
      const Vec<float> zero{}, block[2][2] = {{load_n(above + q, l), load_n(above + cut.half_k + q, l)},
                                              {missing ? zero : load_n(below + q, l), missing ? zero : load_n(below + cut.half_k + q, l)}};
      each<7>([&](auto i) STFLOW_INLINE_LAMBDA {
        constexpr Block one = kProducts[i].a[0], two = kProducts[i].a[1];
        Vec<float> x = block[one.below][one.right];
        if constexpr (two.sign > 0) x = x + block[two.below][two.right];
        if constexpr (two.sign < 0) x = x - block[two.below][two.right];
        store_n<float>(to[i] + at + q, x, l);
      });
    });
  }
}

/// The packed operand by blocks.
template <class W> struct Right {
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
  int64_t apart, panels, depth, at = 0;

  /// Where the next `depth` lines lie, null if there are no more.
  STFLOW_INLINE const W* next() {
    constexpr int64_t kRuns = kColumns * int64_t(sizeof(W)) < 64 ? 1 : kColumns * int64_t(sizeof(W)) / 64;
    if (at == 4 * panels * kRuns) return nullptr;
    const int64_t i = at++, panel = i / kRuns;
    return blocks[panel / panels] + panel % panels * apart + i % kRuns * depth * 64 / int64_t(sizeof(W));
  }
};

/// Where the numbers of a tile go: to those of a block of C, which lie in the order of the tile.
struct Place {
  float* c;
  float sign;
  bool first;  // nothing is there yet; the sign is 1
};

/// Reads the rows of a sum of two blocks of B, or of one if `sign` is 0, and leaves them in `room`.
template <class W> struct Sums {
  const W *one, *two;
  Reg<float> sign;
  float* room;

  template <size_t N> STFLOW_INLINE void operator()(Reg<float> (&b)[N]) {
    each<N>([&](auto j) STFLOW_INLINE_LAMBDA {
      b[j] = multiply_add<float>(sign, take(two + j * kWidth<float>), take(one + j * kWidth<float>));
      std::memcpy(room + j * kWidth<float>, &b[j], sizeof b[j]);
      __builtin_prefetch(one + 12 * kColumns + j * kWidth<float>);
      __builtin_prefetch(two + 12 * kColumns + j * kWidth<float>);
    });
    one += kColumns, two += kColumns, room += kColumns;
  }
};

/// Cache lines to ask for, one in a step of a tile: every `step` bytes, and from `end` on `back` bytes before.
struct Ahead {
  const char *line, *end;
  int64_t step, back;

  STFLOW_INLINE void ask() {
    __builtin_prefetch(line, 0, 2);
    line += step;
    line -= line < end ? 0 : back;
  }
};
/// The lines of a strip, down its rows and then along them.
Ahead lines_of(const float* strip, int64_t rows) {
  const auto* line = reinterpret_cast<const char*>(strip);
  const int64_t apart = kStrip * int64_t(sizeof(float));
  return {line, line + rows * apart, apart, rows * apart - 64};
}
/// Lines that follow one another, or always the first.
Ahead lines_from(const void* p, bool one) {
  const auto* line = static_cast<const char*>(p);
  return {line, line + (int64_t{1} << 30), one ? 0 : 64, 0};
}

/// A tile of a product into its places, while the lines ahead are asked for.
template <class Read, int R = kRows>
void tile_to(int rows, const float* a, Read read, int64_t k, const Place* places, int count, Ahead ahead) {
  if constexpr (R > kRows / 2) {  // no strip is lower
    if (rows < R) return tile_to<Read, R - 1>(rows, a, read, k, places, count, ahead);
    tile<float, R, 2, true>(
        {a, kStrip, 1}, k,
        [&](auto& b) STFLOW_INLINE_LAMBDA {
          ahead.ask();
          read(b);
        },
        [&](auto r, auto j, Reg<float> x) STFLOW_INLINE_LAMBDA {
          for (int i = 0; i < count; i++) {
            float* c = places[i].c + (r * 2 + j) * kWidth<float>;
            Reg<float> sum = x;
            if (!places[i].first) {
              std::memcpy(&sum, c, sizeof sum);
              sum = multiply_add<float>(places[i].sign - Reg<float>{}, x, sum);
            }
            std::memcpy(c, &sum, sizeof sum);
          }
        });
  }
}

/// A tile of each block of C, and more of them for other panels and strips: what stays in the cache until it is finished.
using Finished = float[4][kRows * kColumns];

/// Where a product's tiles go among those of the blocks of C; `fresh` if it is the first range of k. Returns how many places these are.
int places_of(const Product& product, Finished& tiles, bool fresh, Place (&places)[2]) {
  int count = 0;
  for (; count < 2 && product.c[count].sign != 0; count++) {
    const Block& block = product.c[count];
    places[count] = {tiles[block.below * 2 + block.right], block.sign, fresh && product.first[count]};
  }
  return count;
}

/// The numbers of a strip's tiles of panel j into C, above and below, left and right, with bias and activation.
void put(const Cut& cut, Cut::Strip strip, int64_t j, const Finished& tiles, int64_t n, const float* bias, Activation activation,
         float* c) {
  for (const Block& block : {k11, k12, k21, k22}) {
    const int64_t above = strip.begin + block.below * cut.upper, column = block.right * (n / 2) + j * kColumns;
    const float* tile = tiles[block.below * 2 + block.right];
    float* to = c + (strip.group * cut.rows + above) * n + column;
    for (int64_t r = 0; r < strip.rows && above + r < cut.rows; r++, to += n, tile += kColumns)
      lanes_of(kColumns, [&](int64_t q, int l) {
        Vec<float> x = load_n(tile + q, l);
        if (bias) x = x + load_n(bias + column + q, l);
        store_n<float>(to + q, activation == Activation::none ? x : activate<float>(activation, x), l);
      });
  }
}

template <class W>
void product(const float* a, int64_t groups, int64_t rows, const W* packed, int64_t n, int64_t k, float* c, const float* bias,
             Activation activation, float* sums) {
  const Cut cut(groups, rows, k);
  parallel_for(cut.strips * cut.ranges, 1, [&](int64_t i, int64_t) { add_left(cut, a, cut.strip(i / cut.ranges), i % cut.ranges, sums); });

  // Pieces: groups of panels, as many for each thread, and where those are few, groups of strips. No number depends on the cut.
  const Right<W> right{packed, n / 2 / kColumns, k};
  const int64_t threads = thread_count();
  const int64_t column_pieces = std::min(right.panels, threads * ((right.panels + kGroup * threads - 1) / (kGroup * threads)));
  const int64_t row_pieces = std::max((cut.strips + kStrips - 1) / kStrips, std::min(2 * threads / column_pieces, (cut.strips + 7) / 8));
  parallel_for(column_pieces * row_pieces, 1, [&](int64_t piece, int64_t) {
    alignas(64) float room[kGroup][kDepth * kColumns];
    alignas(64) Finished finished[kStrips][kGroup];
    const int64_t i = piece / row_pieces, j0 = i * right.panels / column_pieces, j1 = (i + 1) * right.panels / column_pieces;
    const int64_t s0 = piece % row_pieces * cut.strips / row_pieces, s1 = (piece % row_pieces + 1) * cut.strips / row_pieces;
    for (int64_t r = 0; r < cut.ranges; r++) {
      const Cut::Range range = cut.range(r);
      const int64_t next_i = (i + threads) % column_pieces;  // what this thread will probably do next
      const int64_t next_j = r + 1 < cut.ranges ? j0 : next_i * right.panels / column_pieces,
                    next_p = cut.range((r + 1) % cut.ranges).begin;
      Coming<W> coming{
          {right.at(k12, j0, range.begin), right.at(k21, j0, range.begin), right.at(k11, next_j, next_p), right.at(k22, next_j, next_p)},
          k * kColumns,
          j1 - j0,
          range.depth};
      for (int p = 0; p < 7; p++) {
        const Product& product = kProducts[p];
        const Reg<float> sign = product.b[1].sign - Reg<float>{};
        const bool summed = product.b[1].sign != 0, in_place = !summed && std::is_same_v<W, float>;
        for (int64_t s = s0; s < s1; s++) {  // the first strip's tiles make the sums that the others find
          const Cut::Strip strip = cut.strip(s);
          const float* left = sums + cut.sum(p, r, strip);
          for (int64_t j = j0; j < j1; j++) {
            Place places[2];
            const int count = places_of(product, finished[s - s0][j - j0], r == 0, places);
            const W *one = right.at(product.b[0], j, range.begin), *run = j == j0 ? nullptr : coming.next();
            const Ahead ahead = j == j0 ? lines_of(left + strip.rows * kStrip, strip.rows) : lines_from(run ? run : one, !run);
            float* sum = room[j - j0];
            if (s == s0 && !in_place) {
              const W* two = summed ? right.at(product.b[1], j, range.begin) : one;
              tile_to(int(strip.rows), left, Sums<W>{one, two, sign, sum}, range.depth, places, count, ahead);
            } else {
              const void* panel = in_place ? static_cast<const void*>(one) : sum;
              tile_to(int(strip.rows), left, Rows<float>{static_cast<const float*>(panel)}, range.depth, places, count, ahead);
            }
          }
        }
      }
    }
    for (int64_t s = s0; s < s1; s++)
      for (int64_t j = j0; j < j1; j++) put(cut, cut.strip(s), j, finished[s - s0][j - j0], n, bias, activation, c);
  });
}

}  // namespace

template <>
void gemm_strassen(ThisIsa, const float* a, int64_t groups, int64_t rows, const float* packed, int64_t n, int64_t k, float* c,
                   const float* bias, Activation activation, float* scratch) {
  product(a, groups, rows, packed, n, k, c, bias, activation, scratch);
}
template <>
void gemm_strassen(ThisIsa, const float* a, int64_t groups, int64_t rows, const Half* packed, int64_t n, int64_t k, float* c,
                   const float* bias, Activation activation, float* scratch) {
  product(a, groups, rows, packed, n, k, c, bias, activation, scratch);
}
template <>
void gemm_strassen(ThisIsa, const float* a, int64_t groups, int64_t rows, const Bfloat* packed, int64_t n, int64_t k, float* c,
                   const float* bias, Activation activation, float* scratch) {
  product(a, groups, rows, packed, n, k, c, bias, activation, scratch);
}

}  // namespace stflow
