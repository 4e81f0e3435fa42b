#include "ops/add.h"

#include <doctest/doctest.h>

#include "ops/activation.h"
#include "tests/check.h"

using namespace stflow;

TEST_CASE("add, add_row: gradients, lifetimes, instruction sets") {
  for (Shape x : {Shape{1, 7}, {7, 33}, {130, 130}, {1100, 3}, {0, 5}, {2, 3, 16}}) {
    test::op("add", [](Tape&, const std::vector<Var>& in) { return add(in[0], in[1]); }, {x, x});
    test::op("add to itself", [](Tape&, const std::vector<Var>& in) { return add(in[0], in[0]); }, {x});
    test::op("add_row", [](Tape&, const std::vector<Var>& in) { return add_row(in[0], in[1]); }, {x, {1, x[-1]}});
  }
}

TEST_CASE("add: takes the place of an input that dies there, of no other") {
  const auto residual = [](Tape&, const std::vector<Var>& in) {
    const Var a = add(in[0], in[1]), kept = activation(a, Activation::gelu);  // whose backward reads a
    return add(add(add(a, kept), in[1]), kept);
  };
  test::op("residual", residual, {{7, 33}, {7, 33}});

  const Array x({40}, DType::f32);
  for (int i = 0; i < 40; i++) x.as<float>()[i] = float(i);
  for (const bool keep_all : {false, true}) {
    Tape tape;
    const Var in = tape.input(x), a = add(in, in), b = add(a, in), c = add(b, in), d = add(b, c);
    Storage arena;
    tape.plan(false, keep_all), tape.bind(arena, ParameterSet()), tape.forward();
    const auto same_place = [&](Var u, Var v) { return tape.value(u).data == tape.value(v).data; };
    CHECK(!same_place(a, in));  // the caller's
    CHECK(same_place(b, a) == !keep_all);
    CHECK(!same_place(c, b));  // d reads b too
    CHECK(same_place(d, b) == !keep_all);
    for (int i = 0; i < 40; i++) CHECK(tape.value(d).as<float>()[i] == float(7 * i));
    for (int i = 0; i < 40; i++) CHECK(x.as<float>()[i] == float(i));
  }
}

TEST_CASE("add: a device's arrays may begin anywhere and end anywhere") {
  const int64_t n = 1029;
  const auto x = test::normal(size_t(n) + 4, 1);
  Array host({n + 4}, DType::f32), there({n + 4}, DType::f32, Device::cuda), back({n + 4}, DType::f32);
  for (int64_t i = 0; i < n + 4; i++) host.as<float>()[i] = float(x[size_t(i)]);
  for (int64_t from = 0; from < 4; from++)
    for (int64_t to = 0; to < 4; to++) {
      const Array sum({n + 4}, DType::f32, Device::cuda);
      copy(Device::cuda, there.tensor().data, Device::cpu, host.tensor().data, host.tensor().bytes());
      const Tensor a = view(there.as<float>() + from, {n}), b = view(there.as<float>(), {n}), c = view(sum.as<float>() + to, {n});
      add_forward(Cuda{}, a, b, c);
      copy(Device::cpu, back.tensor().data, Device::cuda, sum.tensor().data, sum.tensor().bytes());
      for (int64_t i = 0; i < n + 4; i++) {
        const bool within = i >= to && i < to + n;  // beyond it the zeros of a new array
        REQUIRE(back.as<float>()[i] == (within ? host.as<float>()[i - to + from] + host.as<float>()[i - to] : 0));
      }
    }
}

TEST_CASE("add, add_row: refuse shapes that do not fit") {
  Array x({2, 3}, DType::f32), y({3, 2}, DType::f32);
  Tape tape;
  const Var a = tape.input(x), b = tape.input(y);
  CHECK_THROWS_AS(add(a, b), Error);
  CHECK_THROWS_AS(add_row(a, b), Error);
}
