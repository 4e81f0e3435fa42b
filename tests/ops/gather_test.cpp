#include "ops/gather.h"

#include <doctest/doctest.h>

#include "tests/check.h"

using namespace stflow;

TEST_CASE("gather: gradients, lifetimes, instruction sets") {
  for (auto [x, count] :
       {std::pair{Shape{1, 7}, 3}, {{7, 33}, 20}, {{130, 130}, 40}, {{5, 1}, 5}, {{3, 2, 16}, 4}, {{4, 3}, 0}, {{4, 3}, 600}}) {
    Array index({count}, DType::i32);
    for (int i = 0; i < count; i++) index.as<int32_t>()[i] = int32_t(i * i * 7 % x[0]);
    test::op("gather", [&](Tape& t, const std::vector<Var>& in) { return gather(in[0], test::constant(t, index)); }, {x});
  }
}

TEST_CASE("gather: refuses numbers outside the rows and an index that is none") {
  for (int32_t bad : {-1, 2}) {
    Array x({2, 3}, DType::f32), index({1}, DType::i32);
    index.as<int32_t>()[0] = bad;
    Tape tape;
    gather(tape.input(x), tape.input(index));
    tape.plan(false);
    Storage arena;
    tape.bind(arena, ParameterSet{});
    CHECK_THROWS_AS(tape.forward(), Error);
    CHECK_THROWS_AS(gather(tape.input(x), tape.input(x)), Error);
  }
}
