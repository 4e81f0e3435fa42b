#include "ops/dropout.h"

#include <doctest/doctest.h>

#include "tests/check.h"

using namespace stflow;

namespace {
const Dropout kDropout{0.2f, RandomKey(7, Stream::dropout, 3, 11), 5};
}

TEST_CASE("dropout: gradients, lifetimes, instruction sets") {
  for (Shape x : {Shape{1, 1}, {7, 33}, {130, 130}, {0, 5}, {2, 3, 16}})
    test::op("dropout", [](Tape&, const std::vector<Var>& in) { return dropout(in[0], kDropout); }, {x});
}

TEST_CASE("dropout: the mask is the documented function of the key, and keeps 1 - p of the elements") {
  const int64_t n = 70001;
  Array x({n}, DType::f32);
  for (int64_t i = 0; i < n; i++) x.as<float>()[i] = 1;
  Tape tape;
  const Var y = dropout(tape.input(x), kDropout);
  tape.plan(false);
  Storage arena;
  tape.bind(arena, ParameterSet{});
  tape.forward();
  const float* v = tape.value(y).as<float>();
  int64_t kept = 0;
  for (int64_t e = 0; e < n; e++) {
    const Philox4 draw = kDropout.key.draw(uint64_t(kDropout.place) << 32 | uint64_t(e / 8), 7);
    const bool keep = (draw.v[e % 8 / 2] >> (e % 2 * 16) & 0xffff) >= 13107;  // 0.2 of 65,536
    REQUIRE(v[e] == (keep ? float(65536.0 / (65536 - 13107)) : 0.0f));
    kept += keep;
  }
  CHECK(std::abs(double(kept) / double(n) - 0.8) < 0.01);
}

TEST_CASE("dropout: inactive it is the identity") {
  Array x({2, 2}, DType::f32);
  Tape tape;
  const Var in = tape.input(x);
  CHECK(dropout(in, Dropout{}).id == in.id);
  CHECK_THROWS_AS(dropout(in, Dropout{1.0f, {}, 0}), Error);
}
