#include "ops/adamw.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "engine/cuda/emulate.h"
#include "engine/threads.h"
#include "tests/check.h"

using namespace stflow;

namespace {

/// The textbook, element by element, in float64.
struct Textbook {
  std::vector<double> w, m, v, ema;
  int64_t t = 0;

  double step(const std::vector<double>& sums, double count, const AdamOptions& o, double lr, const std::vector<bool>& decays) {
    double norm = 0;
    for (double g : sums) norm += g / count * (g / count);
    norm = std::sqrt(norm);
    const double clip = o.clip_norm > 0 ? std::min(1.0, o.clip_norm / (norm + 1e-6)) : 1;
    t++;
    const double d = std::min(o.ema_decay, double(t) / double(t + 10));
    for (size_t i = 0; i < w.size(); i++) {
      const double g = sums[i] / count * clip;
      m[i] = o.beta1 * m[i] + (1 - o.beta1) * g;
      v[i] = o.beta2 * v[i] + (1 - o.beta2) * g * g;
      const double mhat = m[i] / (1 - std::pow(o.beta1, double(t))), vhat = v[i] / (1 - std::pow(o.beta2, double(t)));
      if (decays[i]) w[i] -= lr * o.weight_decay * w[i];
      w[i] -= lr * mhat / (std::sqrt(vhat) + o.eps);
      ema[i] = d * ema[i] + (1 - d) * w[i];
    }
    return norm;
  }
};

struct Setup {
  ParameterSet params;
  OptimizerState state;
  explicit Setup(DType type) : params(type) {
    params.add("a.weight", {130, 129}, Init::fan_in, 129);
    params.add("a.bias", {130}, Init::fan_in, 129);
    params.add("norm.weight", {33}, Init::one);
    params.add("b.weight", {1, 7}, Init::fan_in, 7);
    params.allocate(5);
    state.allocate(params, true);
  }
  /// The same gradient, whatever the type: sums over 37 spots.
  void fill(int step, double size) {
    for (const Parameter& p : params.all()) {
      const auto g = test::normal(size_t(p.shape.size()), uint64_t(step) * 100 + uint64_t(p.offset % 97));
      const Tensor t = params.grad(p);
      by_type(t.type, [&](auto zero) {
        for (size_t i = 0; i < g.size(); i++) t.as<decltype(zero)>()[i] = decltype(zero)(float(g[i] * size));
      });
    }
  }
  /// The elements of a flat array that belong to parameters.
  std::vector<double> gather(const Tensor& flat) const {
    std::vector<double> out;
    for (const Parameter& p : params.all()) {
      const Tensor t = params.slice(flat, p);
      by_type(t.type, [&](auto zero) { out.insert(out.end(), t.as<decltype(zero)>(), t.as<decltype(zero)>() + t.size()); });
    }
    return out;
  }
  std::vector<bool> decays() const {
    std::vector<bool> out;
    for (const Parameter& p : params.all()) out.insert(out.end(), size_t(p.shape.size()), p.decays);
    return out;
  }
};

double worst(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double d = 0, top = 0;
  for (size_t i = 0; i < a.size(); i++) d = std::max(d, std::fabs(a[i] - b[i])), top = std::max(top, std::fabs(b[i]));
  return d / top;
}

}  // namespace

TEST_CASE("adamw: twenty steps equal the textbook in both precisions") {
  AdamOptions plain, full;
  full.weight_decay = 0.05, full.ema_decay = 0.9, full.clip_norm = 0.7;
  AdamOptions loose = full;
  loose.clip_norm = 0;
  for (const AdamOptions& o : {plain, full, loose})
    for (DType type : {DType::f64, DType::f32}) {
      Setup s(type);
      Textbook p;
      p.w = p.ema = s.gather(s.params.values());
      p.m.assign(p.w.size(), 0), p.v.assign(p.w.size(), 0);
      const double bound = type == DType::f64 ? 1e-12 : 2e-6;
      for (int step = 0; step < 20; step++) {
        s.fill(step, step % 3 ? 20 : 0.01);  // clipped and not
        const double lr = 5e-4 * (step + 1), want = p.step(s.gather(s.params.grads()), 37, o, lr, s.decays());
        CHECK(adamw_step({}, s.params, o, lr, 37, s.state) == doctest::Approx(want).epsilon(1e-12));
        CHECK(s.state.step == step + 1);
      }
      CHECK(worst(s.gather(s.params.values()), p.w) <= bound);
      CHECK(worst(s.gather(s.state.m), p.m) <= bound);
      CHECK(worst(s.gather(s.state.v), p.v) <= bound);
      CHECK(worst(s.gather(s.state.ema), p.ema) <= bound);
    }
}

