#include "ops/linear.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "engine/half.h"
#include "ops/add.h"
#include "tests/check.h"

using namespace stflow;

namespace {

/// What the numbers become when they are held as `type`.
void round_to(DType type, const Array& values) {
  for (int64_t i = 0; i < values.tensor().size(); i++) {
    float& v = values.as<float>()[i];
    if (type == DType::f16) v = half_to_float(float_to_half(v));
    if (type == DType::bf16) v = bfloat_to_float(float_to_bfloat(v));
  }
}

}  // namespace

TEST_CASE("linear: gradients, lifetimes, instruction sets") {
  for (Activation a : {Activation::none, Activation::gelu, Activation::silu})
    for (auto [x, out] : {std::pair{Shape{1, 7}, 3}, {{29, 33}, 130}, {{130, 16}, 1}, {{0, 5}, 4}, {{2, 3, 1}, 50}, {{15, 3}, 33}}) {
      test::op("linear", [a](Tape&, const std::vector<Var>& in) { return linear(in[0], in[1], in[2], a); }, {x, {out, x[-1]}, {out}});
      test::op("linear, bias alone", [a](Tape&, const std::vector<Var>& in) { return linear(in[0], in[1], in[2], a); },
               {x, {out, x[-1]}, {out}}, {.fixed = {0, 1}});
      test::op("linear without bias", [a](Tape&, const std::vector<Var>& in) { return linear(in[0], in[1], Var{}, a); }, {x, {out, x[-1]}});
    }
}

TEST_CASE("linear: partial sums over many rows, blocks of a deep product") {
  test::op("linear", [](Tape&, const std::vector<Var>& in) { return linear(in[0], in[1], in[2]); }, {{1300, 5}, {6, 5}, {6}});
  test::op("linear", [](Tape&, const std::vector<Var>& in) { return linear(in[0], in[1], in[2]); }, {{3, 801}, {70, 801}, {70}});
  test::op("linear", [](Tape&, const std::vector<Var>& in) { return linear(in[0], in[1], in[2]); }, {{257, 300}, {40, 300}, {40}});
}

TEST_CASE("linear: a packed parameter gives the bytes of a weight packed on the way") {
  ParameterSet set;
  const Parameter w = set.add("w", {40, 70}, Init::fan_in, 70), b = set.add("b", {40}, Init::fan_in, 70);
  set.allocate(1);
  Array x({33, 70}, DType::f32);
  const auto numbers = test::normal(33 * 70, 5);
  for (size_t i = 0; i < numbers.size(); i++) x.as<float>()[i] = float(numbers[i]);
  Tape tape;
  const Var in = tape.input(x);
  const Var prepared = linear(in, tape.param(w), tape.param(b), Activation::gelu);
  const Var packed = linear(in, tape.input(set.value(w)), tape.input(set.value(b)), Activation::gelu);
  tape.plan(false, true);
  Storage arena;
  tape.bind(arena, set);
  tape.forward();
  CHECK(std::memcmp(tape.value(prepared).data, tape.value(packed).data, tape.value(packed).bytes()) == 0);
}

TEST_CASE("linear: a held weight gives the bytes of its values in float32, and only linear reads it") {
  for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
    if (!supports(isa)) continue;
    for (DType held : {DType::f32, DType::f16, DType::bf16}) {
      Context context;
      context.isa = isa;
      ParameterSet set(DType::f32, Device::cpu, true);
      const Parameter w = set.matrix("w", {40, 70}, Init::fan_in, 70), b = set.add("b", {40}, Init::fan_in, 70);
      set.allocate(1);
      Array values(w.shape, DType::f32), x({33, 70}, DType::f32);
      set.initialise(w, 1, values);
      set.hold(w, linear_hold(context, values, held, set.pool()));
      round_to(held, values);
      const auto numbers = test::normal(33 * 70, 5);
      for (size_t i = 0; i < numbers.size(); i++) x.as<float>()[i] = float(numbers[i]);
      Tape tape(context);
      const Var in = tape.input(x);
      const Var got = linear(in, tape.param(w), tape.param(b), Activation::gelu);
      const Var want = linear(in, tape.input(values), tape.param(b), Activation::gelu);
      CHECK_THROWS_AS(add(tape.param(w), tape.param(w)), Error);
      tape.plan(false, true);
      Storage arena;
      tape.bind(arena, set);
      tape.forward();
      CHECK(std::memcmp(tape.value(got).data, tape.value(want).data, tape.value(want).bytes()) == 0);
    }
  }
}

TEST_CASE("linear: inference takes large products by Strassen's algorithm, each item by itself") {
  for (DType held : {DType::f32, DType::f16, DType::bf16}) {
    ParameterSet set(DType::f32, Device::cpu, true);
    const Parameter w = set.matrix("w", {448, 398}, Init::fan_in, 398), b = set.add("b", {448}, Init::fan_in, 398);
    set.allocate(1);
    Array values(w.shape, DType::f32), x({3, 40, 398}, DType::f32);
    set.initialise(w, 1, values);
    set.hold(w, linear_hold({}, values, held, set.pool()));
    round_to(held, values);
    const auto numbers = test::normal(size_t(x.tensor().size()), 5);
    for (size_t i = 0; i < numbers.size(); i++) x.as<float>()[i] = float(numbers[i]);
    Array last({1, 40, 398}, DType::f32);
    std::memcpy(last.tensor().data, x.as<float>() + 2 * 40 * 398, last.tensor().bytes());
    Tape tape;
    const Var got = linear(tape.input(x), tape.param(w), tape.param(b)), alone = linear(tape.input(last), tape.param(w), tape.param(b));
    const Var want = linear(tape.input(x), tape.input(values), tape.param(b));  // of a weight that may change: the plain product
    tape.plan(false, true);
    Storage arena;
    tape.bind(arena, set);
    tape.forward();
    const Tensor fast = tape.value(got), plain = tape.value(want), one = tape.value(alone);
    CHECK(std::memcmp(one.data, fast.as<const float>() + 2 * 40 * 448, one.bytes()) == 0);
    CHECK(std::memcmp(fast.data, plain.data, fast.bytes()) != 0);
    double difference = 0, size = 0;
    for (int64_t i = 0; i < fast.size(); i++) {
      const double p = double(plain.as<const float>()[i]), d = double(fast.as<const float>()[i]) - p;
      difference += d * d, size += p * p;
    }
    CHECK(std::sqrt(difference / size) < 1e-6);
  }
}

TEST_CASE("linear: refuses shapes that do not fit") {
  Array x({2, 3}, DType::f32), w({4, 5}, DType::f32), ok({4, 3}, DType::f32), b({5}, DType::f32);
  Tape tape;
  CHECK_THROWS_AS(linear(tape.input(x), tape.input(w), Var{}), Error);
  CHECK_THROWS_AS(linear(tape.input(x), tape.input(ok), tape.input(b)), Error);
}
