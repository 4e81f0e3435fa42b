// The ops around a vision transformer's sequence: patchify, assemble_tokens, pool_tokens, unmask_tokens.
#include <doctest/doctest.h>

#include "ops/assemble_tokens.h"
#include "ops/patchify.h"
#include "ops/pool_tokens.h"
#include "ops/unmask_tokens.h"
#include "tests/check.h"

using namespace stflow;

namespace {

/// (images, cells) int32: a different permutation of the cells in each row, cut to `keep` columns.
Array permutations(int64_t images, int64_t cells, int64_t keep) {
  Array a({images, keep}, DType::i32);
  for (int64_t b = 0; b < images; b++)
    for (int64_t i = 0; i < keep; i++) a.as<int32_t>()[b * keep + i] = int32_t((i * 7 + b * 3) % cells);  // 7 is coprime to the sizes below
  return a;
}

}  // namespace

TEST_CASE("patchify: gradients, lifetimes, instruction sets") {
  for (auto [shape, patch] : {std::pair{Shape{2, 6, 9, 3}, 3}, {Shape{1, 32, 16, 3}, 16}, {Shape{3, 2, 2, 3}, 1}})
    test::op("patchify", [p = patch](Tape&, const std::vector<Var>& in) { return patchify(in[0], p); }, {shape});
}

TEST_CASE("patchify: channel, then row, then column inside a patch") {
  Array image({1, 4, 4, 3}, DType::f32);
  for (int y = 0; y < 4; y++)
    for (int x = 0; x < 4; x++)
      for (int c = 0; c < 3; c++) image.as<float>()[(y * 4 + x) * 3 + c] = float(100 * y + 10 * x + c);
  Tape tape;
  Var v = patchify(tape.input(image), 2);
  Storage arena;
  tape.plan(false), tape.bind(arena, ParameterSet()), tape.forward();
  CHECK(v.shape() == Shape{1, 4, 12});
  const float* p = tape.value(v).as<float>();
  const float want[12] = {20, 30, 120, 130, 21, 31, 121, 131, 22, 32, 122, 132};  // the patch at row 0, column 1
  for (int i = 0; i < 12; i++) CHECK(p[12 + i] == want[i]);
}

TEST_CASE("assemble_tokens: gradients, lifetimes, instruction sets") {
  struct {
    int64_t images, cells, d, registers, placed;
    bool cls, some;
  } cases[] = {{2, 9, 5, 0, 1, true, false},
               {3, 10, 33, 4, 0, true, false},
               {2, 6, 16, 2, 3, true, false},
               {4, 12, 70, 0, 0, false, false},
               {3, 12, 20, 3, 1, true, true}};
  for (auto& c : cases) {
    Array cells = permutations(c.images, c.cells, c.some ? c.cells / 3 : c.cells);
    const int64_t n = cells.tensor().shape[1];
    std::vector<Shape> shapes = {{c.images, n, c.d}, {1, c.placed + c.cells, c.d}};
    if (c.cls) shapes.push_back({1, 1, c.d});
    if (c.registers) shapes.push_back({1, c.registers, c.d});
    test::op(
        "assemble_tokens",
        [&](Tape& tape, const std::vector<Var>& in) {
          Var cls = c.cls ? in[2] : Var{}, registers = c.registers ? in[3] : Var{};
          return assemble_tokens(in[0], cls, registers, in[1], c.some ? test::constant(tape, cells) : Var{}, c.cells);
        },
        shapes);
  }
}

TEST_CASE("pool_tokens: gradients, lifetimes, instruction sets") {
  for (Pooling p : {Pooling::cls, Pooling::mean, Pooling::cls_mean})
    for (auto [shape, prefix] : {std::pair{Shape{2, 6, 17}, 1}, {Shape{1, 2, 3}, 1}, {Shape{3, 20, 40}, 5}})
      test::op("pool_tokens", [p, n = prefix](Tape&, const std::vector<Var>& in) { return pool_tokens(in[0], n, p); }, {shape});
}

TEST_CASE("unmask_tokens: gradients, lifetimes, instruction sets") {
  struct {
    int64_t images, cells, visible, d;
  } cases[] = {{2, 9, 2, 5}, {3, 16, 4, 70}, {1, 4, 4, 16}, {2, 4, 0, 3}};
  for (auto& c : cases) {
    Array order = permutations(c.images, c.cells, c.cells);
    test::op("unmask_tokens",
             [&](Tape& tape, const std::vector<Var>& in) { return unmask_tokens(in[0], in[1], in[2], test::constant(tape, order)); },
             {{c.images, 1 + c.visible, c.d}, {1, 1, c.d}, {1, c.cells, c.d}});
  }
}