TEST_CASE("adamw: the same bits on every instruction set and at any thread count") {
  AdamOptions o;
  o.weight_decay = 0.01, o.ema_decay = 0.99;
  for (DType type : {DType::f64, DType::f32}) {
    std::vector<std::vector<double>> first;
    for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512})
      for (int threads : {1, 2, 3}) {
        if (!supports(isa)) continue;
        CAPTURE(name_of(isa));
        set_thread_count(threads);
        Setup s(type);
        for (int step = 0; step < 3; step++) s.fill(step, 3), adamw_step({isa}, s.params, o, 1e-3, 5, s.state);
        std::vector<std::vector<double>> got;
        for (const Tensor& t : {s.params.values(), s.state.m.tensor(), s.state.v.tensor(), s.state.ema.tensor()})
          got.push_back(s.gather(t));
        if (first.empty()) first = got;
        CHECK(got == first);
      }
  }
  set_thread_count(0);
}

TEST_CASE("adamw: the same bits on the CUDA back end, with clipping and without, and after a gradient that is not finite") {
  AdamOptions o;
  o.weight_decay = 0.01, o.ema_decay = 0.99;
  const Context cuda{.device = Device::cuda};
  for (auto order : {emulator::Order::ascending, emulator::Order::descending, emulator::Order::shuffled}) {
    CAPTURE(int(order));
    emulator::set_order(order);
    Setup here(DType::f32);
    ParameterSet there(DType::f32, Device::cuda);
    for (const Parameter& p : here.params.all()) there.add(p.name, p.shape, p.init, p.fan_in);
    there.allocate(5);
    OptimizerState state;
    state.allocate(there, true);
    const double sizes[] = {20, 0.01, 20, NAN, 3, INFINITY, 0.02};
    for (int step = 0; step < 7; step++) {
      CAPTURE(step);
      here.fill(step, std::isfinite(sizes[step]) ? sizes[step] : 1);
      if (!std::isfinite(sizes[step])) here.params.grad(here.params.all()[2]).as<float>()[32] = float(sizes[step]);
      copy(Device::cuda, there.grads().data, Device::cpu, here.params.grads().data, here.params.grads().bytes());
      const double norm = adamw_step({}, here.params, o, 1e-3, 5, here.state);
      CHECK((sizes[step] < 1 ? norm < o.clip_norm : !(norm <= o.clip_norm)));
      adamw_start(cuda, there, o, 1e-3, 5, state);
      const double got = adamw_finish(cuda, state);
      CHECK((got == norm || (std::isnan(got) && std::isnan(norm))));
      CHECK(state.step == here.state.step);
      const Tensor pairs[][2] = {
          {here.params.values(), there.values()}, {here.state.m, state.m}, {here.state.v, state.v}, {here.state.ema, state.ema}};
      for (const auto& [want, device] : pairs) {
        Array back(device.shape, DType::f32);
        copy(Device::cpu, back.tensor().data, Device::cuda, device.data, device.bytes());
        CHECK(here.gather(back) == here.gather(want));
      }
    }
    CHECK(state.step == 5);
    CHECK(!std::isfinite(adamw_step(cuda, there, o, 1e-3, 0, state)));  // no spots
    CHECK(state.step == 5);
  }
  emulator::set_order(emulator::Order::ascending);
}

TEST_CASE("adamw: the norm of many pieces is the same to its last bit on the CUDA back end") {
  ParameterSet here, there(DType::f32, Device::cuda);
  for (ParameterSet* set : {&here, &there}) set->add("weight", {1099, 1000}, Init::zero), set->allocate(1);
  const RandomKey key(3, Stream::test);
  for (int64_t i = 0; i < here.size(); i++) here.grads().as<float>()[i] = uniform01(key.draw(uint64_t(i)).v[0]);
  copy(Device::cuda, there.grads().data, Device::cpu, here.grads().data, here.grads().bytes());
  OptimizerState state;
  state.allocate(here, false);
  const double norm = adamw_step({}, here, {}, 1e-3, 1, state);
  CHECK(norm == doctest::Approx(std::sqrt(1099e3 / 3)).epsilon(0.01));
  for (auto order : {emulator::Order::ascending, emulator::Order::descending, emulator::Order::shuffled}) {
    state.allocate(there, false);
    emulator::set_order(order);
    CHECK(adamw_step({.device = Device::cuda}, there, {}, 1e-3, 1, state) == norm);
    emulator::set_order(emulator::Order::ascending);
  }
}

