// The denoiser against the reference's golden numbers, and against its own symmetries.
#include "model/denoiser.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "model/geometry.h"
#include "model/golden.h"
#include "model/sampler.h"
#include "ops/weighted_sum.h"
#include "tests/check.h"
#include "tests/ops/layouts.h"

using namespace stflow;

TEST_CASE("golden numbers of the reference: 1e-5 in float32 on every instruction set, 1e-7 in float64") {
  const SafeTensors file("tests/fixtures/denoiser_small.safetensors");
  for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
    if (!supports(isa)) continue;
    const std::vector<GoldenLine> lines = check_golden(file, DType::f32, Context{isa});
    CHECK(lines.size() > 150);
    for (const GoldenLine& l : lines) {
      CAPTURE(l.name);
      CHECK(l.error <= 1e-5);
    }
  }
  for (const GoldenLine& l : check_golden(file, DType::f64)) {  // the file stores most quantities in float32
    CAPTURE(l.name);
    CHECK(l.error <= 1e-7);
  }
}

namespace {

// A small denoiser with random weights, and one prediction for given coordinates.
struct Small {
  DenoiserConfig config;
  ParameterSet set;
  Denoiser denoiser;

  static DenoiserConfig sizes() {
    DenoiserConfig c;
    c.features = 7, c.genes = 5, c.hidden = 16, c.pairwise = 16, c.layers = 2, c.heads = 2;
    return c;
  }
  explicit Small(DType type = DType::f32) : config(sizes()), set(type), denoiser(set, config) { set.allocate(3); }

  // features and y0 are per spot; both are permuted with the spots.
  std::vector<float> predict(std::vector<double> coords, std::vector<int32_t> rank, const std::vector<float>& features,
                             const std::vector<float>& y0, FrameMode mode = FrameMode::exact) const {
    const auto n = int64_t(rank.size());
    Geometry g;
    g.build(view(coords.data(), {n, 2}), view(rank.data(), {n}), {6, mode, true}, DType::f32);
    Sampler sampler(denoiser, set);
    std::vector<float> x = features, y = y0;
    sampler.set_slide(view(x.data(), {n, config.features}), g);
    sampler.sample(view(y.data(), {n, config.genes}), 5);
    return y;
  }
};

std::vector<float> floats(size_t n, uint64_t seed) {
  std::vector<float> f;
  for (double v : test::normal(n, seed)) f.push_back(float(v));
  return f;
}

double apart(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0, top = 0;
  for (size_t i = 0; i < a.size(); i++)
    worst = std::max(worst, double(std::fabs(a[i] - b[i]))), top = std::max(top, double(std::fabs(b[i])));
  return worst / top;
}

}  // namespace

TEST_CASE("denoiser: moving a slide changes nothing, on twelve layouts") {
  const Small model;
  RandomKey key(11, Stream::test);
  double reference_worst = 0;
  for (test::Layout& l : test::layouts()) {
    CAPTURE(l.name);
    const auto n = size_t(l.n());
    const std::vector<float> x = floats(n * 7, 1), y0 = floats(n * 5, 2);
    const std::vector<float> want = model.predict(l.coords, l.rank, x, y0),
                             plain = model.predict(l.coords, l.rank, x, y0, FrameMode::reference);
    for (int m = 0; m < 50; m++) {
      const Philox4 r = key.draw(uint64_t(m));
      const double turn = m < 4 ? m * 1.5707963267948966 : 6.283185307179586 * open01(r.v[0], r.v[1]), flip = m % 2 ? -1 : 1;
      const double sx = 5e4 * uniform01(r.v[2]), sy = 5e4 * uniform01(r.v[3]);
      std::vector<double> moved(2 * n);
      for (size_t i = 0; i < n; i++) {
        const double a = flip * l.coords[2 * i], b = l.coords[2 * i + 1];
        moved[2 * i] = std::cos(turn) * a - std::sin(turn) * b + sx;
        moved[2 * i + 1] = std::sin(turn) * a + std::cos(turn) * b + sy;
      }
      REQUIRE(apart(model.predict(moved, l.rank, x, y0), want) <= 1e-5);
      if (l.name == "hex")
        reference_worst = std::max(reference_worst, apart(model.predict(moved, l.rank, x, y0, FrameMode::reference), plain));
    }
  }
  CHECK(reference_worst > 1e-3);  // guards the test: the reference's frames do depend on the pose of a complete hexagon
}

