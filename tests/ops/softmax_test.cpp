#include "ops/softmax.h"

#include <doctest/doctest.h>

#include "tests/check.h"

using namespace stflow;

TEST_CASE("softmax: gradients, lifetimes, instruction sets") {
  for (Shape x : {Shape{1, 7}, {7, 33}, {130, 130}, {33, 1}, {0, 5}, {2, 3, 16}})
    test::op("softmax", [](Tape&, const std::vector<Var>& in) { return softmax(in[0]); }, {x});
}

TEST_CASE("softmax: rows sum to one, large arguments stay finite") {
  for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
    if (!supports(isa)) continue;
    Array x({2, 21}, DType::f32), y({2, 21}, DType::f32);
    for (int i = 0; i < 42; i++) x.as<float>()[i] = float(i % 21) * 1e4f - 1e5f;
    on_cpu(isa, [&](auto b) { softmax_forward(b, x, y); });
    for (int i = 0; i < 42; i++) CHECK(y.as<float>()[i] == (i % 21 == 20 ? 1.0f : 0.0f));
  }
}
