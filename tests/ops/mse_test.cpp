#include "ops/mse.h"

#include <doctest/doctest.h>

#include "tests/check.h"

using namespace stflow;

TEST_CASE("mse: gradients, lifetimes, instruction sets") {
  for (Reduction r : {Reduction::mean, Reduction::sum})
    for (Shape x : {Shape{1, 1}, {7, 33}, {130, 130}, {2, 3, 16}})
      test::op("mse", [r](Tape&, const std::vector<Var>& in) { return mse(in[0], in[1], r); }, {x, x});
  for (double rows : {0.0, 1.0, 5.0, 7.0, 9.0}) {
    Array wide({1}, DType::f64), narrow({1}, DType::f32);
    *wide.as<double>() = rows, *narrow.as<float>() = float(rows);
    test::op("mse of rows",
             [&](Tape& tape, const std::vector<Var>& in) {
               const Array& count = in[0].type() == DType::f64 ? wide : narrow;
               return mse(in[0], in[1], Reduction::sum, test::constant(tape, count));
             },
             {{7, 33}, {7, 33}});
  }
  test::op("mse of nothing", [](Tape&, const std::vector<Var>& in) { return mse(in[0], in[1], Reduction::sum); }, {{0, 5}, {0, 5}});
}

TEST_CASE("mse: refuses shapes that do not fit and the mean of nothing") {
  Array x({2, 3}, DType::f32), y({3, 2}, DType::f32), none({0, 3}, DType::f32);
  Tape tape;
  CHECK_THROWS_AS(mse(tape.input(x), tape.input(y)), Error);
  CHECK_THROWS_AS(mse(tape.input(none), tape.input(none)), Error);
  Array count({1}, DType::f32);
  CHECK_THROWS_AS(mse(tape.input(x), tape.input(x), Reduction::mean, tape.input(count)), Error);
  const Array zeros({2, 3}, DType::f32);
  *count.as<float>() = 1;
  for (int i = 0; i < 6; i++) x.as<float>()[i] = float(i);
  const Var first = mse(tape.input(x), tape.input(zeros), Reduction::sum, tape.input(count));
  Storage arena(0);
  tape.plan(false), tape.bind(arena, ParameterSet()), tape.forward();
  CHECK(*tape.value(first).as<float>() == 0 + 1 + 4);
}