TEST_CASE("denoiser: permuting the spots permutes the predictions, byte for byte") {
  const Small model;
  for (test::Layout& l : test::layouts()) {
    CAPTURE(l.name);
    const auto n = size_t(l.n());
    const std::vector<float> x = floats(n * 7, 1), y0 = floats(n * 5, 2);
    const std::vector<float> want = model.predict(l.coords, l.rank, x, y0);
    for (uint32_t s = 0; s < 50; s++) {
      const std::vector<int32_t> order = test::shuffled(int64_t(n), 100 + s);
      std::vector<double> coords;
      std::vector<int32_t> rank;
      std::vector<float> px, py, expected;
      for (int32_t o : order) {
        const auto i = size_t(o);
        coords.push_back(l.coords[2 * i]), coords.push_back(l.coords[2 * i + 1]);
        rank.push_back(l.rank[i]);
        px.insert(px.end(), x.begin() + int64_t(7 * i), x.begin() + int64_t(7 * i + 7));
        py.insert(py.end(), y0.begin() + int64_t(5 * i), y0.begin() + int64_t(5 * i + 5));
        expected.insert(expected.end(), want.begin() + int64_t(5 * i), want.begin() + int64_t(5 * i + 5));
      }
      REQUIRE(model.predict(coords, rank, px, py) == expected);
    }
  }
}

TEST_CASE("denoiser: a spot never sees another slide") {
  const Small model;
  Sampler shared(model.denoiser, model.set);
  for (int64_t n : {40, 1, 7, 2, 6, 300, 41}) {
    CAPTURE(n);
    std::vector<double> coords = test::normal(size_t(2 * n), uint64_t(n));
    std::vector<int32_t> rank = test::shuffled(n, uint32_t(n));
    std::vector<float> x = floats(size_t(7 * n), 1), y0 = floats(size_t(5 * n), 2), y = y0;
    Geometry g;
    g.build(view(coords.data(), {n, 2}), view(rank.data(), {n}), {6, FrameMode::exact, true}, DType::f32);
    shared.set_slide(view(x.data(), {n, 7}), g);
    shared.sample(view(y.data(), {n, 5}), 5);
    CHECK(y == model.predict(coords, rank, x, y0));
    for (float v : y) REQUIRE(std::isfinite(v));
  }
}

TEST_CASE("denoiser: gradients of every parameter against central differences in float64, with every dropout drawn") {
  for (bool training : {false, true}) {
    Small model(DType::f64);
    const int64_t n = 30;
    std::vector<double> coords = test::normal(2 * n, 5), x = test::normal(7 * n, 6), y = test::normal(5 * n, 7), w = test::normal(5 * n, 8);
    std::vector<int32_t> rank = test::shuffled(n, 9);
    double t = 0.37;
    Geometry g;
    g.build(view(coords.data(), {n, 2}), view(rank.data(), {n}), {6, FrameMode::exact, true}, DType::f64);
    Tape tape(Context{Isa::plain});
    tape.scorch(true);
    Dropouts dropouts{training, RandomKey(4, Stream::dropout, 2, 1)};
    const Denoiser::Slide slide = model.denoiser.slide(tape.input(view(x.data(), {n, 7})), tape.input(g.frames().values), dropouts);
    Var p = model.denoiser.step(tape.input(view(y.data(), {n, 5})), tape.input(view(&t, {1})), slide, g.graph(), dropouts).prediction;
    Var loss = weighted_sum(p, tape.input(view(w.data(), {n, 5})));
    tape.plan(true);
    Storage arena;
    tape.bind(arena, model.set, model.set.grads());
    tape.forward();
    tape.backward(loss);
    double* v = model.set.values().as<double>();
    const double* grad = model.set.grads().as<double>();
    const auto size = size_t(model.set.size());
    for (int probe = 0; probe < 8; probe++) {
      std::vector<double> d = test::normal(size, 50 + uint64_t(probe)), start(v, v + size);
      double want = 0, length = 0;
      for (double e : d) length += e * e;
      for (size_t i = 0; i < size; i++) d[i] /= std::sqrt(length), want += d[i] * grad[i];
      auto at = [&](double h) {
        for (size_t i = 0; i < size; i++) v[i] = start[i] + h * d[i];
        tape.forward();
        return *tape.value(loss).as<double>();
      };
      const double h = 1e-3, got = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
      std::copy(start.begin(), start.end(), v);
      CHECK(got == doctest::Approx(want).epsilon(1e-6));
    }
  }
}

TEST_CASE("sampling_times: the reference's grid") {
  const std::vector<double> t = sampling_times(5);
  const double want[] = {0.01, 0.2575, 0.505, 0.7525, 1.0};
  for (size_t i = 0; i < 5; i++) CHECK(t[i] == doctest::Approx(want[i]).epsilon(1e-12));
  CHECK_THROWS_AS(sampling_times(1), Error);
}
