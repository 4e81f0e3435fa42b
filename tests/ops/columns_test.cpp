#include "ops/columns.h"

#include <doctest/doctest.h>

#include "tests/check.h"

using namespace stflow;

TEST_CASE("columns: gradients, lifetimes, instruction sets") {
  for (auto [x, begin, count] :
       {std::tuple{Shape{1, 7}, 2, 3}, {{7, 33}, 0, 33}, {{130, 130}, 65, 65}, {{0, 5}, 1, 2}, {{2, 3, 16}, 15, 1}, {{4, 6}, 3, 0}})
    test::op(
        "columns",
        [rows = x.size() / x[-1], b = begin, n = count](Tape&, const std::vector<Var>& in) { return columns(in[0], b, n, {rows * n}); },
        {x});
}

TEST_CASE("concat: gradients, lifetimes, instruction sets") {
  for (auto [rows, cols] : {std::pair{1, std::vector<int64_t>{7}}, {7, {33, 1}}, {130, {5, 130, 16}}, {0, {5, 2}}, {3, {0, 4}}}) {
    std::vector<Shape> shapes;
    for (int64_t n : cols) shapes.push_back({rows, n});
    test::op(
        "concat", [](Tape&, const std::vector<Var>& in) { return concat(in); }, shapes);
  }
}

TEST_CASE("columns and concat: refuse shapes that do not fit") {
  Array x({2, 3}, DType::f32), y({3, 3}, DType::f32);
  Tape tape;
  const Var in[] = {tape.input(x), tape.input(y)};
  CHECK_THROWS_AS(concat(in), Error);
  CHECK_THROWS_AS(concat({}), Error);
  CHECK_THROWS_AS(columns(in[0], 2, 2, {2, 2}), Error);
  CHECK_THROWS_AS(columns(in[0], 1, 2, {2, 3}), Error);
}