TEST_CASE("adamw: a step ends before the next one starts") {
  Setup s(DType::f32);
  s.fill(0, 1);
  CHECK_THROWS_AS(adamw_finish({}, s.state), Error);
  adamw_start({}, s.params, {}, 1e-3, 1, s.state);
  CHECK(s.state.step == 0);
  CHECK_THROWS_AS(adamw_start({}, s.params, {}, 1e-3, 1, s.state), Error);
  CHECK(std::isfinite(adamw_finish({}, s.state)));
  CHECK(s.state.step == 1);
  CHECK_THROWS_AS(adamw_finish({}, s.state), Error);
}

TEST_CASE("adamw: a gradient that is not finite changes nothing") {
  for (double bad : {double(NAN), double(INFINITY)}) {
    Setup s(DType::f32);
    s.fill(0, 1);
    adamw_step({}, s.params, {}, 1e-3, 1, s.state);
    const auto w = s.gather(s.params.values()), m = s.gather(s.state.m), v = s.gather(s.state.v), ema = s.gather(s.state.ema);
    s.fill(1, 1);
    s.params.grad(s.params.all()[2]).as<float>()[32] = float(bad);
    CHECK(!std::isfinite(adamw_step({}, s.params, {}, 1e-3, 1, s.state)));
    CHECK(s.state.step == 1);
    CHECK(s.gather(s.params.values()) == w);
    CHECK(s.gather(s.state.m) == m);
    CHECK(s.gather(s.state.v) == v);
    CHECK(s.gather(s.state.ema) == ema);
    s.fill(1, 1);
    CHECK(!std::isfinite(adamw_step({}, s.params, {}, 1e-3, 0, s.state)));  // no spots
    CHECK(s.state.step == 1);
  }
}

TEST_CASE("optimizer: schedules and the running mean's decay") {
  Schedule flat;
  CHECK(flat.factor(0) == 1);
  CHECK(flat.factor(1000000) == 1);
  flat.warmup = 4;
  CHECK(flat.factor(0) == 0.25);
  CHECK(flat.factor(3) == 1);
  CHECK(flat.factor(4) == 1);
  const Schedule cosine{Schedule::cosine, 10, 110, 0.1};
  CHECK(cosine.factor(4) == 0.5);
  CHECK(cosine.factor(10) == doctest::Approx(1));
  CHECK(cosine.factor(60) == doctest::Approx(0.55));
  CHECK(cosine.factor(110) == doctest::Approx(0.1));
  CHECK(cosine.factor(5000) == doctest::Approx(0.1));
  for (int64_t s = 10; s < 110; s++) CHECK(cosine.factor(s + 1) < cosine.factor(s));
  CHECK(ema_decay_at(0.999, 10) == 0.5);
  CHECK(ema_decay_at(0.999, 100000) == 0.999);
}

TEST_CASE("adamw: a guard that is not finite leaves everything as it was, on the CPU and on the device") {
  for (const Device device : {Device::cpu, Device::cuda}) {
    Context c;
    c.device = device;
    ParameterSet params(DType::f32, device);
    params.add("w", {5, 7}, Init::one);
    params.allocate(1);
    fill(device, params.grads().data, 0x3f, params.grads().bytes());  // 0.747 everywhere
    OptimizerState state;
    state.allocate(params, true);
    auto step = [&](const std::vector<float>& losses) {
      const Array guard = copy_of({const_cast<float*>(losses.data()), {int64_t(losses.size())}, DType::f32}, Device::cpu, device);
      adamw_start(c, params, AdamOptions{}, 0.1, 1, state, guard);
      return adamw_finish(c, state);
    };
    auto bytes = [&] {
      std::vector<float> all;
      for (const Tensor& t : {params.values(), state.m.tensor(), state.v.tensor(), state.ema.tensor()}) {
        const Array here = copy_of(t, device, Device::cpu);
        all.insert(all.end(), here.as<float>(), here.as<float>() + t.size());
      }
      return all;
    };
    const auto before = bytes();
    for (const float bad : {INFINITY, -INFINITY, NAN}) {
      CHECK(std::isnan(step({1, bad, 2})));
      CHECK(bytes() == before);
      CHECK(state.step == 0);
    }
    CHECK(step({1, 2, 3}) > 0);
    CHECK(bytes() != before);
    CHECK(state.step == 1);
  }
}
