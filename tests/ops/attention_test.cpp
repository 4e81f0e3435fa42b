#include "ops/attention.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <tuple>

#include "engine/half.h"
#include "tests/check.h"
#include "tests/orders.h"

using namespace stflow;

TEST_CASE("attention: gradients, lifetimes, instruction sets") {
  struct {
    Shape qkv;
    int heads;
    int64_t queries = kAllTokens;
  } cases[] = {{{1, 1, 3}, 1},        {{2, 5, 24}, 2},      {{1, 67, 3 * 2 * 7}, 2},   {{2, 197, 3 * 32}, 2},
               {{1, 131, 3 * 80}, 1}, {{1, 70, 3 * 64}, 1}, {{1, 9, 3 * 2 * 100}, 2},  {{0, 4, 6}, 1},
               {{2, 0, 6}, 1},        {{2, 67, 24}, 2, 1},  {{1, 131, 3 * 32}, 1, 70}, {{1, 5, 24}, 2, 0}};
  for (auto& c : cases)
    test::op("attention", [&](Tape&, const std::vector<Var>& in) { return attention(in[0], c.heads, c.queries); }, {c.qkv});
}

TEST_CASE("attention: equals the formula, also for scores that overflow a bare exponential") {
  // The last two have more tokens and wider heads than a block of rows holds.
  for (auto [tokens, queries, n, heads, scale] : {std::tuple{150, 150, 5, 3, 1.0},
                                                  {150, 150, 5, 3, 60.0},
                                                  {150, 1, 5, 3, 1.0},
                                                  {150, 17, 5, 3, 60.0},
                                                  {530, 530, 4, 1, 60.0},
                                                  {3, 3, 520, 2, 1.0}}) {
    const int64_t images = 2, d = n * heads;
    const auto x = test::normal(size_t(images * tokens * 3 * d), 1);
    Array qkv({images, tokens, 3 * d}, DType::f64);
    for (size_t i = 0; i < x.size(); i++) qkv.as<double>()[i] = x[i] * scale;
    Tape tape;
    Var y = attention(tape.input(qkv), heads, queries);
    CHECK(y.shape() == Shape{images, queries, d});
    Storage arena;
    tape.plan(false);
    tape.bind(arena, ParameterSet());
    tape.forward();
    const double *p = qkv.as<double>(), *out = tape.value(y).as<double>();
    double worst = 0;
    for (int64_t b = 0; b < images; b++)
      for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < queries; i++) {
          auto at = [&](int64_t part, int64_t t) { return p + ((b * tokens + t) * 3 + part) * d + h * n; };
          std::vector<double> s(size_t(tokens), 0.0), want(size_t(n), 0.0);
          double top = -1e300, total = 0;
          for (int64_t j = 0; j < tokens; j++) {
            for (int64_t c = 0; c < n; c++) s[size_t(j)] += at(0, i)[c] * at(1, j)[c] / std::sqrt(double(n));
            top = std::max(top, s[size_t(j)]);
          }
          for (auto& v : s) total += v = std::exp(v - top);
          for (int64_t j = 0; j < tokens; j++)
            for (int64_t c = 0; c < n; c++) want[size_t(c)] += s[size_t(j)] / total * at(2, j)[c];
          for (int64_t c = 0; c < n; c++)
            worst = std::max(worst, std::fabs(want[size_t(c)] - out[(b * queries + i) * d + h * n + c]) / scale);
        }
    CHECK(worst < 1e-12);
  }
}

TEST_CASE("attention: CUDA kernels take scores that overflow a bare exponential, and refuse heads that do not fit") {
  auto run = [](Device device, int64_t tokens, int64_t n) {
    Array qkv({1, tokens, 3 * n}, DType::f32), there(qkv.tensor().shape, DType::f32, device), out({1, tokens, n}, DType::f32);
    const auto x = test::normal(size_t(qkv.tensor().size()), 3);
    for (size_t i = 0; i < x.size(); i++) qkv.as<float>()[i] = float(60 * x[i]);
    copy(device, there.tensor().data, Device::cpu, qkv.tensor().data, qkv.tensor().bytes());
    Tape tape(Context{Isa::plain, device});
    const Var y = attention(tape.input(there), 1);
    Storage arena(0, device);
    tape.plan(false);
    tape.bind(arena, ParameterSet());
    tape.forward();
    copy(Device::cpu, out.tensor().data, device, tape.value(y).data, out.tensor().bytes());
    return out;
  };
  CHECK(test::relative(run(Device::cuda, 150, 5), run(Device::cpu, 150, 5)) < 1e-3);  // float32 scores of thousands
  CHECK_THROWS_AS(run(Device::cuda, 2, kCudaHeadDim + 1), Error);
}

TEST_CASE("attention: in bf16 on a GPU, the result in bf16 is that in float32 rounded, and near that of float32 inputs") {
  for (auto [tokens, heads, n] : {std::array<int64_t, 3>{131, 2, 64}, {70, 3, 16}, {5, 1, 80}}) {
    CAPTURE(tokens);
    const int64_t images = 2, d = heads * n;
    Array wide({images, tokens, 3 * d}, DType::f32), half({images, tokens, 3 * d}, DType::bf16);
    const auto x = test::normal(size_t(wide.tensor().size()), 3);
    for (size_t i = 0; i < x.size(); i++) {
      half.as<uint16_t>()[i] = float_to_bfloat(float(x[i]));
      wide.as<float>()[i] = bfloat_to_float(half.as<uint16_t>()[i]);
    }
    const Array qkv = copy_of(half, Device::cpu, Device::cuda), same = copy_of(wide, Device::cpu, Device::cuda);
    const Array rounded({images, tokens, d}, DType::bf16, Device::cuda), exact({images, tokens, d}, DType::f32, Device::cuda),
        reference({images, tokens, d}, DType::f32, Device::cuda);
    test::in_every_order([&, heads = heads] {
      attention_forward(Cuda{}, qkv.tensor(), int(heads), rounded.tensor(), Tensor{}, nullptr);  // cuDNN's on a GPU that has it
      attention_forward(Cuda{}, qkv.tensor(), int(heads), exact.tensor(), Tensor{}, nullptr);    // ours, like the next
      attention_forward(Cuda{}, same.tensor(), int(heads), reference.tensor(), Tensor{}, nullptr);
      const Array a = copy_of(rounded, Device::cuda, Device::cpu), b = copy_of(exact, Device::cuda, Device::cpu),
                  c = copy_of(reference, Device::cuda, Device::cpu);
      Array widened(a.tensor().shape, DType::f32);
      for (int64_t i = 0; i < a.tensor().size(); i++) widened.as<float>()[i] = bfloat_to_float(a.as<uint16_t>()[i]);
      CHECK(test::relative(b, c) < 1e-6);
      CHECK(test::relative(widened, b) < 1e-2);  // a row's weights are bf16 too in cuDNN
    });
  }
}
