// One step of Strassen's algorithm (Numerische Mathematik 13, 1969): seven products of blocks instead of eight. Its additions hide as in
// Huang, Smith, Henry and van de Geijn (SC 2016): a sum of A's blocks is laid strip by strip in the steps of the tiles before it, sums of
// B's are made block by block in the cache, and a tile is added to each block of C that it is a part of, the last time on its way into C.
#include "ops/gemm_strassen.h"

#include <algorithm>
#include <atomic>
#include <span>

#include "ops/cpu/activate.h"
#include "ops/cpu/panels.h"
#include "ops/cpu/strassen.h"
#include "ops/cpu/strassen_left.h"
#include "ops/cpu/strassen_right.h"

namespace stflow {
namespace {

constexpr int64_t kStrips = 8;         // strips of A that meet the panels at hand: an image of ViT has as many with 512-bit registers
constexpr int64_t kGroup = 12;         // panels at hand, at most,
constexpr int64_t kGroupDepth = 2304;  // and their rows: a block of them takes a third of a second cache of 1 MB

/// C, and what is done to its numbers at the end.
struct Result {
  float* c;
  int64_t n;
  const float* bias;  // or null
  Activation activation;
};

/// A tile of each block of C, in the order of its registers: what stays in the cache until the last product is added.
using Unfinished = float[4][kRows * kColumns];

/// Where the numbers of a tile go: to those of a block of C that are not finished, and if they are the last, on into C.
struct Place {
  float* sum;
  float sign;
  bool first;  // nothing is there yet; the sign is 1
  float* c;    // null if others follow
  int64_t rows;
  const float* bias;
};
struct Places {
  Place place[2];
  size_t count = 0;

