#include "model/buckets.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "engine/storage.h"
#include "ops/linear.h"
#include "ops/mse.h"
#include "tests/check.h"

using namespace stflow;

TEST_CASE("buckets: parts of the gradients are final when their node has been passed, most of them before the end") {
  constexpr int kLayers = 6, kWidth = 8;
  ParameterSet set;
  std::vector<Parameter> weights;
  for (int i = 0; i < kLayers; i++) weights.push_back(set.add("w" + std::to_string(i), {kWidth, kWidth}, Init::fan_in, kWidth));
  set.allocate(3);
  std::vector<float> x, y;
  for (const double v : test::normal(4 * kWidth, 1)) x.push_back(float(v)), y.push_back(float(1 - v));
  Tape tape;
  Var h = tape.input(view(x.data(), {4, kWidth}));
  for (int i = 0; i < kLayers; i++) h = linear(h, tape.param(weights[size_t(i)]), {}, Activation::relu);
  h = linear(h, tape.param(weights[4]), {});  // a matrix that is read twice
  const Var loss = mse(h, tape.input(view(y.data(), {4, kWidth})), Reduction::sum);
  Storage arena(0);
  tape.plan(true);
  tape.bind(arena, set, set.grads());
  tape.forward();

  const int64_t size = set.grads().size() + 3;  // with what a trainer keeps behind them
  const std::vector<Bucket> buckets = cut_gradients(tape, size, 3);
  REQUIRE(buckets.size() == 3);
  CHECK(buckets[0].name == "gradients 1 of 3");
  CHECK(buckets[0].end == size);  // the last layers come first
  std::vector<Bucket> by_place = buckets;
  std::sort(by_place.begin(), by_place.end(), [](const Bucket& a, const Bucket& b) { return a.begin < b.begin; });
  CHECK(by_place[0].begin == 0);
  for (size_t i = 1; i < 3; i++) CHECK(by_place[i].begin == by_place[i - 1].end);

  const auto part_of = [&](const Bucket& b) {
    const float* g = set.grads().as<float>();
    return std::vector<float>(g + b.begin, g + std::min(b.end, set.grads().size()));
  };
  std::vector<std::vector<float>> when_final;
  int end = tape.size();
  for (const Bucket& b : buckets) {
    tape.backward(loss, b.first, end);
    end = b.first;
    when_final.push_back(part_of(b));
  }
  CHECK_THROWS_WITH_AS(tape.backward(loss, end + 1, end), doctest::Contains("backward: nodes"), Error);
  tape.backward(loss, 0, end);
  CHECK(buckets[0].first > buckets[1].first);
  CHECK(buckets[1].first > buckets[2].first);
  for (size_t i = 0; i < 3; i++) {
    CHECK(when_final[i] == part_of(buckets[i]));
    CHECK(std::any_of(when_final[i].begin(), when_final[i].end(), [](float g) { return g != 0; }));
  }
}