  [[nodiscard]] std::span<const Place> used() const { return {place, count}; }
  STFLOW_INLINE void next_panel() {
    for (Place& to : std::span(place, count)) {
      to.sum += sizeof(Unfinished) / sizeof(float);
      if (to.c) to.c += kColumns;
      if (to.bias) to.bias += kColumns;
    }
  }
};

/// The places of a product's tile of a strip and a panel, for the first range of k, the last or one between.
Places places_of(const Cut& cut, const Product& product, int64_t r, Cut::Strip strip, int64_t panel, Unfinished& tiles,
                 const Result& result) {
  Places places;
  for (int i = 0; i < 2 && product.c[i].sign != 0; i++) {
    const Block& block = product.c[i];
    const int64_t column = block.right * (result.n / 2) + panel * kColumns;
    const bool last = product.last[i] && r + 1 == cut.ranges;
    places.place[places.count++] = {tiles[block.below * 2 + block.right],
                                    block.sign,
                                    product.first[i] && r == 0,
                                    last ? result.c + cut.row(block, strip) * result.n + column : nullptr,
                                    std::min(strip.rows, cut.rows - strip.begin - block.below * cut.upper),
                                    result.bias ? result.bias + column : nullptr};
  }
  return places;
}

/// R rows of a tile into one place.
template <int R> STFLOW_INLINE void put(const Reg<float> (&x)[R * 2], const Place& to, int64_t n) {
  constexpr int kOne = kWidth<float>;
  const Reg<float> sign = to.sign - Reg<float>{};
  if (to.first) {
    each<R * 2>([&](auto at) STFLOW_INLINE_LAMBDA { std::memcpy(to.sum + at * kOne, &x[at], sizeof x[at]); });
  } else if (!to.c) {
    each<R * 2>([&](auto at) STFLOW_INLINE_LAMBDA {
      const Reg<float> y = multiply_add<float>(sign, x[at], take(to.sum + at * kOne));
      std::memcpy(to.sum + at * kOne, &y, sizeof y);
    });
  } else {
    const Reg<float> bias[2] = {to.bias ? take(to.bias) : Reg<float>{}, to.bias ? take(to.bias + kOne) : Reg<float>{}};
    each<R * 2>([&](auto at) STFLOW_INLINE_LAMBDA {
      const Reg<float> y = multiply_add<float>(sign, x[at], take(to.sum + at * kOne)) + bias[at % 2];
      if (at / 2 < to.rows) std::memcpy(to.c + at / 2 * n + at % 2 * kOne, &y, sizeof y);
    });
  }
}
void activate_rows(Activation activation, float* c, int64_t rows, int64_t n) {
  with_activation<float>(activation, [=](auto f) STFLOW_INLINE_LAMBDA {
    for (int64_t r = 0; r < rows; r++)
      lanes_of(kColumns, [&](int64_t q, int l) STFLOW_INLINE_LAMBDA { store_n<float>(c + r * n + q, f(load_n(c + r * n + q, l)), l); });
  });
}
void ask_for_rows(const float* c, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < kColumns; j += 16) __builtin_prefetch(c + r * n + j, 1);
}

/// A product's tile into its places. In each step of it goes one of what is done beside: an Ahead or a Laying.
template <int R, class Read, class Beside>
STFLOW_INLINE void tile_to(const float* a, Read& read, int64_t k, const Places& places, const Result& result, Beside& beside) {
  for (const Place& to : places.used())
    if (to.c) ask_for_rows(to.c, to.rows, result.n);
  Read reads = read;
  Beside own = beside;  // in registers
  const auto step = [&](auto& b) STFLOW_INLINE_LAMBDA {
    own.step();
    reads(b);
  };
  tile<float, R, 2, true>({a, kStrip, 1}, k, step, [&](auto& x) STFLOW_INLINE_LAMBDA {
    for (const Place& to : places.used()) put<R>(x, to, result.n);
  });
  beside = own, read = reads;
  if (result.activation == Activation::none) return;
  for (const Place& to : places.used())
    if (to.c) activate_rows(result.activation, to.c, to.rows, result.n);
}
/// A strip of the left operand, and the panels that it meets.
struct Strip {
  int rows;
  const float* data;
  int64_t depth, panels;
};
/// A strip's tiles of a product, `gap` numbers from the end of one panel's rows to the next panel's. The last tile lays the next strip,
/// beside the others lines are asked for. One function for all of them: what a tile alone would cost at its start is 5 % of ViT-S.
template <class Read, class Ask, int R = kRows>
void tiles_of(Strip strip, Read read, int64_t gap, Places places, const Result& result, Ask ask, Laying& laying) {
  if constexpr (R > kRows / 2) {  // no strip is lower
    if (strip.rows < R) return tiles_of<Read, Ask, R - 1>(strip, read, gap, places, result, ask, laying);
    for (int64_t j = 0; j + 1 < strip.panels; j++) {
      Ahead ahead = ask(j);
      tile_to<R>(strip.data, read, strip.depth, places, result, ahead);
      read.skip(gap);
      places.next_panel();
    }
    tile_to<R>(strip.data, read, strip.depth, places, result, laying);
  }
}

template <class W> struct Operands {
  Cut cut;
  LeftBlocks left;
  RightBlocks<W> right;
  Result result;
};
/// Strips and panels of half the columns, and the panel that the thread will probably meet next.
struct Piece {
  int64_t s0, s1, j0, j1, next_panel;
};
/// What a thread keeps in its caches, 1.3 MB of its stack: strips of A, this one and the next, sums of B's panels, tiles of C.
struct Work {
  alignas(64) float left[2][kRows * kStrip];
  alignas(64) float right[kGroupDepth * kColumns];
  alignas(64) Unfinished unfinished[kStrips][kGroup];
};

/// The seven products of a piece, one after another, range by range of k. The last panel's tile of each strip lays the next strip; the
/// other tiles ask for what comes: A's blocks of the next strip, then B's blocks.
template <class W> void compute(const Operands<W>& o, Piece piece, Work& work) {
  const int64_t s0 = piece.s0, s1 = piece.s1, j0 = piece.j0, panels = piece.j1 - piece.j0;
  const Cut& cut = o.cut;
  int side = 0;  // of work.left where the strip lies
  Laying(cut, o.left, kProducts[0].a, cut.strip(s0), cut.range(0), work.left[side]).finish();
  for (int64_t r = 0; r < cut.ranges; r++) {
    const Cut::Range range = cut.range(r);
    const bool more = r + 1 < cut.ranges;
    const int64_t next_j = more ? j0 : piece.next_panel, next_p = more ? cut.range(r + 1).begin : 0;
    const int64_t apart = (o.right.k - range.depth) * kColumns;  // from the end of a panel's rows to the next panel's
    Coming<W> coming{{o.right.at(k22, j0, range.begin), o.right.at(k12, j0, range.begin), o.right.at(k21, j0, range.begin),
                      o.right.at(k11, next_j, next_p)},
                     o.right.k * kColumns,
                     panels,
                     range.depth};
    for (int p = 0; p < 7; p++) {
      const Product& product = kProducts[p];
      const bool two = product.b[1].sign != 0, in_place = !two && std::is_same_v<W, float>;
      const W *one = o.right.at(product.b[0], j0, range.begin), *other = o.right.at(product.b[1], j0, range.begin);
      for (int64_t s = s0; s < s1; s++, side = !side) {
        const bool same = s + 1 < s1, last = !same && p == 6 && !more;
        const Cut::Strip strip = cut.strip(s), next_strip = cut.strip(same ? s + 1 : s0);
        const Cut::Range next_range = same || p < 6 ? range : Cut::Range{next_p, more ? cut.range(r + 1).depth : 0};
        const Block(&next)[2] = kProducts[same ? p : (p + 1) % 7].a;
        Laying laying = last ? Laying() : Laying(cut, o.left, next, next_strip, next_range, work.left[!side]);
        const auto ask = [&](int64_t j) STFLOW_INLINE_LAMBDA {
          if (j < 2 && panels > 3 && !last && next[j].sign != 0)
            return lines_of(o.left.at(cut, next[j], next_strip, next_range.begin), next_strip.rows, o.left.k);
          const W* run = coming.next();
          return lines_from(run ? run : one, !run);
        };
        const Strip own{int(strip.rows), work.left[side], range.depth, panels};
        const Places places = places_of(cut, product, r, strip, j0, work.unfinished[s - s0][0], o.result);
        const auto with = [&](auto read, int64_t gap) { tiles_of(own, read, gap, places, o.result, ask, laying); };
        if (in_place) with(Rows<float>{reinterpret_cast<const float*>(one)}, apart);
        else if (s > s0) with(Rows<float>{work.right}, 0);
        else if (two) with(Sums<W, true>{one, other, sign_bits(product.b[1].sign), work.right}, apart);
        else with(Sums<W, false>{one, one, {}, work.right}, apart);
        laying.finish();
      }
    }
  }
}

template <class W> void product(const Operands<W>& o) {
  // Many strips are shared among the threads; where they are few, panels are, in groups of a number that all threads get as many of. No
  // number depends on the cut.
  const int64_t threads = thread_count(), panels = o.right.panels, strips = o.cut.strips;
  const int64_t group = std::min(kGroup, kGroupDepth / o.cut.range(o.cut.ranges - 1).depth);
  const bool many = (strips + kStrips - 1) / kStrips % threads == 0;
  const int64_t sharing = many ? 1 : threads;
  const int64_t columns = std::min(panels, sharing * ((panels + group * sharing - 1) / (group * sharing)));
  const int64_t rows = std::max((strips + kStrips - 1) / kStrips, std::min(2 * threads / columns, (strips + 7) / 8));
  std::atomic<int64_t> drawn = 0;
  parallel_for(std::min(threads, columns * rows), 1, [&](int64_t, int64_t) {
    Work work;
    for (int64_t i = 0; (i = drawn.fetch_add(1, std::memory_order_relaxed)) < columns * rows;) {
      const int64_t column = i / rows, row = i % rows, next = (column + threads) % columns;
      compute(o,
              {row * strips / rows, (row + 1) * strips / rows, column * panels / columns, (column + 1) * panels / columns,
               next * panels / columns},
              work);
    }
  });
}

}  // namespace

template <>
void gemm_strassen(ThisIsa, const float* a, int64_t groups, int64_t rows, const float* packed, int64_t n, int64_t k, float* c,
                   const float* bias, Activation activation) {
  product<float>({Cut(groups, rows, k), {a, k}, {packed, n / 2 / kColumns, k}, {c, n, bias, activation}});
}
template <>
void gemm_strassen(ThisIsa, const float* a, int64_t groups, int64_t rows, const Half* packed, int64_t n, int64_t k, float* c,
                   const float* bias, Activation activation) {
  product<Half>({Cut(groups, rows, k), {a, k}, {packed, n / 2 / kColumns, k}, {c, n, bias, activation}});
}
template <>
void gemm_strassen(ThisIsa, const float* a, int64_t groups, int64_t rows, const Bfloat* packed, int64_t n, int64_t k, float* c,
                   const float* bias, Activation activation) {
  product<Bfloat>({Cut(groups, rows, k), {a, k}, {packed, n / 2 / kColumns, k}, {c, n, bias, activation}});
}

}  // namespace stflow
